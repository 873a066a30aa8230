"""Trains many short jobs through the launcher while its workers are killed (SIGKILL) at random moments.

    python benchmarks/kill_storm.py --jobs 1000 --every 4

The records are compared with those of an undisturbed pass. Exit code 1: a table differs or is missing, a seed
was recorded twice, or a file is left behind. If a job is given up because every try was killed, the next pass
of the same command trains it, as a user would do. ``tests/benchmarks/test_kill_storm.py`` uses the same
functions.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from kill_and_resume import differences, leftovers, tables
from rich.console import Console

from plasticity_bench.errors import RunFailed
from plasticity_bench.records.configuration import CellPlan, plan_cell
from plasticity_bench.running import launch
from plasticity_bench.running.plan import CHECKPOINT_SECONDS, open_cells

#: Some have a state: they perturb at an interval, or draw at every update.
METHODS = ("none", "l2", "shrink-perturb:interval=7", "syre-redrawn")
STREAM = "bit-flip:tasks=2"
SEEDS = (0, 1)
#: Seconds between two looks at the records.
GLANCE = 0.2


def plans(jobs: int, stream: str = STREAM) -> list[CellPlan]:
    """Cells that differ in the learning rate; each is one job, a stack of SEEDS."""
    return [
        plan_cell(stream, METHODS[i % len(METHODS)], {"lr": repr(round(1e-3 * (1 + i / jobs), 9))})
        for i in range(jobs)
    ]


def workers_of(parent: int) -> list[int]:
    """The worker processes that ``parent`` started."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = (line.split(None, 2) for line in listed.stdout.splitlines())
    return [int(pid) for pid, ppid, args in rows if int(ppid) == parent and "spawn_main" in args]


@dataclass
class Storm:
    """In its block, at most ``most`` workers are killed, one every ``every`` seconds on average."""

    every: float
    rng: random.Random
    most: float = math.inf
    kills: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Storm:
        self._stop.clear()
        self._thread = threading.Thread(target=self._kill_workers, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _kill_workers(self) -> None:
        while self.kills < self.most and not self._stop.wait(self.rng.expovariate(1 / self.every)):
            if found := workers_of(os.getpid()):
                with suppress(ProcessLookupError):
                    os.kill(self.rng.choice(found), signal.SIGKILL)
                    self.kills += 1


class RecordWatch:
    """In its block, follows the records and notices if one is replaced by another."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.seen: dict[Path, tuple[int, int]] = {}
        self.twice: set[Path] = set()
        self._stop = threading.Event()

    def __enter__(self) -> RecordWatch:
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self.look()

    def _follow(self) -> None:
        while not self._stop.wait(GLANCE):
            self.look()

    def look(self) -> None:
        """Once."""
        for path in self.runs.glob("*/*/seed-*.json"):
            found = path.stat()
            identity = (found.st_ino, found.st_mtime_ns)
            if self.seen.setdefault(path, identity) != identity:
                self.twice.add(path)


@dataclass(frozen=True)
class Outcome:
    """The result of one or more passes, until everything is recorded."""

    passes: int
    seconds: float
    kills: int
    retried: int  # jobs whose worker was killed, each time
    given_up: int  # at every try
    twice: int  # seeds recorded more than once
    errors: tuple[str, ...]  # other than being given up


def train(runs: Path, jobs: Sequence[CellPlan], workers: int, storm: Storm | None) -> Outcome:
    """Trains until everything is recorded, or until an error other than a killed worker ends it."""
    began, passes, given_up, said = time.monotonic(), 0, 0, StringIO()
    errors: tuple[str, ...] = ()
    console = Console(file=said, width=1000)
    with RecordWatch(runs) as watch:
        while not errors:
            passes += 1
            try:
                with storm or nullcontext():
                    launch.train_missing(open_cells(runs, jobs, SEEDS), workers, ["cpu"], console)
                break
            except RunFailed as failed:
                killed = [line for line in failed.lines if "worker process was killed" in line]
                given_up += len(killed)
                errors = tuple(line for line in failed.lines if line not in killed)
    return Outcome(
        passes,
        time.monotonic() - began,
        storm.kills if storm else 0,
        said.getvalue().count("it is tried again"),
        given_up,
        len(watch.twice),
        errors,
    )


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two kills, on average")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--stream", default=STREAM)
    args = parser.parse_args()
    os.environ.setdefault(CHECKPOINT_SECONDS, "0.1")  # so that a short job has several checkpoints
    folder, jobs = Path(tempfile.mkdtemp(prefix="kill-storm-")), plans(args.jobs, args.stream)
    undisturbed = train(folder / "undisturbed", jobs, args.workers, None)
    wanted = tables(folder / "undisturbed")
    print(f"undisturbed: {len(jobs)} jobs, {len(wanted)} tables, {undisturbed.seconds:.0f} s", flush=True)
    storm = Storm(args.every, random.Random(args.seed))
    stormy = train(folder / "storm", jobs, args.workers, storm)
    found = tables(folder / "storm")
    differing = differences(found, wanted)
    left = leftovers(folder / "storm")
    print(
        f"storm: {stormy.kills} workers killed, {stormy.retried} of them at a job that was tried again, "
        f"{stormy.given_up} jobs given up after three; {stormy.passes} passes, {stormy.seconds:.0f} s\n"
        f"{len(found)} seeds recorded, {stormy.twice} of them twice; {len(differing)} tables differ; "
        f"{len(left)} files left behind"
    )
    wrong = [*undisturbed.errors, *stormy.errors, *differing[:5], *left[:5]]
    for line in wrong:
        print(f"  {line}")
    if wrong or stormy.twice or len(wanted) != len(jobs) * len(SEEDS):
        print(f"FAILED; the records are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
