"""What a worker process does: it prepares itself, then trains one job after the other."""

from __future__ import annotations

from plasticity_bench.processes.workers import exit_with_parent
from plasticity_bench.running.job import Job, OnProgress, ShouldStop


def start_worker(parent: int) -> None:
    """Prepares a worker process: one thread, and no life without the process that started it."""
    exit_with_parent(parent)

    import torch

    # One thread: several processes fill the cores, and a seed's bits do not depend on the size of its stack.
    torch.set_num_threads(1)
    # Moments of silent units decay into denormal numbers, which a CPU computes a hundred times slower.
    torch.set_flush_denormal(True)


def run_job(job: Job, report: OnProgress, should_stop: ShouldStop = lambda: False) -> bool:
    """Trains and records the job's seeds. Returns False if it saved and stopped early (``should_stop``).

    Raises InputError if the user can fix it, OutOfMemory, and RunFailed, with the traceback in the cell's
    folder, if the method or the stream failed.
    """
    if job.others:
        from plasticity_bench.running.side_by_side import run_members

        return run_members(job, report, should_stop)
    from plasticity_bench.running.training import train_cell

    return train_cell(job, report, should_stop)
