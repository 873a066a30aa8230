"""The tasks of bit-flip: bits in, a fixed network of linear threshold units as the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from plasticity_bench.seeding import generator
from plasticity_bench.tasks.base import PROBE_EXAMPLES

if TYPE_CHECKING:
    import torch


BITS, SLOW = 20, 15  # input bits, and how many of them are fixed within a task
UNITS = 100  # threshold units of the target
BETA = 0.7  # how large a share of its greatest input makes a unit fire


class Target:
    """y = v h(x) + c with h_i = [w_i x + b_i > threshold_i]; all weights and biases +-1."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.weights = rng.choice([-1.0, 1.0], (UNITS, BITS)).astype(np.float32)
        biases = rng.choice([-1.0, 1.0], UNITS)
        # The number of -1 among a unit's weights and bias, so that BETA is relative to what it can reach.
        negative = (BITS - self.weights.sum(1) + biases) / 2
        self.thresholds = (BETA * (BITS + 1) - negative - biases).astype(np.float32)
        self.outputs = rng.choice([-1.0, 1.0], UNITS).astype(np.float32)
        self.bias = np.float32(rng.choice([-1.0, 1.0]))

    def __call__(self, bits: np.ndarray) -> np.ndarray:
        """Targets ``(N,)`` of inputs ``(N, BITS)``, both float32 whole numbers, hence exact."""
        return (bits @ self.weights.T > self.thresholds).astype(np.float32) @ self.outputs + self.bias


class BitFlipTasks:
    """TaskSource of bit-flip; everything of a task follows from (seed, index)."""

    def __init__(
        self,
        seeds: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
        *,
        flips: int,
        examples: int,
        batch: int,
    ) -> None:
        self.seeds, self.device, self.dtype = seeds, device, dtype
        self.flips, self.examples, self.batch = flips, examples, batch
        self.targets = [Target(generator(seed, "data")) for seed in seeds]

    def slow_bits(self, seed: int, index: int) -> np.ndarray:
        """The slow bits ``(SLOW,)`` of a seed in task ``index``."""
        if self.flips == 0:
            return generator(seed, "data", index).integers(0, 2, SLOW)
        bits = generator(seed, "data", 0).integers(0, 2, SLOW)
        for task in range(1, index + 1):
            bits[generator(seed, "data", task).permutation(SLOW)[: self.flips]] ^= 1
        return bits

    def task(self, index: int) -> BitFlipTask:
        """See TaskSource."""
        return BitFlipTask(self, index)


class BitFlipTask:
    """One setting of the slow bits; the fast bits of all its examples are drawn at once."""

    def __init__(self, source: BitFlipTasks, index: int) -> None:
        import torch

        self.batch = source.batch
        shape = (source.examples, BITS)
        x = np.empty((len(source.seeds), *shape), np.float32)
        y = np.empty((len(source.seeds), shape[0], 1), np.float32)
        for s, (seed, target) in enumerate(zip(source.seeds, source.targets, strict=True)):
            x[s, :, :SLOW] = source.slow_bits(seed, index)
            # A branch of its own: the fast bits do not depend on how the slow ones are drawn.
            x[s, :, SLOW:] = generator(seed, "data", index, 1).integers(0, 2, (shape[0], BITS - SLOW))
            y[s, :, 0] = target(x[s])
        self.x = torch.from_numpy(x).to(source.device, source.dtype)
        self.y = torch.from_numpy(y).to(source.device, source.dtype)

    def batches(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See Task."""
        return tuple(
            values[:, start * self.batch : stop * self.batch]
            .unflatten(1, (stop - start, self.batch))
            .transpose(0, 1)
            .contiguous()
            for values in (self.x, self.y)
        )

    def probe(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The task's first examples."""
        return self.x[:, :PROBE_EXAMPLES], self.y[:, :PROBE_EXAMPLES]

    def evaluation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """None: the stream is scored online."""
        return iter(())
