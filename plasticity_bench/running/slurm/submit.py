"""Submits the missing seeds of some cells as arrays of Slurm jobs, and follows these jobs."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.documents import utc_now
from plasticity_bench.running.job import Job
from plasticity_bench.running.plan import CHECKPOINT_SECONDS, Planned, plan_jobs, tidy
from plasticity_bench.running.progress import JobProgress, ShownJob
from plasticity_bench.running.slurm import states
from plasticity_bench.running.slurm.arrays import FOLDER, ArrayTask, JobArray, submitting, write_array
from plasticity_bench.running.slurm.options import Options
from plasticity_bench.storage.locks import is_held

if TYPE_CHECKING:
    from rich.console import Console

#: Most jobs in one array: Slurm's MaxArraySize is 1001 by default.
MAX_ARRAY = 1000
#: How often a job may reach its time limit and be put back in the queue.
MAX_REQUEUES = 10_000
#: Seconds between two checkpoints of a job: many jobs share a file system.
JOB_CHECKPOINT_SECONDS = 30.0
#: Seconds between two queries of Slurm while its jobs are followed: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0


def submit_missing(
    runs: Path, planned: Sequence[Planned], options: Options, wait: bool, console: Console
) -> bool:
    """Submits the seeds that are missing and not submitted yet.

    Args:
        runs: The run folder.
        planned: The cells.
        options: Options of the jobs.
        wait: Whether to follow the jobs until they end.
        console: Shows what was submitted, and the progress.

    Returns:
        Whether all seeds are recorded.

    Raises:
        InputError: A run on this machine or another command writes the same folder, or sbatch refused.
        RunFailed: Slurm did not answer, or a job failed that was waited for.
    """
    unique = list({item.cell.path: item for item in planned if item.missing or item.outdated}.values())
    if not unique:
        return True
    with submitting(runs):
        before = states.submitted_seeds(states.task_states(runs))
        waiting = sum(len(before.get(item.cell.label, set()) & set(item.missing)) for item in unique)
        new = submit(runs, unique, before, options)
    for array in new:
        seeds = sum(len(task.seeds) for task in array.tasks)
        console.print(f"submitted job {array.job}: {len(array.tasks)} stacks, {seeds} seeds", highlight=False)
    if waiting:
        console.print(f"{waiting} seeds were submitted before and are pending or running", highlight=False)
    if wait:
        follow(runs, unique, console)
    return not any(item.missing for item in unique)


def say_next(runs: Path, console: Console) -> None:
    """Prints what a user can do while the jobs run."""
    folder = shlex.quote(str(runs))
    for line in (
        f"python -m plasticity_bench status --runs {folder}    what is done, running, pending, failed",
        f"python -m plasticity_bench cancel --runs {folder}    end the jobs",
        "the same command again: shows the results, or submits again what failed",
    ):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def submit(
    runs: Path, planned: Sequence[Planned], submitted: dict[str, set[int]], options: Options
) -> list[JobArray]:
    """Submits the missing seeds of the cells, apart from those ``submitted`` before (cell -> seeds).

    Returns the arrays, each with at most ``MAX_ARRAY`` stacks of seeds.
    """
    free = [_without(item, submitted.get(item.cell.label, set())) for item in planned]
    for item in free:
        _refuse_locked(item.cell.path)
        if item.cell.label not in submitted:  # otherwise its temporary files may be of a running job
            tidy(item)
    # On GPUs, stacks as large as speeds up the training; on CPUs, as many jobs as may run at a time.
    planned_jobs = plan_jobs(free, 1 if options.gpus else options.parallel, [options.device])
    # One cell per job, as ``status`` shows the state of each cell.
    jobs = [member for job in planned_jobs for member in job.members]
    return [_submit(runs, jobs[i : i + MAX_ARRAY], options) for i in range(0, len(jobs), MAX_ARRAY)]


def _submit(runs: Path, jobs: Sequence[Job], options: Options) -> JobArray:
    path = runs / FOLDER / f"pb-{uuid.uuid4().hex[:12]}"
    array = JobArray(path, tuple(_task(job) for job in jobs), utc_now())
    write_array(array)
    try:
        # Checked again: a local run that takes the locks from now on sees the array.
        for cell in {job.path for job in jobs}:
            _refuse_locked(cell)
        numbers = _to_slurm(path.resolve(), jobs, options)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    array = replace(array, job=numbers[0].partition("_")[0])
    write_array(array)
    return array


def _refuse_locked(folder: Path) -> None:
    """Raises InputError if a run on this machine writes the cell in ``folder``."""
    if is_held(folder):
        raise InputError(
            f"{folder} is being written by a run on this machine; wait for it, or use another --runs folder"
        )


def _to_slurm(folder: Path, jobs: Sequence[Job], options: Options) -> list[str]:
    """Submits the jobs; returns Slurm's number of each. Raises InputError if sbatch refuses them."""
    import submitit

    from plasticity_bench.running.slurm.task import TrainTask

    grace = max(1, options.signal_seconds // 2)
    tasks = [TrainTask(_for_node(job), folder, index, grace) for index, job in enumerate(jobs)]
    executor = submitit.SlurmExecutor(folder, max_num_timeout=MAX_REQUEUES)
    executor.update_parameters(**options.parameters(folder.name))
    try:
        with redirect_stderr(io.StringIO()):  # submitit prints the message of sbatch before raising it
            return [str(job.job_id) for job in executor.submit_array(tasks)]
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise InputError(f"sbatch refused the jobs: {' '.join(str(error).split())}") from None


def _for_node(job: Job) -> Job:
    """The job with an absolute path, and with rarer checkpoints because the file system is shared."""
    job = replace(job, path=job.path.resolve())
    return (
        job if CHECKPOINT_SECONDS in os.environ else replace(job, checkpoint_seconds=JOB_CHECKPOINT_SECONDS)
    )


def follow(runs: Path, planned: Sequence[Planned], console: Console) -> None:
    """Shows the progress of the jobs that train missing seeds, until all of them have ended.

    Raises RunFailed if seeds are still missing then.
    """
    missing = {item.cell.label: set(item.missing) for item in planned}

    def job_states() -> list[states.TaskState]:
        return [s for s in states.task_states(runs) if missing.get(s.task.cell, set()) & set(s.task.seeds)]

    followed = [state for state in job_states() if state.state in states.ACTIVE_STATES]
    jobs = [_shown(state.task) for state in followed]
    pause = FIRST_PAUSE
    if jobs:
        with JobProgress(jobs, console) as progress:
            while True:
                by_job = {(s.array.name, s.index): s for s in job_states()}
                latest = [by_job[s.array.name, s.index] for s in followed]
                for index, state in enumerate(latest):
                    progress.update(index, state.share)
                if not any(state.state in states.ACTIVE_STATES for state in latest):
                    break
                time.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 1.2)
    lost = [item for item in planned if item.missing]
    if lost:
        count = sum(len(item.missing) for item in lost)
        reasons = [s for s in job_states() if s.state in (states.FAILED, states.STOPPED)]
        last = (
            f"; {reasons[-1].task.method} on {reasons[-1].task.stream}: {reasons[-1].reason}"
            if reasons
            else ""
        )
        raise RunFailed(
            f"{count} seeds are missing{last} (all of them: status --runs {runs}; the same command submits "
            "them again)"
        )


def _task(job: Job) -> ArrayTask:
    labels = job.plan.stream.label, job.plan.method.label
    return ArrayTask(job.cell_label, *labels, job.seeds, job.seconds, job.steps, job.twins > 0)


def _shown(task: ArrayTask) -> ShownJob:
    label = f"{task.stream}  {task.method}"
    return ShownJob(label, frozenset({task.cell}), task.seeds, len(task.seeds), task.seconds, task.steps)


def _without(item: Planned, seeds: set[int]) -> Planned:
    """The same cell without these seeds."""
    return replace(item, seeds=tuple(seed for seed in item.seeds if seed not in seeds))
