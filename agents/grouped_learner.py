"""Trains several configurations of a method side by side, with the same seeds and so the same data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from plasticity_bench.agents.capture import EagerUpdater
from plasticity_bench.agents.groups import TrainedGroups
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.agents.supervised import StackLearner, output_gradient
from plasticity_bench.specs import OptimizerSpec
from plasticity_bench.tasks.base import SupervisedStream, Task, TaskSource


class Repeated:
    """TaskSource for G groups of S seeds: every group gets the same data."""

    def __init__(self, source: TaskSource, groups: int) -> None:
        self.source, self.groups = source, groups

    def task(self, index: int) -> Task:
        """See TaskSource. The data are drawn once."""
        return RepeatedTask(self.source.task(index), self.groups)


class RepeatedTask:
    """A task of S seeds, repeated for G * S networks."""

    def __init__(self, task: Task, groups: int) -> None:
        self.task, self.groups = task, groups

    def batches(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.task.batches(start, stop)
        return self._repeated(x, 1), self._repeated(y, 1)

    def probe(self) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.task.probe()
        return self._repeated(x, 0), self._repeated(y, 0)

    def evaluation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for x, y in self.task.evaluation():
            yield self._repeated(x, 0), self._repeated(y, 0)

    def _repeated(self, tensor: torch.Tensor, dimension: int) -> torch.Tensor:
        return torch.cat([tensor] * self.groups, dimension)


class GroupedLearner(StackLearner):
    """Trains several configurations of a method with the same seeds on the same data.

    ``shares[g]`` is configuration g, with the results that it has if it trains alone.

    Args:
        stream: What they train on.
        members: Method and optimizer of every configuration.
        seeds: Of every configuration.
        device: Where they train.
        dtype: Number type of the weights.
        precision: Of matrix products (plasticity_bench/registry/precision.py).

    Raises:
        InputError: They train networks of different architectures.
    """

    trained: TrainedGroups

    def __init__(
        self,
        stream: SupervisedStream,
        members: Sequence[tuple[Method, OptimizerSpec]],
        seeds: Sequence[int],
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        precision: str = "float32",
    ) -> None:
        device = torch.device(device)
        trained = TrainedGroups(stream.network, members, seeds, device, dtype, precision)
        trained.setup(output_gradient(stream), [SeedRng(seeds, "method") for _ in members])
        source = Repeated(stream.open(seeds, device, dtype), len(members))
        updater = EagerUpdater(trained, "configurations side by side")
        super().__init__(stream, trained, source, [*seeds] * len(members), updater)
        self.shares = [Share(self, g) for g in range(len(members))]

    @property
    def finished(self) -> bool:
        """Whether all tasks are done, or all configurations have failed."""
        return super().finished or not self.trained.alive


class Share:
    """One configuration of a ``GroupedLearner``, to be saved and recorded like a learner."""

    def __init__(self, learner: GroupedLearner, index: int) -> None:
        self.learner, self.index = learner, index
        self.seeds, self._rows = learner.trained.seeds, learner.trained.rows[index]
        self.rollouts: list[list[list[float]]] = [[] for _ in self.seeds]  # no agent

    @property
    def rows(self) -> list[list[dict[str, float]]]:
        """Per seed, the finished tasks."""
        return self.learner.rows[self._rows]

    @property
    def failure(self) -> Exception | None:
        """What its method raised; None if it has not failed."""
        return self.learner.trained.failed.get(self.index)

    def fail(self, error: Exception) -> None:
        """Stops training it."""
        self.learner.trained.drop(self.index, error)

    def state_dict(self) -> dict[str, Any]:
        """As ``SupervisedLearner.state_dict``; a SupervisedLearner can load it too."""
        trained = self.learner.trained.groups[self.index].state_dict()
        return {
            "task": self.learner.task,
            "step": self.learner.step,
            # Cloned: of a view, torch saves the whole memory.
            "trained": [{**trained, "weights": trained["weights"].clone()}],
            "sums": self.learner.sums[:, self._rows].clone(),
            "rows": self.rows,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a state, to continue bit for bit; all shares must be loaded from the same step."""
        learner = self.learner
        learner.sums[:, self._rows] = state["sums"]
        learner.trained.groups[self.index].load_state_dict(state["trained"][0])
        learner.rows[self._rows] = state["rows"]
        learner.task, learner.step = state["task"], state["step"]
        learner.trained.refresh()
        if not learner.finished:
            learner.current = learner.source.task(learner.task)

    def policy_state(self, index: int) -> dict[str, Any]:
        """Empty: there is no agent."""
        return {}
