"""Trains one stack of seeds of a cell to its end, in a process of its own; resumes from its checkpoint."""

from __future__ import annotations

import io
import platform
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from plasticity_bench.cells import CellPlan
from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.files import write_atomic, write_text
from plasticity_bench.parallel import live_with
from plasticity_bench.precision import DEFAULT, of_settings, prepare
from plasticity_bench.records import POLICY, PROTOCOL, ROLLOUT_COLUMNS, ROLLOUTS, read_cell, to_csv
from plasticity_bench.registry import Chosen, method_of, stream_of, with_learning_rate

if TYPE_CHECKING:
    from plasticity_bench.tasks.base import Stream


@dataclass(frozen=True)
class Job:
    """One stack of seeds, as it travels to a worker process."""

    plan: CellPlan
    path: Path  # the cell's folder
    seeds: tuple[int, ...]
    device: str  # "cpu" or "cuda:0"
    git: str | None = None  # revision of the source that runs
    checkpoint_seconds: float = 5.0  # how much work a kill may cost
    digest: str = ""  # of the plug-in's source that the cell was made for
    seconds: float = field(default=0.0, compare=False)  # expected duration, for order and progress bar
    steps: int = field(default=0, compare=False)  # of training, over all seeds


#: Told the updates done so far, of all updates of the job.
Report = Callable[[int, int], None]


class Learner(Protocol):
    """What trains a stack of seeds."""

    seeds: list[int]
    rows: list[list[dict[str, float]]]  # per seed, one row per finished task
    rollouts: list[list[list[float]]]  # per seed, where the agent acts: ``ROLLOUT_COLUMNS``

    @property
    def finished(self) -> bool:
        """All tasks are done."""

    @property
    def updates(self) -> int:
        """How far it is, of ``stream.tasks * stream.steps``."""

    def advance(self) -> None:
        """A piece of work, after which it may be saved."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors; "trained" holds one entry with a "method" per network."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues bit for bit."""

    def policy_state(self, index: int) -> dict[str, Any]:
        """The final policy of the seed at ``index``, where the agent acts."""

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


def run_job(job: Job, report: Report) -> None:
    """Trains and records the job's seeds.

    Raises InputError where the user can mend it, and RunFailed, with the traceback in the cell's folder,
    where the method or the stream failed.
    """
    try:
        _run(job, report)
    except InputError:
        raise
    except Exception as error:
        path = job.path / "error.txt"
        details = f" (details: {path})"
        try:
            write_text(path, traceback.format_exc())
        except InputError:
            details = ""
        what = f"{type(error).__name__}: {error}"
        raise RunFailed(f"{job.plan.method} on {job.plan.stream} failed: {what}{details}") from None


def checkpoint_path(folder: Path, seeds: Sequence[int]) -> Path:
    """``checkpoint-0-15.pt``; gaps are written as ``checkpoint-0-3_7.pt``."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    names = (f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return folder / f"checkpoint-{'_'.join(names)}.pt"


def checkpoint_seeds(folder: Path) -> list[tuple[int, ...]]:
    """The stacks of seeds that have a checkpoint in this cell."""
    stacks = []
    for path in sorted(folder.glob("checkpoint-*.pt")):
        match = re.fullmatch(r"checkpoint-(\d+(?:-\d+)?(?:_\d+(?:-\d+)?)*)", path.stem)
        if not match:
            continue
        seeds: list[int] = []
        for part in match[1].split("_"):
            first, _, last = part.partition("-")
            seeds += range(int(first), int(last or first) + 1)
        stacks.append(tuple(seeds))
    return stacks


def _run(job: Job, report: Report) -> None:
    import torch

    device = find_device(job.device)
    cell = read_cell(job.path)
    chosen_stream, chosen_method = job.plan.chosen()
    precision = of_settings(chosen_stream.settings)
    prepare(device, precision)
    if chosen_method.digest != job.digest:
        raise InputError(f"{job.plan.method} was changed while it ran; run the same command again")
    stream = stream_of(chosen_stream)
    learner = make_learner(stream, chosen_method, job.seeds, device, precision)
    path = checkpoint_path(job.path, job.seeds)
    seconds = _load(path, learner, device)
    total = stream.tasks * stream.steps
    # On a CPU the one thread's processor time: other work on the machine is no cost of the method.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started, saved = clock(), time.perf_counter()
    while not learner.finished:
        learner.advance()
        report(learner.updates, total)
        now = time.perf_counter()
        if now - saved > job.checkpoint_seconds and not learner.finished:
            _save(path, learner, seconds + clock() - started)
            saved = time.perf_counter()
    seconds += clock() - started
    recorded = set(cell.seeds())
    provenance = dict(_provenance(job, torch.__version__, device))
    provenance["seconds"] = round(seconds / len(job.seeds), 3)
    provenance["precision"] = precision
    if device.type == "cuda":
        provenance |= captured(learner)
    for index, (seed, rows) in enumerate(zip(job.seeds, learner.rows, strict=True)):
        if seed not in recorded:
            cell.write_seed(seed, rows, provenance, _attached(learner, index))
    learner.close()
    path.unlink(missing_ok=True)


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


def _attached(learner: Learner, index: int) -> dict[str, bytes]:
    """What is kept beside a seed's table: suffix -> content."""
    import torch

    policy = learner.policy_state(index)
    if not policy:
        return {}
    file = io.BytesIO()
    torch.save(policy, file)
    return {ROLLOUTS: to_csv(ROLLOUT_COLUMNS, learner.rollouts[index]), POLICY: file.getvalue()}


def _save(path: Path, learner: Learner, seconds: float) -> None:
    import torch

    inner = learner.state_dict()
    for trained in inner["trained"]:
        for name, value in trained["method"].items():
            if not is_plain(value):
                raise TypeError(
                    f"the method's attribute `{name}` ({type(value).__name__}) cannot travel through a "
                    "checkpoint: keep tensors, numbers, text, lists and dicts, or define state_dict"
                )
    for name, value in inner.items():
        if not is_plain(value):
            raise TypeError(f"`{name}` of the learner holds what cannot travel through a checkpoint")
    state = {"protocol": PROTOCOL, "seeds": learner.seeds, "seconds": seconds, "learner": inner}
    write_atomic(path, lambda file: torch.save(state, file))


def is_plain(value: Any) -> bool:
    """Whether ``torch.load(weights_only=True)`` reads it back."""
    import torch

    if type(value) in (list, tuple, dict):
        return all(map(is_plain, [*value, *value.values()] if isinstance(value, dict) else value))
    return isinstance(value, torch.Tensor) or type(value) in (int, float, bool, str, type(None))


def _load(path: Path, learner: Learner, device: Any) -> float:
    """Loads the checkpoint where there is one; returns the seconds spent before it."""
    import torch

    if not path.exists():
        return 0.0
    try:
        state = torch.load(path, weights_only=True, map_location=device)
        if state["protocol"] != PROTOCOL or state["seeds"] != learner.seeds:
            raise ValueError(f"protocol {state['protocol']}, seeds {state['seeds']}")
        learner.load_state_dict(state["learner"])
        return float(state["seconds"])
    except OSError as error:
        raise InputError(
            f"cannot read checkpoint {path}: {error.strerror}; make it readable, or delete it "
            f"to train seeds {path.stem[11:]} anew"
        ) from error
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise InputError(
            f"checkpoint {path} is damaged ({reason}); delete it to train seeds {path.stem[11:]} anew"
        ) from error


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


def _provenance(job: Job, torch_version: str, device: Any) -> Mapping[str, Any]:
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
        "stack": len(job.seeds),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch_version}
        | {name: installed(name) for name in names},
        "git": job.git,
        "hardware": {
            "machine": platform.machine(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        },
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
