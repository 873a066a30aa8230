"""Submits what is missing of some cells as arrays of Slurm jobs, and follows them."""

from __future__ import annotations

import io
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.running.job import Job
from plasticity_bench.running.plan import CHECKPOINT_SECONDS, Planned, plan_jobs, tidy
from plasticity_bench.running.progress import JobProgress, Watched
from plasticity_bench.running.slurm import states
from plasticity_bench.running.slurm.arrays import FOLDER, ArrayTask, JobArray, now, submitting, write_array
from plasticity_bench.running.slurm.options import Options
from plasticity_bench.storage.locks import is_held

if TYPE_CHECKING:
    from rich.console import Console

#: Jobs of one array: Slurm's MaxArraySize is 1001 where the site has not changed it.
ARRAY = 1000
#: How often a job may come to the end of its time and be put back.
MAX_REQUEUES = 10_000
#: Seconds between two checkpoints of a job: a shared file system serves many.
JOB_CHECKPOINT_SECONDS = 30.0
#: Seconds between two questions to Slurm while its jobs are followed: first, and at most.
ASK_FIRST, ASK_LAST = 2.0, 30.0


def submit_missing(
    runs: Path, planned: Sequence[Planned], options: Options, wait: bool, console: Console
) -> bool:
    """Submits what is missing and not submitted yet. Returns whether all of it is recorded.

    ``wait``: first follows the jobs to their end. Raises InputError where a job or a local run is in the way
    or sbatch refuses, and RunFailed where Slurm does not answer or a job that was waited for failed.
    """
    unique = list({item.cell.path: item for item in planned if item.missing or item.outdated}.values())
    if not unique:
        return True
    with submitting(runs):
        held_seeds = states.holding(states.task_states(runs))
        waiting = sum(len(held_seeds.get(_name(item), set()) & set(item.missing)) for item in unique)
        new = submit(runs, unique, held_seeds, options)
    for array in new:
        seeds = sum(len(task.seeds) for task in array.tasks)
        console.print(f"submitted job {array.job}: {len(array.tasks)} stacks, {seeds} seeds", highlight=False)
    if waiting:
        console.print(f"{waiting} seeds were submitted before and are pending or running", highlight=False)
    if wait:
        follow(runs, unique, console)
    return not any(item.missing for item in unique)


def say_next(runs: Path, console: Console) -> None:
    """What a user does while the jobs run."""
    for line in (
        f"python -m plasticity_bench status --runs {runs}    what is done, running, pending, failed",
        f"python -m plasticity_bench cancel --runs {runs}    end the jobs",
        "the same command again: the results, or what failed once more (never what is pending or running)",
    ):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def submit(
    runs: Path, planned: Sequence[Planned], held_seeds: dict[str, set[int]], options: Options
) -> list[JobArray]:
    """One array per ``ARRAY`` stacks of seeds that are missing and in no other job's hands."""
    free = [_without(item, held_seeds.get(_name(item), set())) for item in planned]
    for item in free:
        _refuse_held(item.cell.path)
        if _name(item) not in held_seeds:  # else its temporary files are a running job's
            tidy(item)
    # On a GPU a stack as large as it gains from; on CPUs as many jobs as may run at a time.
    planned_jobs = plan_jobs(free, 1 if options.gpus else options.parallel, [options.device])
    # A cell each: what is pending, running or failed is told by cell.
    jobs = [member for job in planned_jobs for member in job.members]
    return [_submit(runs, jobs[i : i + ARRAY], options) for i in range(0, len(jobs), ARRAY)]


def _submit(runs: Path, jobs: Sequence[Job], options: Options) -> JobArray:
    path = runs / FOLDER / f"pb-{uuid.uuid4().hex[:12]}"
    array = JobArray(path, tuple(_task(job) for job in jobs), now())
    write_array(array)
    try:
        # Once more: a run that takes the locks from now on finds the array.
        for cell in {job.path for job in jobs}:
            _refuse_held(cell)
        numbers = _to_slurm(path.resolve(), jobs, options)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    array = replace(array, job=numbers[0].partition("_")[0])
    write_array(array)
    return array


def _refuse_held(folder: Path) -> None:
    if is_held(folder):
        raise InputError(
            f"{folder} is being written by a run on this machine; wait for it, or use another --runs folder"
        )


def _to_slurm(folder: Path, jobs: Sequence[Job], options: Options) -> list[str]:
    import submitit

    from plasticity_bench.running.slurm.task import TrainTask

    grace = max(1, options.signal_seconds // 2)
    tasks = [TrainTask(_for_node(job), folder, index, grace) for index, job in enumerate(jobs)]
    executor = submitit.SlurmExecutor(folder, max_num_timeout=MAX_REQUEUES)
    executor.update_parameters(**options.parameters(folder.name))
    try:
        with redirect_stderr(io.StringIO()):  # submitit prints what sbatch says before it raises it
            return [str(job.job_id) for job in executor.submit_array(tasks)]
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise InputError(f"sbatch refused the jobs: {' '.join(str(error).split())}") from None


def _for_node(job: Job) -> Job:
    """As it travels: with an absolute path, and checkpoints as seldom as a shared file system wants them."""
    job = replace(job, path=job.path.resolve())
    return (
        job if CHECKPOINT_SECONDS in os.environ else replace(job, checkpoint_seconds=JOB_CHECKPOINT_SECONDS)
    )


def follow(runs: Path, planned: Sequence[Planned], console: Console) -> None:
    """Shows the progress of the jobs that hold missing seeds until each is recorded or lost.

    Raises RunFailed where seeds are missing then.
    """
    wanted = {_name(item): set(item.missing) for item in planned}

    def ours() -> list[states.TaskState]:
        return [s for s in states.task_states(runs) if wanted.get(s.task.cell, set()) & set(s.task.seeds)]

    followed = [state for state in ours() if state.state in states.HOLDING]
    jobs = [_watched(state.task) for state in followed]
    pause = ASK_FIRST
    if jobs:
        with JobProgress(jobs, console) as progress:
            while True:
                now_known = {(s.array.name, s.index): s for s in ours()}
                latest = [now_known[s.array.name, s.index] for s in followed]
                for index, state in enumerate(latest):
                    progress.update(index, state.share)
                if not any(state.state in states.HOLDING for state in latest):
                    break
                time.sleep(pause)
                pause = min(ASK_LAST, pause * 1.2)
    lost = [item for item in planned if item.missing]
    if lost:
        count = sum(len(item.missing) for item in lost)
        reasons = [s for s in ours() if s.state in (states.FAILED, states.STOPPED)]
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
    cell = f"{job.path.parent.name}/{job.path.name}"
    labels = job.plan.stream.label, job.plan.method.label
    return ArrayTask(cell, *labels, job.seeds, job.seconds, job.steps)


def _watched(task: ArrayTask) -> Watched:
    label = f"{task.stream}  {task.method}"
    return Watched(label, frozenset({task.cell}), task.seeds, len(task.seeds), task.seconds, task.steps)


def _name(item: Planned) -> str:
    return f"{item.cell.path.parent.name}/{item.cell.path.name}"


def _without(item: Planned, seeds: set[int]) -> Planned:
    return replace(item, seeds=tuple(seed for seed in item.seeds if seed not in seeds))
