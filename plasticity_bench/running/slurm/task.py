"""What a Slurm job runs on its node: it trains one stack of seeds.

A job that reaches its time limit saves its state and is put back in the queue.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from msgspec import structs

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.checkpoints import CHECKPOINT, FRESH_CHECKPOINT, checkpoint_path
from plasticity_bench.records.names import table_stem
from plasticity_bench.running.job import Job
from plasticity_bench.running.slurm.arrays import TaskReport
from plasticity_bench.running.worker import run_job, start_worker
from plasticity_bench.storage.untrusted import printable

#: Environment variable of submitit: the signal that Slurm sends before the job's time limit.
SIGNAL = "SUBMITIT_PREEMPT_SIGNAL"
#: After this many starts in a row without progress, the job is not put back: its time limit is too short.
IDLE_STARTS = 3
#: Seconds between two reports.
REPORT_SECONDS = 10.0


class TrainTask:
    """The callable that submitit pickles.

    Args:
        job: The stack of seeds.
        folder: The array's folder, for reports.
        index: The job's index in the array.
        grace: Seconds after the signal within which the job should save its state. After that it is put back
            anyway, and will resume from its last checkpoint.
    """

    def __init__(self, job: Job, folder: Path, index: int, grace: int) -> None:
        self.job, self.folder, self.index, self.grace = job, folder, index, grace
        self.starts = self.idle_starts = 0
        self.progressed = False  # since this start
        self.asked_to_stop = False
        self.gave_up_because = ""

    def __call__(self) -> None:
        """Trains the stack. Raises what ``run_job`` raises, which fails the job."""
        self.starts += 1
        self.progressed = self.asked_to_stop = False
        put_back = self._handle_signal()
        start_worker(os.getppid())
        report = TaskReport(
            "running",
            attempt=self.starts,
            host=socket.gethostname(),
            job=os.environ.get("SLURM_JOB_ID", ""),
        )
        report.write(self.folder, self.index)
        self._remove_leftovers()
        try:
            # It stops only after some work: a job that gets the signal at every start would never progress.
            finished = run_job(
                self.job, self._reporter(report), lambda: self.asked_to_stop and self.progressed
            )
        except (InputError, RunFailed) as error:
            structs.replace(
                report, state="failed", reason=printable(" ".join(str(error).split()), 1000)
            ).write(self.folder, self.index)
            raise
        signal.alarm(0)
        if not finished:
            put_back()  # ends the process
            raise RunFailed(self.gave_up_because or "it was not put back in the queue")
        structs.replace(report, state="done", share=1.0).write(self.folder, self.index)

    def checkpoint(self) -> Any:
        """What submitit puts back in the queue: the same job, which will resume from its checkpoint.

        None after ``IDLE_STARTS`` starts in a row without progress.
        """
        from submitit.helpers import DelayedSubmission

        self.idle_starts = 0 if self.progressed else self.idle_starts + 1
        if self.idle_starts >= IDLE_STARTS:
            self.gave_up_because = (
                f"no checkpoint within the time limit in {IDLE_STARTS} starts; give it more --time"
            )
            TaskReport("failed", reason=self.gave_up_because).write(self.folder, self.index)
            return None
        return DelayedSubmission(self)

    def _remove_leftovers(self) -> None:
        """Removes temporary files of a start that was killed. No other process writes this stack's files."""
        kinds = (CHECKPOINT, FRESH_CHECKPOINT)
        names = [checkpoint_path(self.job.path, self.job.seeds, kind).name for kind in kinds]
        names += [table_stem(kind, seed) for kind in ("seed", "fresh") for seed in self.job.seeds]
        for name in names:
            for path in self.job.path.glob(f".{name}.*.tmp"):
                path.unlink(missing_ok=True)

    def _reporter(self, report: TaskReport) -> Callable[[int, int], None]:
        """The function that ``run_job`` calls with its progress. It writes reports."""
        written = float("-inf")

        def on_progress(done: int, total: int) -> None:
            nonlocal written
            self.progressed = True
            if time.monotonic() - written > REPORT_SECONDS:
                written = time.monotonic()
                structs.replace(report, share=done / total).write(self.folder, self.index)

        return on_progress

    def _handle_signal(self) -> Callable[[], None]:
        """From now on, the signal asks the training to save and stop.

        Returns submitit's handler of the signal, which puts the job back in the queue.
        """
        number = getattr(signal, f"SIG{os.environ.get(SIGNAL, 'USR2')}")
        before = signal.getsignal(number)

        def put_back(*_: int | FrameType | None) -> None:
            if callable(before):
                before(number, None)

        def ask_to_stop(received: int, frame: FrameType | None) -> None:
            self.asked_to_stop = True
            signal.alarm(self.grace)

        signal.signal(signal.SIGALRM, put_back)
        signal.signal(number, ask_to_stop)
        return put_back
