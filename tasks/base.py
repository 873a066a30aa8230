"""What a stream is: fixed settings, and a source of tasks for a stack of seeds: data, or worlds to act in.

A stream names the reference network and optimizer, and PPO's settings if the agent acts; it does not depend
on the method. What a task holds depends on the seed and the task's index alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from plasticity_bench.specs import NetworkSpec, OptimizerSpec, PPOSpec


@dataclass(frozen=True)
class StreamInfo:
    """What a reader of the leaderboard needs to know about a stream."""

    name: str  # as users type it
    version: int  # raised when the same settings give other numbers
    summary: str  # one line
    source: str  # where it comes from: citation with arXiv id or DOI
    deviations: tuple[str, ...]  # every difference from the source, and what the source leaves open
    seeds: int  # how many seeds a run trains by default
    chance: float = 0.1  # performance without learning
    score: str = "online_performance"  # the column of the table that is scored
    warmup_tasks: int = 0  # tasks at the start that differ in kind and stay out of the first window
    unit: str = "accuracy"  # of that column: "accuracy", "R2" or "return"
    loss: str = "cross-entropy"  # or "mse", or "ppo" if the agent acts


class Task(Protocol):
    """One task for S seeds, its data on the device."""

    def batches(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Steps ``start`` to ``stop``: inputs ``(K, S, B, *inputs)`` and targets ``(K, S, B)`` (classes)
        or ``(K, S, B, outputs)`` (regression)."""

    def probe(self) -> tuple[Tensor, Tensor]:
        """A fixed sample of the task for diagnostics: ``(S, P, *inputs)`` and targets."""

    def evaluation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What ``final_performance`` is measured on: pieces ``(S, N, *inputs)`` with targets, or none."""


class TaskSource(Protocol):
    """The tasks of a stack of seeds."""

    def task(self, index: int) -> Task:
        """Task ``index``. It does not depend on which tasks were asked for before."""


class Step(NamedTuple):
    """What follows an action, for S seeds with E environments each."""

    rewards: np.ndarray  # (S, E) float32
    terminated: np.ndarray  # (S, E) bool: the episode ended by itself
    truncated: np.ndarray  # (S, E) bool: it was cut, so that what might have followed has a value
    final: np.ndarray  # (S, E, *inputs): the observation after the action, before any restart


class Worlds(Protocol):
    """The environments of a stack of S seeds, E of each, all stepped at once."""

    observations: np.ndarray  # (S, E, *inputs) float32: what the agent sees now

    def begin(self, task: int) -> None:
        """Cuts the running episodes, moves every seed to ``task``, and starts all anew. What a task is
        depends on seed and index alone."""

    def step(self, actions: np.ndarray) -> Step:
        """Acts: (S, E) int64 if actions are discrete, else (S, E, A) float32 within the bounds.
        Ended episodes restart, and ``observations`` holds their first observation."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a ``state_dict``, in worlds that were just opened. What follows is bit-identical to
        worlds that were not interrupted."""

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8: the first environment of the first seed."""

    def close(self) -> None:
        """Frees what the environments hold."""


#: Examples of a task that diagnostics are measured on.
PROBE_EXAMPLES = 512


@dataclass(frozen=True)
class Stream:
    """Base of all streams: the fields are the settings that a user may change.

    What follows from the settings is a property. What is always the same is a class variable of the same
    name in the derived class: ``batch: ClassVar[int] = 16``.
    """

    info: ClassVar[StreamInfo]
    tasks: int  # number of tasks

    @property
    def batch(self) -> int:
        """Examples per update."""
        raise NotImplementedError

    @property
    def steps(self) -> int:
        """Updates per task; if an agent acts, steps in the environments of one seed per task."""
        raise NotImplementedError

    @property
    def network(self) -> NetworkSpec:
        """The reference architecture."""
        raise NotImplementedError

    @property
    def optimizer(self) -> OptimizerSpec:
        """The reference optimizer."""
        raise NotImplementedError


@dataclass(frozen=True)
class SupervisedStream(Stream):
    """Tasks are labelled examples."""

    def open(self, seeds: Sequence[int], device: torch.device, dtype: torch.dtype) -> TaskSource:
        """Loads the data for these seeds. Raises InputError if data is missing or damaged."""
        raise NotImplementedError


@dataclass(frozen=True)
class ControlStream(Stream):
    """Tasks are worlds to act in; trained with PPO.

    ``network`` is the policy's: its outputs are the actions' logits if ``discrete``, else the means of
    Gaussians (with ``log_std``). The value network has the same hidden layers and one output.
    """

    rollouts: int  # per task: every one is followed by an update
    discrete: ClassVar[bool] = False  # actions are choices, else vectors in [-1, 1]
    speed: ClassVar[float] = 60  # steps per second in the animation that ``watch`` makes

    @property
    def ppo(self) -> PPOSpec:
        """The reference settings of the agent."""
        raise NotImplementedError

    @property
    def batch(self) -> int:
        return self.ppo.batch

    @property
    def steps(self) -> int:
        return self.rollouts * self.ppo.rollout * self.ppo.environments

    def worlds(self, seeds: Sequence[int]) -> Worlds:
        """Opens the environments of these seeds; ``begin`` comes next."""
        raise NotImplementedError
