"""What a worker process does: it prepares itself, then trains one job after the other."""

from __future__ import annotations

from plasticity_bench.processes.workers import exit_with_parent
from plasticity_bench.running.job import Job, OnProgress, ShouldStop


def start_worker(parent: int) -> None:
    """Prepares a worker process: it uses one thread, and ends if the process ``parent`` ends."""
    exit_with_parent(parent)

    import torch

    # One thread: several processes fill the cores, and a seed's result does not depend on the stack's size.
    torch.set_num_threads(1)
    # Moments of silent units decay into denormal numbers, which a CPU computes a hundred times slower.
    torch.set_flush_denormal(True)


def run_job(job: Job, report: OnProgress, should_stop: ShouldStop = lambda: False) -> bool:
    """Trains and records the job's seeds.

    Args:
        job: The stack of seeds.
        report: Called with the progress (see ``Trainer.progress``) and its value at the end.
        should_stop: Asked between two pieces of work. If it returns True, the training is saved and stops.

    Returns:
        Whether all is recorded; False if it was saved and stopped early.

    Raises:
        InputError: The user can fix what is wrong.
        OutOfMemory: There was too little memory.
        RunFailed: The method or the stream failed; the traceback is in the cell's folder.
    """
    if job.others:
        from plasticity_bench.running.side_by_side import run_members

        return run_members(job, report, should_stop)
    from plasticity_bench.running.training import train_cell

    return train_cell(job, report, should_stop)
