"""Trains one stack of seeds of a cell to its end, in a process of its own; resumes from its checkpoint."""

from __future__ import annotations

import io
import os
import platform
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from plasticity_bench.cells import CellPlan
from plasticity_bench.checkpoints import Saved, checkpoint_path, load, save
from plasticity_bench.errors import InputError, OutOfMemory, RunFailed
from plasticity_bench.files import write_text
from plasticity_bench.parallel import live_with
from plasticity_bench.precision import DEFAULT, of_settings, prepare
from plasticity_bench.records import POLICY, PROTOCOL, ROLLOUTS, read_cell
from plasticity_bench.registry import Chosen, method_of, stream_of, with_learning_rate
from plasticity_bench.tables import ROLLOUT_COLUMNS, to_csv

if TYPE_CHECKING:
    from plasticity_bench.tasks.base import Stream


@dataclass(frozen=True)
class Job:
    """One stack, as it travels to a worker process: the seeds of a cell, or of several side by side."""

    plan: CellPlan
    path: Path  # the cell's folder
    seeds: tuple[int, ...]
    device: str  # "cpu" or "cuda:0"
    git: str | None = None  # revision of the source that runs
    checkpoint_seconds: float = 5.0  # how much work a kill may cost
    digest: str = ""  # of the plug-in's source that the cell was made for
    seconds: float = field(default=0.0, compare=False)  # expected duration, for order and progress bar
    steps: int = field(default=0, compare=False)  # of training, over all seeds
    beside: tuple[Job, ...] = ()  # further configurations of the method, with the same seeds, in this stack

    @property
    def members(self) -> tuple[Job, ...]:
        """One job per cell."""
        every = (self, *self.beside)
        return tuple(replace(job, beside=(), device=self.device, git=self.git) for job in every)

    @property
    def count(self) -> int:
        """Seeds that are trained, over all cells."""
        return len(self.seeds) * (1 + len(self.beside))


#: Told the updates done so far, of all updates of the job.
Report = Callable[[int, int], None]
#: Looked at between two pieces of work: whether to save and leave.
Asked = Callable[[], bool]
#: What torch says where memory is wanting, on a CPU (an error of no kind of its own) and on a GPU.
_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|_ALLOC_FAILED")


class Progressing(Protocol):
    """What trains a stack, piece by piece."""

    @property
    def stream(self) -> Stream:
        """What it trains on."""

    @property
    def finished(self) -> bool:
        """All tasks are done."""

    @property
    def updates(self) -> int:
        """How far it is, of ``stream.tasks * stream.steps``."""

    def advance(self) -> None:
        """A piece of work, after which it may be saved."""


class Learner(Progressing, Saved, Protocol):
    """What trains a stack of seeds of one cell."""

    def close(self) -> None:
        """Frees what it holds."""


def start_worker(parent: int) -> None:
    """Prepares a worker process: one thread, and no life without the process that started it."""
    live_with(parent)

    import torch

    # One thread: several processes fill the cores, and a seed's bits do not depend on the size of its stack.
    torch.set_num_threads(1)
    # Moments of silent units decay into denormal numbers, which a CPU computes a hundred times slower.
    torch.set_flush_denormal(True)


def run_job(job: Job, report: Report, asked: Asked = lambda: False) -> bool:
    """Trains and records the job's seeds. Returns False where it saved and left early because ``asked()``.

    Raises InputError where the user can mend it, OutOfMemory, and RunFailed, with the traceback in the cell's
    folder, where the method or the stream failed.
    """
    if job.beside:
        from plasticity_bench.side_by_side import run_members

        return run_members(job, report, asked)
    try:
        return _run(job, report, asked)
    except InputError:
        raise
    except Exception as error:
        raise failed(job, error) from None


def failed(job: Job, error: Exception) -> RunFailed:
    """What to raise for it; the traceback goes into the cell's folder, unless it is of memory."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return OutOfMemory(f"{job.plan.method} on {job.plan.stream} found no memory: {reason}")
    path = job.path / "error.txt"
    details = f" (details: {path})"
    try:
        write_text(path, "".join(traceback.format_exception(error)))
    except InputError:
        details = ""
    settings = ", ".join(f"{key}={value}" for key, value in job.plan.settings.items())
    method = f"{job.plan.method} ({settings})" if settings else job.plan.method
    what = f"{type(error).__name__}: {error}"
    return RunFailed(f"{method} on {job.plan.stream} failed: {what}{details}")


def _run(job: Job, report: Report, asked: Asked) -> bool:
    stream, method, precision = chosen(job)
    device = prepare_device(job.device, precision)
    path = checkpoint_path(job.path, job.seeds)
    if is_recorded(job):  # by a worker that was killed before it could say so
        path.unlink(missing_ok=True)
        return True
    learner = make_learner(stream, method, job.seeds, device, precision)
    seconds = load(path, learner, device)
    spent = train(job, learner, lambda spent: save(path, learner, seconds + spent), report, asked)
    if learner.finished:
        record(job, learner, seconds + spent, len(job.seeds), device, captured(learner))
        path.unlink(missing_ok=True)
    learner.close()
    return learner.finished


def is_recorded(job: Job) -> bool:
    """Whether nothing is left to do."""
    return set(read_cell(job.path).seeds()).issuperset(job.seeds)


def train(
    job: Job, learner: Progressing, keep: Callable[[float], None], report: Report, asked: Asked
) -> float:
    """Trains to the end, or until ``asked()``, when it saves first. ``keep`` saves, told the seconds spent so
    far, which are returned in the end."""
    begun, total = learner.updates, learner.stream.tasks * learner.stream.steps
    # On a CPU the one thread's processor time: other work on the machine is no cost of the method.
    clock = time.perf_counter if job.device.startswith("cuda") else time.process_time
    started, saved = clock(), time.perf_counter()
    while not learner.finished:
        if asked():
            if learner.updates > begun:
                keep(clock() - started)
            break
        learner.advance()
        report(learner.updates, total)
        now = time.perf_counter()
        if now - saved > job.checkpoint_seconds and not learner.finished:
            keep(clock() - started)
            saved = time.perf_counter()
    return clock() - started


def prepare_device(name: str, precision: str) -> Any:
    """The torch device, on which every run now gives the same bits. Raises InputError where there is none, or
    where it does not compute so."""
    device = find_device(name)
    prepare(device, precision)
    return device


def chosen(job: Job) -> tuple[Stream, Chosen, str]:
    """Stream, method and precision. Raises InputError where a plug-in is not that of the cell."""
    chosen_stream, chosen_method = job.plan.chosen()
    if chosen_method.digest != job.digest:
        raise InputError(f"{job.plan.method} was changed while it ran; run the same command again")
    return stream_of(chosen_stream), chosen_method, of_settings(chosen_stream.settings)


def record(
    job: Job, learner: Saved, seconds: float, stack: int, device: Any, steps: Mapping[str, Any]
) -> None:
    """Writes what is not recorded yet of a job whose training took ``seconds`` in a stack of so many;
    ``steps``: see ``captured``, for a GPU."""
    cell = read_cell(job.path)
    recorded = set(cell.seeds())
    provenance = dict(_provenance(job, stack, device))
    provenance["seconds"] = round(seconds / len(job.seeds), 3)
    provenance["precision"] = of_settings(job.plan.chosen()[0].settings)
    if device.type == "cuda":
        provenance |= steps
    for index, (seed, rows) in enumerate(zip(job.seeds, learner.rows, strict=True)):
        if seed not in recorded:
            cell.write_seed(seed, rows, provenance, _attached(learner, index))


def captured(learner: Any) -> dict[str, Any]:
    """How many updates were replayed from a captured graph (see agents/capture.py), and why not all."""
    steps = getattr(learner, "steps", None)
    if steps is None:
        return {"captured": False, "not_captured": "an agent that acts"}
    reason = steps.reason or ("" if steps.replayed else "the method acts at every update")
    found = {"captured": steps.replayed > 0, "replayed": steps.replayed}
    return found | ({"not_captured": reason} if reason else {})


def make_learner(
    stream: Stream, method: Chosen, seeds: Sequence[int], device: Any, precision: str = DEFAULT
) -> Learner:
    """The learner for this kind of stream."""
    from plasticity_bench.tasks.base import ControlStream, SupervisedStream

    options: Any = {"optimizer": with_learning_rate(stream, method), "device": device}
    if isinstance(stream, ControlStream):
        from plasticity_bench.agents.ppo import PPOLearner

        return PPOLearner(stream, method_of(method), seeds, **options)
    from plasticity_bench.agents.supervised import SupervisedLearner

    assert isinstance(stream, SupervisedStream)
    return SupervisedLearner(stream, method_of(method), seeds, precision=precision, **options)


def _attached(learner: Saved, index: int) -> dict[str, bytes]:
    """What is kept beside a seed's table: suffix -> content."""
    import torch

    policy = learner.policy_state(index)
    if not policy:
        return {}
    file = io.BytesIO()
    torch.save(policy, file)
    return {ROLLOUTS: to_csv(ROLLOUT_COLUMNS, learner.rollouts[index]), POLICY: file.getvalue()}


def find_device(name: str) -> Any:
    """The torch device. Raises InputError where there is no such device."""
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


def _provenance(job: Job, stack: int, device: Any) -> Mapping[str, Any]:
    import torch

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    names = ("plasticity_bench", "numpy", "scikit-learn", "avalanche-lib", "pybullet", "gymnasium")
    return {
        "protocol": PROTOCOL,
        "device": str(device),
        "stack": stack,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__}
        | {name: installed(name) for name in names},
        "git": job.git,
        "hardware": {
            "machine": platform.machine(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        },
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **({"slurm_job": number} if (number := slurm_job()) else {}),
    }


def slurm_job() -> str | None:
    """Slurm's number of the job that this process is part of, ``17_3`` in an array; None outside."""
    number, array = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else number
