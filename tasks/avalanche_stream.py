"""Avalanche's benchmarks as streams: ``avalanche:SplitMNIST``, ``avalanche:package.module:function``."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, make_dataclass
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from plasticity_bench.errors import InputError
from plasticity_bench.plugins import Plugin
from plasticity_bench.ranges import AT_LEAST_ONE, Range
from plasticity_bench.seeding import generator
from plasticity_bench.specs import NetworkSpec, OptimizerSpec, layer_shapes
from plasticity_bench.tasks.avalanche_data import BENCHMARKS, Benchmark, materialise
from plasticity_bench.tasks.base import PROBE_EXAMPLES, StreamInfo, SupervisedStream

#: Test examples that a task is evaluated on at its end.
TESTED = 1000


@dataclass(frozen=True)
class AvalancheStream(SupervisedStream):
    """The experiences of a benchmark, one task each; the head has all classes from the start.

    A seed's benchmark is made with Avalanche's ``seed`` set to ours: what a task holds depends on the seed
    and the task's index. Of each experience ``examples`` examples are drawn and seen ``epochs`` times; if
    it has fewer, as many presentations are made of more passes.
    """

    benchmark: ClassVar[Benchmark]
    batch: ClassVar[int] = 16
    optimizer: ClassVar[OptimizerSpec] = OptimizerSpec("adam", 1e-3)

    tasks: int = 5  # experiences; n_experiences means the same
    examples: int = 10_000  # training examples of a task, drawn from the experience
    epochs: int = 1  # passes over them
    architecture: str = "mlp"  # "mlp": two hidden layers of 100; "cnn": convolutions of 8 and 16, 128 units

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture not in ("mlp", "cnn"):
            raise ValueError(f'unknown architecture "{self.architecture}"; known: mlp, cnn')
        if self.architecture == "cnn":
            if len(self.benchmark.facts.shape) != 3:
                raise ValueError("architecture=cnn needs images")
            layer_shapes(self.network)  # do the convolutions fit?

    @property
    def steps(self) -> int:
        return self.examples // self.batch * self.epochs

    @property
    def network(self) -> NetworkSpec:
        facts = self.benchmark.facts
        if self.architecture == "cnn":
            return NetworkSpec(facts.shape, facts.classes, (128,), channels=(8, 16))
        return NetworkSpec((prod(facts.shape),), facts.classes, (100, 100))

    def open(self, seeds: Sequence[int], device: torch.device, dtype: torch.dtype) -> AvalancheTasks:
        return AvalancheTasks(self, seeds, device, dtype)


@functools.cache
def stream_class(name: str, plugin: Plugin | None = None) -> type[AvalancheStream]:
    """The stream of a benchmark in ``BENCHMARKS``, or of a user's function: ``plugin``.

    Raises InputError if there is no such benchmark, or a user's cannot be made for seed 0.
    """
    benchmark = Benchmark(name, plugin)
    if name not in BENCHMARKS:
        _ = benchmark.function  # is it there?
    facts = benchmark.facts
    info = StreamInfo(
        name=f"avalanche:{name}",
        version=1,
        summary=f"Avalanche's {name}" if name in BENCHMARKS else f"the Avalanche benchmark of {name}",
        source="Lomonaco et al. 2021, Avalanche: an End-to-End Library for Continual Learning, "
        "arXiv:2104.00405",
        deviations=(
            "two hidden layers of 100, Adam 1e-3, batch 16 (Avalanche fixes no learner)",
            "10,000 examples of an experience in one pass, under the transformations for evaluation",
            "chance is one over all classes, also if a task has only some of them",
        ),
        seeds=4,
        chance=1 / facts.classes,
        ranges={"examples": Range(AvalancheStream.batch), "epochs": AT_LEAST_ONE},
    )
    return make_dataclass(
        "AvalancheStream",
        [("tasks", int, facts.tasks)],
        bases=(AvalancheStream,),
        namespace={"info": info, "benchmark": benchmark},
        frozen=True,
    )


class AvalancheTasks:
    """TaskSource: every seed's benchmark, of which one task at a time is in tensors."""

    def __init__(
        self, stream: AvalancheStream, seeds: Sequence[int], device: torch.device, dtype: torch.dtype
    ) -> None:
        self.stream, self.seeds, self.device, self.dtype = stream, list(seeds), device, dtype
        self.experiences = [stream.benchmark.make(seed, stream.tasks) for seed in self.seeds]

    def task(self, index: int) -> AvalancheTask:
        """Reads the task's examples out of Avalanche."""
        return AvalancheTask(
            [self._draw(s, seed, index) for s, seed in enumerate(self.seeds)], self.stream.batch
        )

    def _draw(self, s: int, seed: int, index: int) -> SeedTask:
        stream, rng = self.stream, generator(seed, "data", index)
        train, test = (experiences[index] for experiences in self.experiences[s])
        chosen = rng.permutation(len(train.dataset))[: stream.examples]
        order = _passes(rng, len(chosen), stream.steps * stream.batch)
        x, y = self._read(train, chosen, seed, index, 0)
        tested = self._read(test, _passes(rng, len(test.dataset), TESTED), seed, index, 1)
        return SeedTask(x, y, *tested, torch.from_numpy(order).to(self.device))

    def _read(
        self, experience: Any, rows: np.ndarray, seed: int, *key: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        facts = self.stream.benchmark.facts
        x, y = materialise(experience, rows, seed, *key)
        if x.shape[1:] != facts.shape or not 0 <= int(y.min()) <= int(y.max()) < facts.classes:
            raise InputError(
                f"{self.stream.info.name}: task {key[0]} of seed {seed} has examples of {tuple(x.shape[1:])} "
                f"in classes {int(y.min())} to {int(y.max())}, not of {facts.shape} in {facts.classes}"
            )
        shape = self.stream.network.inputs
        return x.view(-1, *shape).to(self.device, self.dtype), y.to(self.device)


class SeedTask(NamedTuple):
    """What one seed sees; seeds may have other numbers of examples, never of presentations."""

    x: torch.Tensor  # (N, *inputs)
    y: torch.Tensor  # (N,)
    test_x: torch.Tensor  # (TESTED, *inputs)
    test_y: torch.Tensor  # (TESTED,)
    order: torch.Tensor  # (steps * batch,) indices into the N


@dataclass
class AvalancheTask:
    """Task of S seeds."""

    seeds: list[SeedTask]
    batch: int

    def batches(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See Task."""
        x, y = self._rows(start * self.batch, stop * self.batch)
        steps = (len(x), stop - start, self.batch)
        return (
            x.view(*steps, *x.shape[2:]).transpose(0, 1).contiguous(),
            y.view(steps).transpose(0, 1).contiguous(),
        )

    def probe(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The first examples of the task's order."""
        return self._rows(0, PROBE_EXAMPLES)

    def evaluation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Test examples; if an experience has fewer than ``TESTED``, some of them twice."""
        yield torch.stack([seed.test_x for seed in self.seeds]), torch.stack([s.test_y for s in self.seeds])

    def _rows(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Examples ``start`` to ``stop`` of the order: ``(S, N, *inputs)`` and ``(S, N)``."""
        orders = [seed.order[start:stop] for seed in self.seeds]
        return (
            torch.stack([seed.x[order] for seed, order in zip(self.seeds, orders, strict=True)]),
            torch.stack([seed.y[order] for seed, order in zip(self.seeds, orders, strict=True)]),
        )


def _passes(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """``length`` of the numbers below ``count``: as many passes as it takes, each in a new order."""
    return np.concatenate([rng.permutation(count) for _ in range(-(-length // count))])[:length]
