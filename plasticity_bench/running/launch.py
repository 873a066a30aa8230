"""Trains the missing seeds of some cells in worker processes, with progress."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plasticity_bench.errors import CannotWrite, InputError, Interrupted, OutOfMemory, RunFailed
from plasticity_bench.processes.pool import Pool, WorkerDied
from plasticity_bench.processes.signals import Interrupts
from plasticity_bench.processes.workers import usable_cores
from plasticity_bench.records.checkpoints import seed_ranges
from plasticity_bench.running.job import Job
from plasticity_bench.running.plan import Planned, plan_jobs, tidy
from plasticity_bench.running.slurm.states import refuse_submitted
from plasticity_bench.running.training import find_device
from plasticity_bench.running.worker import run_job, start_worker
from plasticity_bench.storage.files import remove_leftovers
from plasticity_bench.storage.locks import locked

if TYPE_CHECKING:
    from rich.console import Console

    from plasticity_bench.running.progress import JobProgress


def train_missing(planned: Sequence[Planned], workers: int, devices: Sequence[str], console: Console) -> int:
    """Trains all that is missing, in ``workers`` processes spread over the devices; a process keeps its
    device, so that more of them than devices share some. Returns the number of seeds trained.

    Raises RunFailed, or InputError where the user can mend all of it, with a line for each failure, after the
    other jobs have come to their end; Interrupted after a first SIGINT or SIGTERM, once all is saved.
    """
    # Twice the same cell (asked for as a method and as a reference) is once the work.
    unique = list({item.cell.path: item for item in planned}.values())
    needed = [item for item in unique if item.missing or item.outdated]
    with locked([item.cell.path for item in needed]):
        refuse_submitted([item.cell.path for item in needed])
        for item in needed:
            tidy(item)
        jobs = plan_jobs(needed, workers, devices)
        if jobs:
            slots = min(workers, len(jobs))
            _run_all(jobs, [devices[i % len(devices)] for i in range(slots)], console)
    return sum(job.count for job in jobs)


def choose_devices(wanted: str) -> list[str]:
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


def train_one(
    job: Job, device: str, report: Callable[[float], None], should_stop: Callable[[], bool]
) -> bool:
    """``run_job`` on the worker's device, as a pool's work."""
    last = 0.0

    def report_share(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 0.2:
            last = now
            report(done / total)

    return run_job(replace(job, device=device), report_share, should_stop)


def processes_and_devices(jobs: int | None, device: str) -> tuple[int, list[str]]:
    """(processes at a time, devices) for ``--jobs`` and ``--device``. Raises InputError."""
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: at least one process is needed")
    devices = choose_devices(device)
    return jobs or (len(devices) if devices[0].startswith("cuda") else usable_cores()), devices


class _JobObserver:
    """Shows what happens to the jobs, and clears up after workers that were killed."""

    def __init__(self, jobs: Sequence[Job], progress: JobProgress, console: Console) -> None:
        self.jobs, self.progress, self.console = jobs, progress, console

    def progressed(self, index: int, share: float) -> None:
        self.progress.update(index, share)

    def worker_died(self, index: int, pid: int, how: str, again: bool) -> None:
        for member in self.jobs[index].members:
            remove_leftovers(member.path, pid)
        if again:
            self._say(f"{_name(self.jobs[index])}: the worker process {how}; it is tried again")

    def out_of_memory(self, index: int, device: str) -> None:
        self._say(
            f"{_name(self.jobs[index])}: no memory beside others on {device}; it is tried again, with fewer "
            "processes there"
        )

    def _say(self, message: str) -> None:
        self.console.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)


def _name(job: Job) -> str:
    """``permuted-digits-v1/l2-1a2b3c4d and 2 more configurations, seeds 0-15``"""
    seeds = seed_ranges(job.seeds, ",")
    others = f" and {len(job.others)} more configurations" if job.others else ""
    return f"{job.path.parent.name}/{job.path.name}{others}, seeds {seeds}"


def _run_all(jobs: Sequence[Job], devices: Sequence[str], console: Console) -> None:
    from plasticity_bench.running.progress import JobProgress, watched_job

    # Spawned processes inherit this: numpy's and torch's own threads would fight over the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with Interrupts() as interrupts, JobProgress([watched_job(job) for job in jobs], console) as progress:
        pool = Pool(jobs, devices, start_worker, train_one, _JobObserver(jobs, progress, console))
        finished = pool.run(interrupts)
    lines, failed = _failures(jobs, pool.failures, len(devices))
    if not finished:
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        raise Interrupted(interrupts.received[0])
    if lines:
        raise RunFailed(*lines) if failed else InputError(*lines)


def _failures(jobs: Sequence[Job], failures: Mapping[int, Exception], workers: int) -> tuple[list[str], bool]:
    """A line for each, in the order of the jobs, and whether one is not for the user to mend."""
    lines: list[str] = []
    full = False
    for index, error in sorted(failures.items()):
        if isinstance(error, CannotWrite):
            if full:  # one line for a disk is enough
                continue
            full = True
        text = str(error)
        if isinstance(error, WorkerDied):
            text = (
                f"{_name(jobs[index])}: {text}; run the same command again to go on from the last "
                f"checkpoint, with fewer processes: --jobs {max(1, workers // 2)}"
            )
        elif isinstance(error, OutOfMemory):
            text = f"{_name(jobs[index])}: {text}; even alone on its device: train fewer seeds at a time"
        lines.append(text)
    failed = any(not isinstance(error, InputError) for error in failures.values())
    return list(dict.fromkeys(lines)), failed
