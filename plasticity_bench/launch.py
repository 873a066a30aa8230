"""Trains the missing seeds of some cells in worker processes, with progress."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity_bench.cluster.states import refuse_submitted
from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.locks import locked
from plasticity_bench.parallel import usable_cores
from plasticity_bench.plan import Planned, plan_jobs, tidy
from plasticity_bench.worker import Job, find_device, run_job, start_worker

if TYPE_CHECKING:
    from rich.console import Console


def train(planned: Sequence[Planned], workers: int, devices: Sequence[str], console: Console) -> int:
    """Trains all that is missing; returns the number of seeds trained.

    Raises InputError and RunFailed from the workers after the other jobs have come to their end.
    """
    # Twice the same cell (asked for as a method and as a reference) is once the work.
    unique = list({item.cell.path: item for item in planned}.values())
    needed = [item for item in unique if item.missing or item.outdated]
    with locked([item.cell for item in needed]):
        refuse_submitted([item.cell.path for item in needed])
        for item in needed:
            tidy(item)
        jobs = plan_jobs(needed, workers, devices)
        if jobs:
            _run_all(jobs, min(workers, len(jobs)), console)
    return sum(len(job.seeds) for job in jobs)


def default_devices(wanted: str) -> list[str]:
    """``auto``: every NVIDIA GPU that torch may use, else the CPU. Imports torch only where a GPU may be.

    Raises InputError for a device that is not there.
    """
    if wanted == "auto":
        driver = Path("/proc/driver/nvidia/gpus")
        if not driver.is_dir() or not any(driver.iterdir()):
            return ["cpu"]
        import torch

        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    if wanted != "cpu":
        find_device(wanted)
    return [wanted]


_reports: Any = None


def _start(parent: int, queue: Any) -> None:
    # The queue cannot travel with each job, so every worker keeps it where run_one finds it.
    global _reports
    _reports = queue
    start_worker(parent)


def _run_one(index: int, job: Job) -> None:
    last = 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 0.2 or done == total:
            last = now
            _reports.put((index, done / total))

    run_job(job, report)


def workers(jobs: int | None, device: str) -> tuple[int, list[str]]:
    """(processes at a time, devices) for ``--jobs`` and ``--device``. Raises InputError."""
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: at least one process is needed")
    devices = default_devices(device)
    return jobs or (len(devices) if devices[0].startswith("cuda") else usable_cores()), devices


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes started within never see Ctrl-C, which a terminal sends to all: this one tells them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_all(jobs: Sequence[Job], workers: int, console: Console) -> None:
    from plasticity_bench.progress import JobProgress

    # Spawned processes inherit this: numpy's and torch's own threads would fight over the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    failures: list[Exception] = []
    pool = ProcessPoolExecutor(workers, context, _start, (os.getpid(), queue))
    try:
        with JobProgress(jobs, console) as progress:
            with _interrupts_held():
                futures: list[Future[None]] = [pool.submit(_run_one, i, job) for i, job in enumerate(jobs)]
            while not all(future.done() for future in futures):
                time.sleep(0.1)
                while not queue.empty():
                    progress.update(*queue.get())
            for i, future in enumerate(futures):
                error = future.exception()
                if error is None:
                    progress.update(i, 1.0)
                elif isinstance(error, (InputError, RunFailed)):
                    failures.append(error)
                elif isinstance(error, BrokenProcessPool):
                    failures.append(
                        RunFailed(
                            "a worker process was killed (out of memory?); run the same command again to "
                            "go on from the last checkpoint, with fewer processes: "
                            f"--jobs {max(1, workers // 2)}"
                        )
                    )
                else:
                    failures.append(RunFailed(f"{jobs[i].plan.method}: {type(error).__name__}: {error}"))
        # Nothing runs any more. A pool that is still closing when Python exits may print a traceback.
        pool.shutdown()
    except KeyboardInterrupt:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(cancel_futures=True)  # with the locks held until the last worker is gone
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if failures:
        raise failures[0]
