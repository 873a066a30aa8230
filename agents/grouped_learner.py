"""The learner of several configurations: they have their seeds and so their data in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from plasticity_bench.agents.capture import EagerSteps
from plasticity_bench.agents.groups import TrainedGroups
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.agents.supervised import StackLearner, output_gradient
from plasticity_bench.specs import OptimizerSpec
from plasticity_bench.tasks.base import SupervisedStream, Task, TaskSource


class Repeated:
    """Tasks of S seeds, for every group the same."""

    def __init__(self, source: TaskSource, groups: int) -> None:
        self.source, self.groups = source, groups

    def task(self, index: int) -> Task:
        """Drawn once."""
        return RepeatedTask(self.source.task(index), self.groups)


class RepeatedTask:
    """A task of S seeds as one of G * S networks."""

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
    """Trains configurations of a method with the same seeds on the same data.

    ``shares[g]`` is configuration g as if it trained alone. Raises InputError where they train networks of
    different architecture.
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
        steps = EagerSteps(trained, "configurations side by side")
        super().__init__(stream, trained, source, [*seeds] * len(members), steps)
        self.shares = [Share(self, g) for g in range(len(members))]

    @property
    def finished(self) -> bool:
        """All tasks are done, or nothing is left that could train."""
        return super().finished or not self.trained.alive


class Share:
    """One configuration of a ``GroupedLearner``: what is saved and recorded of it, as of a learner."""

    def __init__(self, learner: GroupedLearner, index: int) -> None:
        self.learner, self.index = learner, index
        self.seeds, self._rows = learner.trained.seeds, learner.trained.rows[index]
        self.rollouts: list[list[list[float]]] = [[] for _ in self.seeds]  # nobody acts

    @property
    def rows(self) -> list[list[dict[str, float]]]:
        """Per seed, the finished tasks."""
        return self.learner.rows[self._rows]

    @property
    def failure(self) -> Exception | None:
        """What its method raised."""
        return self.learner.trained.failed.get(self.index)

    def fail(self, error: Exception) -> None:
        """Leaves it out from here on."""
        self.learner.trained.drop(self.index, error)

    def state_dict(self) -> dict[str, Any]:
        """As ``SupervisedLearner``'s, which continues with it just as well."""
        trained = self.learner.trained.groups[self.index].state_dict()
        return {
            "task": self.learner.task,
            "step": self.learner.step,
            # Cloned: of a view torch saves all memory that it is a view of.
            "trained": [{**trained, "weights": trained["weights"].clone()}],
            "sums": self.learner.sums[:, self._rows].clone(),
            "rows": self.rows,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues bit for bit where a state was taken; all shares must be loaded from the same step."""
        learner = self.learner
        learner.sums[:, self._rows] = state["sums"]
        learner.trained.groups[self.index].load_state_dict(state["trained"][0])
        learner.rows[self._rows] = state["rows"]
        learner.task, learner.step = state["task"], state["step"]
        learner.trained.refresh()
        if not learner.finished:
            learner.current = learner.source.task(learner.task)

    def policy_state(self, index: int) -> dict[str, Any]:
        """Nobody acts."""
        return {}
