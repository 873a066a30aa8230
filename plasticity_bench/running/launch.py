"""Trains the missing seeds of some cells in worker processes, with progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plasticity_bench.errors import CannotWrite, InputError, Interrupted, OutOfMemory, RunFailed
from plasticity_bench.processes.pool import Pool, WorkerDied
from plasticity_bench.processes.signals import Interrupts
from plasticity_bench.processes.workers import one_thread_each, usable_cores
from plasticity_bench.records.names import seeds_text
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
    """Trains all missing seeds and records them.

    Args:
        planned: The cells, with the seeds that they should have.
        workers: Number of processes. Each keeps one device; if there are more processes than devices, several
            share one.
        devices: Names of torch devices.
        console: Shows the progress and warnings.

    Returns:
        The number of seeds trained.

    Raises:
        RunFailed: Some jobs failed: a line for each, after the other jobs have ended.
        InputError: The same, if the user can fix all of them.
        Interrupted: SIGINT or SIGTERM arrived, and all is saved.
    """
    # A cell may be requested twice, as a method and as a reference.
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


def choose_devices(name: str) -> list[str]:
    """The devices for ``--device``; ``auto``: every NVIDIA GPU that torch may use, or else the CPU.

    Imports torch only if the machine may have a GPU. Raises InputError if there is no such device.
    """
    if name == "auto":
        driver = Path("/proc/driver/nvidia/gpus")
        if not driver.is_dir() or not any(driver.iterdir()):
            return ["cpu"]
        import torch

        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    if name != "cpu":
        find_device(name)
    return [name]


def train_one(
    job: Job, device: str, report: Callable[[float], None], should_stop: Callable[[], bool]
) -> bool:
    """``run_job`` on the worker's device, as the function that a pool calls. ``report`` is given the share
    of the job that is done, between 0 and 1."""
    last = 0.0

    def report_share(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 0.2:
            last = now
            report(done / total)

    return run_job(replace(job, device=device), report_share, should_stop)


def processes_and_devices(jobs: int | None, device: str) -> tuple[int, list[str]]:
    """Number of processes, and the devices, for ``--jobs`` and ``--device``. Raises InputError if ``--jobs``
    is less than 1, or if there is no such device."""
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: at least one process is needed")
    devices = choose_devices(device)
    return jobs or (len(devices) if devices[0].startswith("cuda") else usable_cores()), devices


class _JobObserver:
    """Shows what happens to the jobs, and removes the temporary files of workers that were killed."""

    def __init__(self, jobs: Sequence[Job], progress: JobProgress, console: Console) -> None:
        self.jobs, self.progress, self.console = jobs, progress, console

    def progressed(self, index: int, share: float) -> None:
        self.progress.update(index, share)

    def worker_died(self, index: int, pid: int, how: str, again: bool) -> None:
        for member in self.jobs[index].members:
            remove_leftovers(member.path, pid)
        if again:
            self._warn(f"{_name(self.jobs[index])}: the worker process {how}; it is tried again")

    def out_of_memory(self, index: int, device: str) -> None:
        self._warn(
            f"{_name(self.jobs[index])}: no memory next to other processes on {device}; it is tried again, "
            "with fewer processes there"
        )

    def _warn(self, message: str) -> None:
        self.console.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)


def _name(job: Job) -> str:
    """``permuted-digits-v1/l2-1a2b3c4d and 2 more configurations, seeds 0-15``"""
    others = f" and {len(job.others)} more configurations" if job.others else ""
    return f"{job.cell_label}{others}, {seeds_text(job.seeds)}"


def _run_all(jobs: Sequence[Job], devices: Sequence[str], console: Console) -> None:
    from plasticity_bench.running.progress import JobProgress, shown_job

    progress = JobProgress([shown_job(job) for job in jobs], console)
    with one_thread_each(), Interrupts() as interrupts, progress:
        pool = Pool(jobs, devices, start_worker, train_one, _JobObserver(jobs, progress, console))
        finished = pool.run(interrupts)
    lines, fixable = _failure_lines(jobs, pool.failures, len(devices))
    if not finished:
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        raise Interrupted(interrupts.received[0])
    if lines:
        raise InputError(*lines) if fixable else RunFailed(*lines)


def _failure_lines(
    jobs: Sequence[Job], failures: Mapping[int, Exception], workers: int
) -> tuple[list[str], bool]:
    """A line for each failure, in the order of the jobs, and whether the user can fix all of them."""
    lines: list[str] = []
    disk_is_full = False
    for index, error in sorted(failures.items()):
        if isinstance(error, CannotWrite):
            if disk_is_full:  # one line about the disk is enough
                continue
            disk_is_full = True
        text = str(error)
        if isinstance(error, WorkerDied):
            text = (
                f"{_name(jobs[index])}: {text}; run the same command again to resume from the last "
                f"checkpoint, with fewer processes: --jobs {max(1, workers // 2)}"
            )
        elif isinstance(error, OutOfMemory):
            text = f"{_name(jobs[index])}: {text}, although alone on its device: train fewer seeds at a time"
        lines.append(text)
    fixable = all(isinstance(error, InputError) for error in failures.values())
    return list(dict.fromkeys(lines)), fixable
