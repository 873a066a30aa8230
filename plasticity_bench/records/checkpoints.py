"""Checkpoints of a cell's unfinished seeds: workers write them and resume from them; tracking reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from plasticity_bench.errors import InputError
from plasticity_bench.records.documents import PROTOCOL
from plasticity_bench.records.names import seed_ranges
from plasticity_bench.storage.files import cannot_read, write_atomic
from plasticity_bench.storage.tensors import read_tensors


class Resumable(Protocol):
    """Trains seeds of a cell, and can be saved, resumed and recorded."""

    seeds: list[int]
    rollouts: list[list[list[float]]]  # per seed, if an agent acts: rows of ``ROLLOUT_COLUMNS``

    @property
    def rows(self) -> list[list[dict[str, float]]]:
        """Per seed, one row (column -> value) per finished task."""

    def state_dict(self) -> dict[str, Any]:
        """The state as plain values and tensors; "trained" holds one entry with a "method" per network."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state. Training then continues with bit-identical results."""

    def policy_state(self, index: int) -> dict[str, Any]:
        """The final policy of the seed at ``index``; empty if no agent acts."""


#: What the names of checkpoints begin with: of seeds, and of their fresh twins.
CHECKPOINT, FRESH_CHECKPOINT = "checkpoint", "fresh-checkpoint"
#: More seeds than any stack has: a larger range in a name is of another file.
LARGEST_STACK = 100_000


def checkpoint_path(folder: Path, seeds: Sequence[int], kind: str = CHECKPOINT) -> Path:
    """The file ``checkpoint-0-15.pt``; with gaps between the seeds, ``checkpoint-0-3_7.pt``.

    ``kind``: ``CHECKPOINT``, or ``FRESH_CHECKPOINT`` for the seeds' fresh twins.
    """
    return folder / f"{kind}-{seed_ranges(seeds, '_')}.pt"


def checkpoint_seeds(folder: Path, kind: str = CHECKPOINT) -> list[tuple[int, ...]]:
    """The stacks of seeds that have a checkpoint in the cell's folder. For ``kind`` see
    ``checkpoint_path``."""
    stacks = []
    for path in sorted(folder.glob(f"{kind}-*.pt")):
        match = re.fullmatch(rf"{kind}-(\d{{1,9}}(?:-\d{{1,9}})?(?:_\d{{1,9}}(?:-\d{{1,9}})?)*)", path.stem)
        if not match:
            continue
        seeds: list[int] = []
        for part in match[1].split("_"):
            first, _, last = part.partition("-")
            if int(last or first) - int(first) >= LARGEST_STACK:  # not a file of ours
                break
            seeds += range(int(first), int(last or first) + 1)
        else:
            stacks.append(tuple(seeds))
    return stacks


def save_checkpoint(path: Path, learner: Resumable, seconds: float) -> None:
    """Writes the checkpoint.

    Args:
        path: The checkpoint's file.
        learner: What is saved.
        seconds: Training time so far.

    Raises:
        TypeError: The method's state holds values that a checkpoint cannot hold.
        CannotWrite: The disk is full or the folder is not writable.
    """
    import torch

    inner = learner.state_dict()
    for trained in inner["trained"]:
        for name, value in trained["method"].items():
            if not is_plain(value):
                raise TypeError(
                    f"the method's attribute `{name}` ({type(value).__name__}) cannot be saved in a "
                    "checkpoint: keep tensors, numbers, text, lists and dicts, or define state_dict"
                )
    for name, value in inner.items():
        if not is_plain(value):
            raise TypeError(f"`{name}` of the learner cannot be saved in a checkpoint")
    state = {"protocol": PROTOCOL, "seeds": learner.seeds, "seconds": seconds, "learner": inner}
    write_atomic(path, lambda file: torch.save(state, file))


def is_plain(value: Any) -> bool:
    """Whether ``torch.load(weights_only=True)`` can read the value back."""
    import torch

    if type(value) in (list, tuple, dict):
        return all(map(is_plain, [*value, *value.values()] if isinstance(value, dict) else value))
    return isinstance(value, torch.Tensor) or type(value) in (int, float, bool, str, type(None))


def load_checkpoint(path: Path, learner: Resumable, device: Any) -> float:
    """Loads the checkpoint if there is one. Returns the training time before it in seconds, or 0.

    Raises InputError if the file is damaged, of other seeds, or cannot be read.
    """
    if not path.exists():
        return 0.0
    try:
        state = read_tensors(path, device)
        if state["protocol"] != PROTOCOL or state["seeds"] != learner.seeds:
            raise ValueError(f"protocol {state['protocol']}, seeds {state['seeds']}")
        learner.load_state_dict(state["learner"])
        return float(state["seconds"])
    except OSError as error:
        raise cannot_read(path, error, "run the same command again") from error
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise InputError(
            f"checkpoint {path} is damaged ({reason}); delete it to train seeds {_seeds_of(path)} anew"
        ) from error


def _seeds_of(path: Path) -> str:
    """The seeds in the name of a checkpoint: ``0-15``."""
    return path.stem.partition(f"{CHECKPOINT}-")[2]


def checkpoint_position(path: Path) -> tuple[int, int] | None:
    """(task, step) at which the checkpoint was saved; (0, 0) if there is none, None if it is damaged.

    ``load_checkpoint`` explains the damage.
    """
    import torch

    if not path.exists():
        return 0, 0
    try:
        # Memory-mapped: the weights are not read.
        learner = torch.load(path, weights_only=True, mmap=True, map_location="cpu")["learner"]
        return int(learner["task"]), int(learner["step"])
    except Exception:  # as in load_checkpoint
        return None
