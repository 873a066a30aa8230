"""Progress of the jobs of a run: bars on a terminal and in a notebook, else a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from plasticity_bench.running.notebook_view import NotebookView

if TYPE_CHECKING:
    from rich.console import Console

    from plasticity_bench.running.job import Job

#: Seconds between two plain lines: at least this many, and a tenth of the time since the start, so that a
#: long run does not fill a log.
PLAIN_INTERVAL = 5.0


#: Up to this many jobs have a bar each; more share one per cell.
BARS = 12


@dataclass(frozen=True)
class Watched:
    """A job, as its progress is shown."""

    label: str  # stream and method
    cells: frozenset[str]  # what tells its cells apart
    seeds: tuple[int, ...]
    count: int  # seeds that are trained, over all cells
    seconds: float  # expected duration
    steps: int  # of training, over all seeds


def watched_job(job: Job) -> Watched:
    """A job of this machine."""
    cells = frozenset(str(member.path) for member in job.members)
    label = f"{job.plan.stream.label}  {job.plan.method.label}"
    return Watched(label, cells, job.seeds, job.count, job.seconds, job.steps)


class JobProgress:
    """Bars, and one for all of it with the steps per second (over all seeds) and the time left. Jobs weigh
    by their expected duration."""

    def __init__(self, jobs: Sequence[Watched], console: Console) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self.jobs, self.console = jobs, console
        self.done = [0.0] * len(jobs)
        #: Share that was done before this run (resumed checkpoints): it tells nothing of today's speed.
        self.before: dict[int, float] = {}
        self.started = self.printed = time.monotonic()
        cells = [job.label for job in jobs]
        alone = len(set(cells)) == len(jobs) or len(jobs) > BARS
        self.names = [
            cell if alone else f"{cell}  {_seeds(job.seeds)}" for cell, job in zip(cells, jobs, strict=True)
        ]
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
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
        """Job ``index`` is done to ``share`` of 1."""
        if index not in self.before:
            self.before[index] = share if share < 1 else 0.0
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
        """Steps of training per second since the start, over all seeds."""
        steps = sum(
            job.steps * (share - self.before.get(i, 0))
            for i, (job, share) in enumerate(zip(self.jobs, self.done, strict=True))
        )
        elapsed = time.monotonic() - self.started
        return f", {steps / elapsed:,.0f} steps/s" if steps > 0 and elapsed >= 2 else ""

    def _share(self, name: str | None) -> float:
        chosen = [i for i in range(len(self.jobs)) if name is None or self.names[i] == name]
        weights = [max(self.jobs[i].seconds, 1e-9) for i in chosen]
        return sum(w * self.done[i] for w, i in zip(weights, chosen, strict=True)) / sum(weights)

    def _time_left(self) -> str:
        seconds = [job.seconds for job in self.jobs]
        today = [share - self.before.get(i, 0) for i, share in enumerate(self.done)]
        finished = sum(s * d for s, d in zip(seconds, today, strict=True))
        rest = sum(s * (1 - d) for s, d in zip(seconds, self.done, strict=True))
        elapsed = time.monotonic() - self.started
        if finished <= 0 or elapsed < 2:
            return ""
        left = round(rest * elapsed / finished)
        return f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return (
        f"seeds {seeds[0]}-{seeds[-1]}" if seeds[-1] - seeds[0] == len(seeds) - 1 else f"{len(seeds)} seeds"
    )
