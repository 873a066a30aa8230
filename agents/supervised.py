"""The learner for supervised streams: S seeds of one method, trained as one stack of networks.

Within a task the host never waits for the device: batches are gathered and metrics are summed on the device,
and one small tensor is copied to the host when the task ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from plasticity_bench.agents import diagnostics
from plasticity_bench.agents.capture import Updater, make_updater
from plasticity_bench.agents.gradients import OutputGradient
from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.networks import (
    StackedNetwork,
    cross_entropy_gradient,
    squared_error_gradient,
)
from plasticity_bench.agents.probe import probe_retention
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.agents.trained_network import TrainedNetwork
from plasticity_bench.errors import InputError
from plasticity_bench.seeding import Twin, data_seeds
from plasticity_bench.specs import OptimizerSpec, is_measured, is_probed
from plasticity_bench.tasks.base import SupervisedStream, TaskSource

#: Numbers per seed in the inputs of one piece of work: 4 MB, small compared with a GPU's memory.
PIECE = 2**20


class Predictor(Protocol):
    """The networks that performance is measured on."""

    @property
    def layers(self) -> Sequence[Layer]:
        """Hidden layers hold ``features`` after ``forward``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(S, B, *inputs)`` to ``(S, B, outputs)``."""


class Training(Protocol):
    """A stack of networks that is trained, by one method or several: see ``TrainedNetwork``."""

    network: StackedNetwork
    layers: list[Layer]

    @property
    def predictor(self) -> Predictor:
        """The networks that performance is measured on."""

    @property
    def stacks(self) -> list[StackedNetwork]:
        """The trained networks, in the order of ``network``'s seeds."""

    def learn(self, x: torch.Tensor, target: Any) -> torch.Tensor:
        """One update; returns what was predicted before it."""

    def probe(self, x: torch.Tensor, target: Any) -> None:
        """Sets every ``.grad`` of ``layers`` and the features of ``predictor``, for a measurement."""

    def end_task(self) -> None:
        """To be called between two tasks."""


class StackLearner:
    """Trains a stack of networks, piece by piece.

    Args:
        stream: What it trains on.
        trained: The networks.
        source: The stream's tasks, opened for ``seeds``.
        seeds: Seed of every network of the stack, or which twin it is.
        updater: Makes the updates of ``trained``.

    ``rows[s]`` holds a row of results for every finished task of network s.
    """

    def __init__(
        self,
        stream: SupervisedStream,
        trained: Training,
        source: TaskSource,
        seeds: Sequence[int] | Sequence[Twin],
        updater: Updater,
    ) -> None:
        self.stream, self.source = stream, source
        self.seeds: list[Any] = list(seeds)
        self.regression = stream.info.loss == "mse"
        self.trained, self.network, self.layers = trained, trained.network, trained.layers
        self.updater = updater
        if self.network.spec.norm == "batch" and stream.batch == 1:
            raise InputError("batch normalisation needs batches of more than one example; use layer-norm")
        self.task = self.step = 0
        self.current = self.source.task(0)
        #: Sums over the task so far, per seed: performance, loss, target, squared target.
        self.sums = torch.zeros(4, len(self.seeds), dtype=torch.float64, device=self.network.flat.device)
        self.rows: list[list[dict[str, float]]] = [[] for _ in self.seeds]
        self.rollouts: list[list[list[float]]] = [[] for _ in self.seeds]  # no agent
        self.piece = max(1, PIECE // (stream.batch * math.prod(self.network.spec.inputs)))

    @property
    def finished(self) -> bool:
        """Whether all tasks are done."""
        return self.task >= self.stream.tasks

    @property
    def progress(self) -> int:
        """Updates done so far, of ``total``."""
        return self.task * self.stream.steps + self.step

    @property
    def total(self) -> int:
        """Number of updates of the whole stream."""
        return self.stream.tasks * self.stream.steps

    @torch.no_grad()
    def advance(self) -> None:
        """One piece of a task; at the end of the task also its row and ``on_task_end``."""
        stop = min(self.step + self.piece, self.stream.steps)
        last_piece = stop == self.stream.steps
        measured = last_piece and self._is_measured()
        before: list[torch.Tensor] = []
        x, y = self.current.batches(self.step, stop)
        target = self._target(y, x.dtype)
        outputs, first = [], 0
        if measured:
            first = stop - self.step - 1
            outputs += self.updater.learn(x[:first], target[:first])
            before = [p.detach().clone() for p in trainable(self.layers)]
        outputs += self.updater.learn(x[first:], target[first:])
        self.sums += self._sums(torch.stack(outputs), y)
        self.step = stop
        if last_piece:
            self._end_task(before)

    def policy_state(self, index: int) -> dict[str, Any]:
        """Empty: there is no agent."""
        return {}

    def close(self) -> None:
        """Nothing has to be freed."""

    def _is_measured(self) -> bool:
        """Whether diagnostics are taken at the end of the task."""
        return is_measured(self.task, self.stream.tasks)

    def _target(self, y: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """What the outputs are compared with: values, or probabilities of the classes."""
        return y if self.regression else torch.nn.functional.one_hot(y, self.network.spec.outputs).to(dtype)

    def _sums(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(performance, loss, target, squared target) summed over steps and batch: ``(4, S)``."""

        def per_seed(values: torch.Tensor) -> torch.Tensor:  # (K, S, B) -> (S,)
            return diagnostics.sum_per_seed(values.transpose(0, 1).contiguous())

        if self.regression:
            errors = (outputs - y).square().mean(-1)
            return torch.stack([per_seed(v) for v in (-errors, errors, y.mean(-1), y.square().mean(-1))])
        correct = (outputs.argmax(-1) == y).double()
        losses = -torch.log_softmax(outputs, -1).gather(-1, y.unsqueeze(-1)).squeeze(-1)
        nothing = torch.zeros_like(self.sums[0])
        return torch.stack([per_seed(correct), per_seed(losses), nothing, nothing])

    def _performance(self, sums: torch.Tensor, count: int) -> torch.Tensor:
        """Accuracy, or 1 - MSE / variance of the target, at least -1: ``(S,)``."""
        if not self.regression:
            return sums[0] / count
        score = 1 + sums[0] / count / _variance(sums, count).clamp_min(1e-12)
        return torch.where(score.isnan(), -1.0, score.clamp_min(-1))

    def _end_task(self, before: list[torch.Tensor]) -> None:
        count = self.stream.steps * self.stream.batch
        columns = {
            "online_performance": self._performance(self.sums, count),
            "online_loss": self.sums[1] / count,
        }
        columns |= self._final_performance()
        if self.regression:
            columns["target_variance"] = _variance(self.sums, count)
        if before:
            columns |= self._diagnostics(before)
        values = torch.stack([value.double() for value in columns.values()]).cpu().tolist()
        for s, rows in enumerate(self.rows):
            row = {name: value[s] for name, value in zip(columns, values, strict=True)}
            rows.append({"task": self.task, **row})
        self.trained.end_task()
        self.sums.zero_()
        self.task, self.step = self.task + 1, 0
        if not self.finished:
            self.current = self.source.task(self.task)

    def _final_performance(self) -> dict[str, torch.Tensor]:
        sums, count = torch.zeros_like(self.sums), 0
        for x, y in self.current.evaluation():
            sums += self._sums(self.trained.predictor.forward(x).unsqueeze(0), y.unsqueeze(0))
            count += x.shape[1]
        return {"final_performance": self._performance(sums, count)} if count else {}

    def _diagnostics(self, before: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        now = trainable(self.layers)
        update = diagnostics.norm([p - old for p, old in zip(now, before, strict=True)])
        x, y = self.current.probe()
        self.trained.probe(x, self._target(y, x.dtype))
        columns = diagnostics.layer_diagnostics(self.trained.predictor.layers)
        gradient = diagnostics.norm([p.grad for p in now if p.grad is not None])
        if is_probed(self.task, self.stream.tasks):
            rng = SeedRng(self.seeds, "probe", self.task)
            columns["probe_retention"] = probe_retention(self.trained.stacks, x, rng)
        return {
            **columns,
            "weight_norm": diagnostics.norm(now),
            "gradient_norm": gradient,
            "update_norm": update,
        }


class SupervisedLearner(StackLearner):
    """Trains seeds of one cell.

    Args:
        stream: What it trains on; everything that a score depends on comes from it.
        method: The plasticity method, not set up yet. It belongs to this learner from now on.
        seeds: Trained together as one stack; results of a seed do not depend on the others.
        optimizer: Replaces the stream's.
        device: Where it trains.
        dtype: Number type of the weights.
        precision: Of matrix products: "float32", "tf32" or "bf16" (plasticity_bench/registry/precision.py).
        updater: Makes the updater; by default ``make_updater``, which captures updates on CUDA.
        source: The tasks. None: the stream's.

    Raises:
        InputError: The method or the data cannot be used with the stream.

    Example:
        >>> from plasticity_bench.registry.create import create_method, create_stream
        >>> learner = SupervisedLearner(create_stream("permuted-digits:tasks=2"), create_method("l2"), (0, 1))
        >>> while not learner.finished:
        ...     learner.advance()
        >>> [len(rows) for rows in learner.rows]
        [2, 2]
    """

    trained: TrainedNetwork

    def __init__(
        self,
        stream: SupervisedStream,
        method: Method,
        seeds: Sequence[int] | Sequence[Twin],
        *,
        optimizer: OptimizerSpec | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        precision: str = "float32",
        updater: Callable[[TrainedNetwork], Updater] | None = None,
        source: TaskSource | None = None,
    ) -> None:
        device = torch.device(device)
        init = SeedRng(seeds, "init")
        trained = TrainedNetwork(
            stream.network,
            optimizer or stream.optimizer,
            method,
            init,
            device,
            dtype,
            precision=precision,
        )
        trained.setup(output_gradient(stream), SeedRng(seeds, "method"))
        own = updater(trained) if updater else make_updater(trained, device)
        super().__init__(stream, trained, source or stream.open(data_seeds(seeds), device, dtype), seeds, own)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on; only plain values and tensors."""
        return {
            "task": self.task,
            "step": self.step,
            "trained": [self.trained.state_dict()],
            "sums": self.sums,
            "rows": self.rows,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned; training continues bit for bit."""
        with torch.no_grad():
            self.sums.copy_(state["sums"])
        self.trained.load_state_dict(state["trained"][0])
        self.rows = state["rows"]
        self.task, self.step = state["task"], state["step"]
        if not self.finished:
            self.current = self.source.task(self.task)


def _variance(sums: torch.Tensor, count: int) -> torch.Tensor:
    """Variance of the targets, from ``StackLearner.sums`` over ``count`` examples: ``(S,)``."""
    return sums[3] / count - (sums[2] / count).square()


def output_gradient(stream: SupervisedStream) -> OutputGradient:
    """d(loss)/d(outputs) of the stream's loss."""
    return squared_error_gradient if stream.info.loss == "mse" else cross_entropy_gradient
