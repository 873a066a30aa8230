"""Trains fresh twins: the learner of a cell, started from scratch at single tasks.

A seed's twin at task k has new initial weights, a new optimizer and a method that is set up again. It trains
on task k alone, on the data that the seed gets there, in the same order. What the seed learns less than its
twin is plasticity that it has lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch

from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.ppo import PPOLearner
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.errors import InputError
from plasticity_bench.seeding import Twin
from plasticity_bench.specs import OptimizerSpec
from plasticity_bench.tasks.base import ControlStream, Stream, SupervisedStream, Task, TaskSource


class TwinStack(Protocol):
    """Trains some twins side by side, each on its task."""

    rows: list[list[dict[str, float]]]  # for every twin the row of its task

    @property
    def finished(self) -> bool:
        """Whether the task is done."""

    @property
    def progress(self) -> int:
        """Steps done so far, of the task's."""

    def advance(self) -> None:
        """One piece of work."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest depends on; only plain values and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned."""

    def close(self) -> None:
        """Frees its resources."""


class JoinedTask:
    """Several tasks of the same seeds as one task of more networks: first those of the first task."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks

    def batches(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Task``."""
        return _joined([task.batches(start, stop) for task in self.tasks], 1)

    def probe(self) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Task``."""
        return _joined([task.probe() for task in self.tasks], 0)

    def evaluation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """See ``Task``."""
        for pieces in zip(*(task.evaluation() for task in self.tasks), strict=True):
            yield _joined(pieces, 0)


def _joined(
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], dimension: int
) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = (torch.cat(parts, dimension) for parts in zip(*pairs, strict=True))
    return x, y


class JoinedTasks:
    """TaskSource whose only task joins tasks of another source."""

    def __init__(self, source: TaskSource, tasks: Sequence[int]) -> None:
        self.source, self.tasks = source, tasks

    def task(self, index: int) -> JoinedTask:
        """See ``TaskSource``."""
        return JoinedTask([self.source.task(task) for task in self.tasks])


class SupervisedTwins(SupervisedLearner):
    """Twins of all seeds at one task or several, as one stack. For the arguments see SupervisedLearner."""

    @property
    def finished(self) -> bool:
        """Whether the task is done."""
        return self.task >= 1

    def _is_measured(self) -> bool:
        return False


class PPOTwins(PPOLearner):
    """Twins of all seeds at one task. For the arguments see PPOLearner."""

    @property
    def finished(self) -> bool:
        """Whether the task is done."""
        return self.task > self.first_task

    @property
    def progress(self) -> int:
        """Steps done so far in the environments of one seed, in the task."""
        return super().progress - self.first_task * self.stream.steps

    def _is_measured(self) -> bool:
        return False


class FreshTwins:
    """Trains the fresh twins of a stack of seeds, some tasks at a time.

    ``rows[s]`` holds a row of results for every finished twin of seed s, in the order of ``tasks``.

    Args:
        stream: What the cell trains on.
        method: Makes the plasticity method, with the cell's settings.
        seeds: Trained together; results of a twin do not depend on the others.
        tasks: The tasks at which twins start, ascending.
        networks: Most networks in a stack. At least the twins of one task train together.
        optimizer: Replaces the stream's.
        device: Where they train.
        precision: Of matrix products (plasticity_bench/registry/precision.py).

    Raises:
        InputError: The method or the data cannot be used with the stream.

    Example:
        >>> from plasticity_bench.registry.create import create_method, create_stream
        >>> stream = create_stream("permuted-digits:tasks=5")
        >>> twins = FreshTwins(stream, lambda: create_method("l2"), (0, 1), tasks=(0, 3, 4))
        >>> while not twins.finished:
        ...     twins.advance()
        >>> [row["task"] for row in twins.rows[1]]
        [0, 3, 4]
    """

    def __init__(
        self,
        stream: Stream,
        method: Callable[[], Method],
        seeds: Sequence[int],
        tasks: Sequence[int],
        *,
        networks: int = 1,
        optimizer: OptimizerSpec | None = None,
        device: str | torch.device = "cpu",
        precision: str = "float32",
    ) -> None:
        self.stream, self.seeds, self.method = stream, list(seeds), method
        self.optimizer, self.device, self.precision = optimizer, torch.device(device), precision
        acts = isinstance(stream, ControlStream)
        together = 1 if acts else max(1, networks // len(seeds))
        #: The tasks whose twins train side by side, group by group.
        self.groups = [tuple(tasks[i : i + together]) for i in range(0, len(tasks), together)]
        self.group = 0
        self.rows: list[list[dict[str, float]]] = [[] for _ in seeds]
        self.rollouts: list[list[list[float]]] = [[] for _ in seeds]  # those of twins are not recorded
        self.source: TaskSource | None = None
        self.stack: TwinStack | None = None
        self._next_stack()

    @property
    def finished(self) -> bool:
        """Whether all twins are trained."""
        return self.group >= len(self.groups)

    @property
    def progress(self) -> int:
        """Steps done so far by the twins of one seed, of ``total``."""
        done = sum(map(len, self.groups[: self.group])) * self.stream.steps
        return done + (self.stack.progress * len(self.groups[self.group]) if self.stack else 0)

    @property
    def total(self) -> int:
        """Number of steps of all twins of one seed."""
        return sum(map(len, self.groups)) * self.stream.steps

    @property
    def size(self) -> int:
        """Number of networks in the largest stack."""
        return max(map(len, self.groups), default=0) * len(self.seeds)

    def advance(self) -> None:
        """One piece of work."""
        assert self.stack is not None
        self.stack.advance()
        if self.stack.finished:
            rows = iter(self.stack.rows)
            for task in self.groups[self.group]:
                for own in self.rows:
                    own.append({**next(rows)[0], "task": task})
            self.group += 1
            self.close()
            self._next_stack()

    def policy_state(self, index: int) -> dict[str, Any]:
        """Empty: policies of twins are not kept."""
        return {}

    def close(self) -> None:
        """Frees its resources."""
        if self.stack:
            self.stack.close()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest depends on; only plain values and tensors."""
        stack = self.stack.state_dict() if self.stack else {}
        return {"trained": stack.pop("trained", []), "stack": stack, "group": self.group, "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned; training continues bit for bit.

        Raises InputError if the state is of another division into stacks.
        """
        group = state["group"]
        done = [task for tasks in self.groups[:group] for task in tasks]
        if any([row["task"] for row in rows] != done for rows in state["rows"]):
            raise InputError("it was made with stacks of another size")
        self.rows, self.group = state["rows"], group
        self.close()
        self._next_stack()
        if self.stack:
            self.stack.load_state_dict({**state["stack"], "trained": state["trained"]})

    def _next_stack(self) -> None:
        self.stack = None
        if self.finished:
            return
        tasks = self.groups[self.group]
        twins = [Twin(seed, task) for task in tasks for seed in self.seeds]
        options: Any = {"optimizer": self.optimizer, "device": self.device}
        if isinstance(self.stream, ControlStream):
            self.stack = PPOTwins(self.stream, self.method(), twins, first_task=tasks[0], **options)
            return
        assert isinstance(self.stream, SupervisedStream)
        if self.source is None:
            self.source = self.stream.open(self.seeds, self.device, torch.float32)
        options |= {"precision": self.precision, "source": JoinedTasks(self.source, tasks)}
        self.stack = SupervisedTwins(self.stream, self.method(), twins, **options)
