"""What a Slurm job runs on its node: one stack of seeds, put back in the queue before its time is over."""

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
from plasticity_bench.records.checkpoints import checkpoint_path
from plasticity_bench.running.job import Job
from plasticity_bench.running.slurm.arrays import TaskReport
from plasticity_bench.running.worker import run_job, start_worker
from plasticity_bench.storage.untrusted import printable

#: Environment variable of submitit: the signal that announces the end of the job's time.
SIGNAL = "SUBMITIT_PREEMPT_SIGNAL"
#: Starts without progress after which the job is not put back any more: its time is too short for it.
IDLE_STARTS = 3
#: Seconds between two reports.
REPORT_SECONDS = 10.0


class TrainTask:
    """The callable that submitit pickles. ``folder``: of the submission; ``grace``: seconds after the signal
    in which a checkpoint is awaited; later the last one counts."""

    def __init__(self, job: Job, folder: Path, index: int, grace: int) -> None:
        self.job, self.folder, self.index, self.grace = job, folder, index, grace
        self.starts = self.idle_starts = 0
        self.progressed = False  # in this start
        self.paused = False
        self.given_up = ""

    def __call__(self) -> None:
        """Trains the stack. Raises what ``run_job`` raises, which fails the job."""
        self.starts += 1
        self.progressed = self.paused = False
        put_back = self._await_signal()
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
            # Not before a piece of work: a job that is told to leave as it starts would never get on.
            finished = run_job(self.job, self._reporter(report), lambda: self.paused and self.progressed)
        except (InputError, RunFailed) as error:
            structs.replace(
                report, state="failed", reason=printable(" ".join(str(error).split()), 1000)
            ).write(self.folder, self.index)
            raise
        signal.alarm(0)
        if not finished:
            put_back()  # which ends the process
            raise RunFailed(self.given_up or "it was not put back in the queue")
        structs.replace(report, state="done", share=1.0).write(self.folder, self.index)

    def checkpoint(self) -> Any:
        """What submitit puts back in the queue: the same job, which goes on from its checkpoint; None after
        ``IDLE_STARTS`` starts in a row without progress."""
        from submitit.helpers import DelayedSubmission

        self.idle_starts = 0 if self.progressed else self.idle_starts + 1
        if self.idle_starts >= IDLE_STARTS:
            self.given_up = (
                f"no checkpoint within the time limit in {IDLE_STARTS} starts; give it more --time"
            )
            TaskReport("failed", reason=self.given_up).write(self.folder, self.index)
            return None
        return DelayedSubmission(self)

    def _remove_leftovers(self) -> None:
        """Temporary files of a start that was killed: of this stack's files, which it alone writes."""
        names = [checkpoint_path(self.job.path, self.job.seeds).name]
        names += [f"seed-{seed:03d}" for seed in self.job.seeds]
        for name in names:
            for path in self.job.path.glob(f".{name}.*.tmp"):
                path.unlink(missing_ok=True)

    def _reporter(self, report: TaskReport) -> Callable[[int, int], None]:
        written = float("-inf")

        def on_progress(done: int, total: int) -> None:
            nonlocal written
            self.progressed = True
            if time.monotonic() - written > REPORT_SECONDS:
                written = time.monotonic()
                structs.replace(report, share=done / total).write(self.folder, self.index)

        return on_progress

    def _await_signal(self) -> Callable[[], None]:
        """From now on the signal asks for a checkpoint. Returns submitit's handler: it puts the job back."""
        number = getattr(signal, f"SIG{os.environ.get(SIGNAL, 'USR2')}")
        before = signal.getsignal(number)

        def put_back(*_: int | FrameType | None) -> None:
            if callable(before):
                before(number, None)

        def ask(received: int, frame: FrameType | None) -> None:
            self.paused = True
            signal.alarm(self.grace)

        signal.signal(signal.SIGALRM, put_back)
        signal.signal(number, ask)
        return put_back
