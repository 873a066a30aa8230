"""What a worker process is given, and what trains it: the types that the modules of this package share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from plasticity_bench.records.checkpoints import Resumable
from plasticity_bench.records.configuration import CellPlan

if TYPE_CHECKING:
    from plasticity_bench.tasks.base import Stream

#: Called with the progress so far (see ``Trainer.progress``), and that at the end of the job.
OnProgress = Callable[[int, int], None]
#: Called between two pieces of work: whether to save and stop early.
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Job:
    """One stack, as it travels to a worker process: the seeds of a cell, or of several side by side."""

    plan: CellPlan
    path: Path  # the cell's folder
    seeds: tuple[int, ...]
    device: str  # "cpu" or "cuda:0"
    git: str | None = None  # revision of the source that runs
    checkpoint_seconds: float = 5.0  # how much work a kill may cost
    seconds: float = field(default=0.0, compare=False)  # expected duration, for order and progress bar
    steps: int = field(default=0, compare=False)  # of training, over all seeds
    others: tuple[Job, ...] = ()  # further configurations of the method, with the same seeds, in this stack

    @property
    def members(self) -> tuple[Job, ...]:
        """One job per cell."""
        every = (self, *self.others)
        return tuple(replace(job, others=(), device=self.device, git=self.git) for job in every)

    @property
    def count(self) -> int:
        """Seeds that are trained, over all cells."""
        return len(self.seeds) * (1 + len(self.others))


class Trainer(Protocol):
    """What trains a stack, piece by piece."""

    @property
    def stream(self) -> Stream:
        """What it trains on."""

    @property
    def finished(self) -> bool:
        """All tasks are done."""

    @property
    def progress(self) -> int:
        """Steps done so far, of ``stream.tasks * stream.steps``: updates, or steps in the environments of one
        seed if an agent acts."""

    def advance(self) -> None:
        """A piece of work, after which it may be saved."""


class Learner(Trainer, Resumable, Protocol):
    """What trains a stack of seeds of one cell."""

    def close(self) -> None:
        """Frees what it holds."""
