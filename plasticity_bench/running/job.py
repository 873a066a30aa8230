"""The types that the modules of this package share: jobs of worker processes, and what trains them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from plasticity_bench.records.checkpoints import Resumable
from plasticity_bench.records.configuration import CellPlan
from plasticity_bench.records.names import cell_label

if TYPE_CHECKING:
    from plasticity_bench.tasks.base import Stream

#: Called with the progress so far (see ``Trainer.progress``) and its value at the end of the job.
OnProgress = Callable[[int, int], None]
#: Called between two pieces of work; returns whether to save and stop early.
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Job:
    """One stack of seeds, as a worker process receives it: seeds of one cell, or of several side by side."""

    plan: CellPlan
    path: Path  # the cell's folder
    seeds: tuple[int, ...]
    device: str  # "cpu" or "cuda:0"
    git: str | None = None  # revision of the source that runs
    checkpoint_seconds: float = 5.0  # between two checkpoints: how much work is lost if it is killed
    seconds: float = field(default=0.0, compare=False)  # expected duration, for the order and the progress
    steps: int = field(default=0, compare=False)  # of training, over all seeds
    twins: int = 0  # most networks in a stack of fresh twins; 0: no twins are trained
    others: tuple[Job, ...] = ()  # other configurations of the method in this stack, with the same seeds

    @property
    def cell_label(self) -> str:
        """``permuted-digits-v1/syre-1a2b3c4d``"""
        return cell_label(self.path)

    @property
    def members(self) -> tuple[Job, ...]:
        """One job per cell."""
        jobs = (self, *self.others)
        return tuple(replace(job, others=(), device=self.device, git=self.git) for job in jobs)

    @property
    def count(self) -> int:
        """Number of seeds that are trained, over all cells."""
        return len(self.seeds) * (1 + len(self.others))


class Trainer(Protocol):
    """Trains a stack of seeds, piece by piece."""

    @property
    def stream(self) -> Stream:
        """The stream that it trains on."""

    @property
    def finished(self) -> bool:
        """Whether all tasks are done."""

    @property
    def progress(self) -> int:
        """Steps done so far, out of ``total``: updates; if an agent acts, steps in the environments of one
        seed."""

    @property
    def total(self) -> int:
        """Number of steps of the whole training."""

    def advance(self) -> None:
        """Does one piece of work, after which the state may be saved."""


class Learner(Trainer, Resumable, Protocol):
    """Trains a stack of seeds of one cell."""

    def close(self) -> None:
        """Frees its resources."""
