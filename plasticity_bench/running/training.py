"""Trains one stack of seeds of a cell and records it; resumes from its checkpoint if there is one."""

from __future__ import annotations

import io
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import structs

from plasticity_bench.errors import InputError, OutOfMemory, RunFailed
from plasticity_bench.plugins import error_location
from plasticity_bench.records.cells import POLICY, ROLLOUTS, Cell, read_cell
from plasticity_bench.records.checkpoints import (
    CHECKPOINT,
    FRESH_CHECKPOINT,
    Resumable,
    checkpoint_path,
    load_checkpoint,
    save_checkpoint,
)
from plasticity_bench.records.seed_tables import SeedTables
from plasticity_bench.records.tables import ROLLOUT_COLUMNS, to_csv
from plasticity_bench.registry.choices import Chosen
from plasticity_bench.registry.learning_rate import with_learning_rate
from plasticity_bench.registry.precision import DEFAULT, precision_of, set_up_device
from plasticity_bench.running.job import Job, Learner, OnProgress, ShouldStop, Trainer
from plasticity_bench.running.origins import origin_of
from plasticity_bench.specs import twin_tasks
from plasticity_bench.storage.files import write_text

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method
    from plasticity_bench.tasks.base import Stream

#: Messages of torch if there is too little memory: on a CPU (then it is a plain RuntimeError), and on a GPU.
_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|_ALLOC_FAILED")


def train_cell(job: Job, report: OnProgress, should_stop: ShouldStop) -> bool:
    """Trains and records the seeds of a job of one cell: see ``worker.run_job``."""
    try:
        return _train_and_record(job, report, should_stop)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # a plug-in that exits has not finished
        raise run_error(job, error) from None


def run_error(job: Job, error: BaseException) -> RunFailed:
    """The error to raise in place of ``error``: OutOfMemory, or RunFailed with the traceback in the cell's
    folder."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return OutOfMemory(f"{job.plan.label} found no memory: {reason}")
    path = job.path / "error.txt"
    details = f" (details: {path})"
    try:
        write_text(path, "".join(traceback.format_exception(error)))
    except InputError:
        details = ""
    line = error_location(error, job.plan.method.files)
    return RunFailed(f"{job.plan.label} failed: {type(error).__name__}: {error}{line}{details}")


def _train_and_record(job: Job, report: OnProgress, should_stop: ShouldStop) -> bool:
    """The seeds first, then their fresh twins; what is recorded already is not trained again."""
    stream, method, precision = stream_and_method(job)
    device = prepare_device(job.device, precision)
    steps = 0 if is_recorded(job) else stream.tasks * stream.steps
    twins = twin_tasks(stream.tasks) if job.twins else ()
    total = steps + len(twins) * stream.steps

    def make() -> Learner:
        return make_learner(stream, method, job.seeds, device, precision)

    def make_twins() -> Learner:
        return make_fresh_twins(stream, method, job.seeds, device, precision, networks=job.twins)

    def report_twins(done: int, _: int) -> None:
        report(steps + done, total)

    if not _train(job, "seed", make, device, lambda done, _: report(done, total), should_stop):
        return False
    return not twins or _train(job, "fresh", make_twins, device, report_twins, should_stop)


def _train(
    job: Job,
    kind: str,
    make: Callable[[], Learner],
    device: Any,
    report: OnProgress,
    should_stop: ShouldStop,
) -> bool:
    """Trains and records the job's seeds or their fresh twins, and resumes from their checkpoint.

    Returns False if it saved and stopped early.
    """
    path = checkpoint_path(job.path, job.seeds, CHECKPOINT if kind == "seed" else FRESH_CHECKPOINT)
    if is_recorded(job, kind):  # before, or by a worker that was killed before it could report it
        path.unlink(missing_ok=True)
        return True
    learner = make()
    seconds = load_checkpoint(path, learner, device)
    spent = train_to_end(
        job, learner, lambda spent: save_checkpoint(path, learner, seconds + spent), report, should_stop
    )
    if learner.finished:
        stack = getattr(learner, "size", len(job.seeds))
        write_seeds(job, learner, seconds + spent, stack, device, capture_record(learner), kind)
        path.unlink(missing_ok=True)
    learner.close()
    return learner.finished


def is_recorded(job: Job, kind: str = "seed") -> bool:
    """Whether all seeds of the job are recorded; ``kind`` "fresh": whether their fresh twins are."""
    return set(tables_of_kind(read_cell(job.path), kind).seeds()).issuperset(job.seeds)


def tables_of_kind(cell: Cell, kind: str) -> SeedTables:
    """The tables of the cell's seeds, or those of their fresh twins if ``kind`` is "fresh"."""
    return cell.fresh if kind == "fresh" else cell.trained


def train_to_end(
    job: Job, learner: Trainer, save: Callable[[float], None], report: OnProgress, should_stop: ShouldStop
) -> float:
    """Trains to the end, or until ``should_stop()`` returns True; then it saves first.

    Args:
        job: The stack of seeds.
        learner: Trains it.
        save: Saves the state. It is given the seconds spent so far, and called every
            ``job.checkpoint_seconds``.
        report: Called with the progress and its value at the end.
        should_stop: Asked after each piece of work.

    Returns:
        The seconds spent: processor time on a CPU, elapsed time on a GPU.
    """
    begun, total = learner.progress, learner.total
    # Processor time on a CPU, with one thread: other work on the machine is not part of the method's cost.
    clock = time.perf_counter if job.device.startswith("cuda") else time.process_time
    started, saved = clock(), time.perf_counter()
    while not learner.finished:
        if should_stop():
            if learner.progress > begun:
                save(clock() - started)
            break
        learner.advance()
        report(learner.progress, total)
        now = time.perf_counter()
        if now - saved > job.checkpoint_seconds and not learner.finished:
            save(clock() - started)
            saved = time.perf_counter()
    return clock() - started


def prepare_device(name: str, precision: str) -> Any:
    """The torch device, set up so that results are bit-identical at every run.

    Raises InputError if there is no such device, or if it does not have this precision.
    """
    device = find_device(name)
    set_up_device(device, precision)
    return device


def stream_and_method(job: Job) -> tuple[Stream, Chosen[Method], str]:
    """What a job trains: stream, method and precision."""
    stream = job.plan.stream
    return stream.make(), job.plan.method, precision_of(stream.settings)


def write_seeds(
    job: Job,
    learner: Resumable,
    seconds: float,
    stack: int,
    device: Any,
    capture: Mapping[str, Any],
    kind: str = "seed",
) -> None:
    """Records the seeds of a finished job that are not recorded yet.

    Args:
        job: The seeds of one cell.
        learner: Has trained them.
        seconds: Training time of all of them together.
        stack: Number of networks that trained together, over all cells.
        device: The torch device.
        capture: ``capture_record``; recorded on a GPU only.
        kind: "fresh": it has trained the fresh twins of the seeds.
    """
    tables = tables_of_kind(read_cell(job.path), kind)
    recorded = set(tables.seeds())
    origin = origin_of(job, stack, device, round(seconds / len(job.seeds), 3))
    if device.type == "cuda":
        origin = structs.replace(origin, **capture)
    for index, (seed, rows) in enumerate(zip(job.seeds, learner.rows, strict=True)):
        if seed not in recorded:
            tables.write(seed, rows, origin, _extra_files(learner, index))


def capture_record(learner: Any) -> dict[str, Any]:
    """How many updates were replayed from a captured CUDA graph (see agents/capture.py), and why not all.

    Returns the fields ``captured``, ``replayed`` and ``not_captured`` of ``Origin``.
    """
    updater = getattr(learner, "updater", None)
    if updater is None:
        return {"captured": False, "not_captured": "an agent that acts"}
    reason = updater.reason or ("" if updater.replayed else "the method acts at every update")
    found = {"captured": updater.replayed > 0, "replayed": updater.replayed}
    return found | ({"not_captured": reason} if reason else {})


def make_learner(
    stream: Stream, method: Chosen, seeds: Sequence[int], device: Any, precision: str = DEFAULT
) -> Learner:
    """The learner for this kind of stream: supervised, or PPO."""
    from plasticity_bench.tasks.base import ControlStream, SupervisedStream

    options: Any = {"optimizer": with_learning_rate(stream, method), "device": device}
    if isinstance(stream, ControlStream):
        from plasticity_bench.agents.ppo import PPOLearner

        return PPOLearner(stream, method.make(), seeds, **options)
    from plasticity_bench.agents.supervised import SupervisedLearner

    assert isinstance(stream, SupervisedStream)
    return SupervisedLearner(stream, method.make(), seeds, precision=precision, **options)


def make_fresh_twins(
    stream: Stream, method: Chosen, seeds: Sequence[int], device: Any, precision: str, networks: int
) -> Learner:
    """What trains the fresh twins of these seeds, at most ``networks`` in a stack."""
    from plasticity_bench.agents.twins import FreshTwins

    return FreshTwins(
        stream,
        method.make,
        seeds,
        twin_tasks(stream.tasks),
        networks=networks,
        optimizer=with_learning_rate(stream, method),
        device=device,
        precision=precision,
    )


def _extra_files(learner: Resumable, index: int) -> dict[str, bytes]:
    """Suffix -> content of the files kept next to a seed's table: rollouts and policy, if an agent acts."""
    import torch

    policy = learner.policy_state(index)
    if not policy:
        return {}
    file = io.BytesIO()
    torch.save(policy, file)
    return {ROLLOUTS: to_csv(ROLLOUT_COLUMNS, learner.rollouts[index]), POLICY: file.getvalue()}


def find_device(name: str) -> Any:
    """The torch device. Raises InputError if there is no such device."""
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", name):  # before torch is imported
        raise InputError(f'unknown device "{name}": use auto, cpu, cuda or cuda:0')
    import torch

    device = torch.device(name)
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise InputError(
            f'device "{name}" is not there: torch {torch.__version__} sees '
            f"{torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    return device
