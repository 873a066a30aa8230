"""What a stream is: fixed settings, and a source of tasks for a stack of seeds: data, or worlds to act in.

A stream names the reference network and optimizer, and PPO's settings if the agent acts; it does not depend
on the method. What a task holds depends on the seed and the task's index alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from plasticity_bench.ranges import Range, check_ranges

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from plasticity_bench.specs import NetworkSpec, OptimizerSpec, PPOSpec


@dataclass(frozen=True)
class StreamInfo:
    """What a reader of the leaderboard needs to know about a stream.

    Args:
        name: As users type it.
        version: A number that is raised when the same settings come to give other results.
        summary: What a task is, in one line.
        source: Where the stream comes from: a citation with an arXiv id or DOI.
        deviations: Every difference from the source, and every choice that the source leaves open.
        seeds: Number of seeds that a run trains by default.
        chance: Performance without learning.
        score: Name of the column of the table that is scored.
        warmup_tasks: Number of tasks at the start that are of another kind than the others. They are never
            late tasks, so that level and retention do not use them; curves and averages show them.
        later: Names of settings that are younger than the stream's records and whose defaults change
            nothing. A configuration holds them only if they differ, so that older records stay valid.
        ranges: Setting -> the values that it may have; others are refused when the stream is made.
        unit: Of the scored column: "accuracy", "R2" or "return".
        loss: "cross-entropy", "mse", or "ppo" if an agent acts.
    """

    name: str
    version: int
    summary: str
    source: str
    deviations: tuple[str, ...]
    seeds: int
    chance: float = 0.1
    score: str = "online_performance"
    warmup_tasks: int = 0
    unit: str = "accuracy"
    loss: str = "cross-entropy"
    later: tuple[str, ...] = ()
    ranges: Mapping[str, Range] = field(default_factory=lambda: MappingProxyType({}))


class Task(Protocol):
    """One task for S seeds, its data on the device."""

    def batches(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The batches of some updates of the task.

        Args:
            start: Number of the first update.
            stop: Number after the last one; K = stop - start.

        Returns:
            Inputs ``(K, S, B, *inputs)``, and targets: classes ``(K, S, B)`` int64, or values
            ``(K, S, B, outputs)``.
        """

    def probe(self) -> tuple[Tensor, Tensor]:
        """A fixed sample of the task for diagnostics: ``(S, P, *inputs)`` and targets."""

    def evaluation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What ``final_performance`` is measured on, in pieces: ``(S, N, *inputs)`` and targets. Empty if the
        stream has only online performance."""


class TaskSource(Protocol):
    """The tasks of a stack of seeds."""

    def task(self, index: int) -> Task:
        """Task ``index``. It does not depend on which tasks were asked for before."""


class Step(NamedTuple):
    """What follows the actions of a step, for S seeds with E environments each.

    Args:
        rewards: ``(S, E)`` float32.
        terminated: ``(S, E)`` bool: the episode ended by itself.
        truncated: ``(S, E)`` bool: the episode was cut, so that the last observation has a value.
        final: ``(S, E, *inputs)``: the observation after the action, before any restart.
    """

    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final: np.ndarray


class Worlds(Protocol):
    """The environments of a stack of S seeds, E for each, which take their steps together."""

    #: The current observations, ``(S, E, *inputs)`` float32.
    observations: np.ndarray

    def begin(self, task: int) -> None:
        """Cuts the running episodes, and begins new ones in another task.

        Args:
            task: Number of the task. What it is depends on this number and the seed alone.
        """

    def step(self, actions: np.ndarray) -> Step:
        """Takes a step in every environment.

        Args:
            actions: ``(S, E)`` int64 if actions are discrete, else ``(S, E, A)`` float32 in [-1, 1].

        Returns:
            What follows. Episodes that ended have restarted, and ``observations`` holds their first
            observation.
        """

    def state_dict(self) -> dict[str, Any]:
        """All that the future depends on: plain values and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a ``state_dict``, in worlds that were just opened. What follows is bit-identical to
        worlds that were not interrupted."""

    def picture(self) -> np.ndarray:
        """A picture of the first environment of the first seed: ``(height, width, 3)`` uint8."""

    def close(self) -> None:
        """Frees what the environments hold."""


#: Examples of a task that diagnostics are measured on.
PROBE_EXAMPLES = 512


@dataclass(frozen=True)
class Stream:
    """Base class of all streams. The fields are the settings that a user may change.

    What follows from the settings is a property. What is always the same is a class variable of the same
    name in the derived class: ``batch: ClassVar[int] = 16``. Derive from ``SupervisedStream`` or
    ``ControlStream``.

    Args:
        tasks: Number of tasks, at least 2.

    Example:
        >>> from plasticity_bench.registry.create import create_stream
        >>> stream = create_stream("permuted-digits:tasks=20")
        >>> stream.info.name, stream.steps, stream.batch, stream.network.hidden
        ('permuted-digits', 112, 16, (100, 100))
    """

    #: Name, source, scored column and more: every stream sets it.
    info: ClassVar[StreamInfo]
    tasks: int

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is outside its range. Call it if you have your own."""
        check_ranges(self, self.info.ranges)

    @property
    def batch(self) -> int:
        """Number of examples per update."""
        raise NotImplementedError

    @property
    def steps(self) -> int:
        """Length of a task: in updates, or if an agent acts in steps in the environments of one seed. It
        is the unit in which learners count their ``progress``, and the entry ``steps`` of a record."""
        raise NotImplementedError

    @property
    def network(self) -> NetworkSpec:
        """The reference architecture, which a method may change."""
        raise NotImplementedError

    @property
    def optimizer(self) -> OptimizerSpec:
        """The reference optimizer; a method's setting ``lr`` replaces its step size."""
        raise NotImplementedError


@dataclass(frozen=True)
class SupervisedStream(Stream):
    """Base class of streams whose tasks are labelled examples."""

    def open(self, seeds: Sequence[int], device: torch.device, dtype: torch.dtype) -> TaskSource:
        """Loads the data.

        Args:
            seeds: The seeds of the stack.
            device: Where the data are kept.
            dtype: Number type of inputs.

        Raises:
            InputError: Data are missing or damaged.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class ControlStream(Stream):
    """Base class of streams whose tasks are environments to act in. The agents are trained with PPO.

    ``network`` is that of the policy: its outputs are the actions' logits if ``discrete``, else the means of
    Gaussians (with ``log_std``). The value network has the same hidden layers and one output.

    Args:
        rollouts: Rollouts per task; each is followed by an update.
    """

    rollouts: int
    #: True: an action is one of several choices; False: a vector in [-1, 1].
    discrete: ClassVar[bool] = False
    #: Steps per second in the animation that ``watch`` makes.
    speed: ClassVar[float] = 60

    @property
    def ppo(self) -> PPOSpec:
        """The reference settings of PPO."""
        raise NotImplementedError

    @property
    def batch(self) -> int:
        return self.ppo.batch

    @property
    def steps(self) -> int:
        return self.rollouts * self.ppo.rollout * self.ppo.environments

    def worlds(self, seeds: Sequence[int]) -> Worlds:
        """Makes the environments.

        Args:
            seeds: The seeds of the stack.

        Returns:
            The environments; call ``begin`` next.
        """
        raise NotImplementedError
