"""Progress of the jobs of a run: bars on a terminal and in a notebook, else a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from plasticity_bench.records.names import seeds_text
from plasticity_bench.running.notebook_view import NotebookView

if TYPE_CHECKING:
    from rich.console import Console

    from plasticity_bench.running.job import Job

#: Least seconds between two plain lines. They are also at least a tenth of the time since the start apart, so
#: that a long run does not fill a log.
PLAIN_INTERVAL = 5.0
#: Up to this many jobs have a bar each; if there are more, there is one bar per cell.
MAX_BARS = 12


@dataclass(frozen=True)
class ShownJob:
    """A job whose progress is shown."""

    label: str  # stream and method
    cells: frozenset[str]  # identifies its cells
    seeds: tuple[int, ...]
    count: int  # number of seeds that are trained, over all cells
    seconds: float  # expected duration
    steps: int  # training steps, over all seeds


def shown_job(job: Job) -> ShownJob:
    """A job that runs on this machine."""
    cells = frozenset(str(member.path) for member in job.members)
    label = f"{job.plan.stream.label}  {job.plan.method.label}"
    return ShownJob(label, cells, job.seeds, job.count, job.seconds, job.steps)


class JobProgress:
    """A bar per job, and one for all jobs with the steps per second (over all seeds) and the time left.

    In the bars of several jobs, each has the weight of its expected duration.
    """

    def __init__(self, jobs: Sequence[ShownJob], console: Console) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self.jobs, self.console = jobs, console
        self.done = [0.0] * len(jobs)
        #: Job -> share that was done before this run (from checkpoints). It does not count for the speed.
        self.done_before: dict[int, float] = {}
        self.started = self.printed = time.monotonic()
        labels = [job.label for job in jobs]
        without_seeds = len(set(labels)) == len(jobs) or len(jobs) > MAX_BARS
        self.names = [job.label if without_seeds else f"{job.label}  {seeds_text(job.seeds)}" for job in jobs]
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),  # names hold what users wrote
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.view: NotebookView | None = None
        self.rows = {name: self.bars.add_task(name, total=1.0, left="") for name in dict.fromkeys(self.names)}
        self.total = self.bars.add_task("all", total=1.0, left="")

    def __enter__(self) -> JobProgress:
        self.bars.start()
        if self.console.is_jupyter and not self.console.quiet:
            self.view = NotebookView()
        elif not self.console.is_terminal:
            seeds = sum(job.count for job in self.jobs)
            count = len(set().union(*(job.cells for job in self.jobs)))
            self.console.print(f"training {seeds} seeds of {count} cells", highlight=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()
        if self.view:
            self.view.clear()

    def update(self, index: int, share: float) -> None:
        """Shows that of job ``index`` this share is done, between 0 and 1."""
        if index not in self.done_before:
            self.done_before[index] = share if share < 1 else 0.0
        self.done[index] = share
        name = self.names[index]
        self.bars.update(self.rows[name], completed=self._share(name))
        share_of_all, left = self._share(None), self._time_left()
        self.bars.update(self.total, completed=share_of_all, left=f"{left}{self._rate()}")
        if self.view:
            self.view.show(self.bars.get_renderable())
            return
        now = time.monotonic()
        if not self.console.is_terminal and now - self.printed > max(
            PLAIN_INTERVAL, (now - self.started) / 10
        ):
            self.printed = now
            line = f"{share_of_all:4.0%} done, {left or 'estimating the time left'}{self._rate()}"
            self.console.print(line, highlight=False)

    def _rate(self) -> str:
        """``, 1,234 steps/s``: training steps per second since the start, over all seeds; at first empty."""
        steps = sum(job.steps * share for job, share in zip(self.jobs, self._done_now(), strict=True))
        elapsed = time.monotonic() - self.started
        return f", {steps / elapsed:,.0f} steps/s" if steps > 0 and elapsed >= 2 else ""

    def _done_now(self) -> list[float]:
        """Share of each job that was done in this run."""
        return [share - self.done_before.get(i, 0) for i, share in enumerate(self.done)]

    def _share(self, name: str | None) -> float:
        """Share that is done of the jobs with this name; None: of all."""
        chosen = [i for i in range(len(self.jobs)) if name is None or self.names[i] == name]
        weights = [max(self.jobs[i].seconds, 1e-9) for i in chosen]
        return sum(w * self.done[i] for w, i in zip(weights, chosen, strict=True)) / sum(weights)

    def _time_left(self) -> str:
        """``0:12:34 left``, at the speed of this run so far; at first empty."""
        seconds = [job.seconds for job in self.jobs]
        finished = sum(s * share for s, share in zip(seconds, self._done_now(), strict=True))
        rest = sum(s * (1 - share) for s, share in zip(seconds, self.done, strict=True))
        elapsed = time.monotonic() - self.started
        if finished <= 0 or elapsed < 2:
            return ""
        left = round(rest * elapsed / finished)
        return f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
