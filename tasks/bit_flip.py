"""bit-flip: slowly changing regression, learned by a network smaller than its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.ranges import AT_LEAST_ONE, Range
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from plasticity_bench.tasks.base import StreamInfo, SupervisedStream
from plasticity_bench.tasks.threshold_units import BITS, SLOW, BitFlipTasks

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BitFlip(SupervisedStream):
    """Inputs are 20 bits: 15 slow ones that are fixed within a task, 5 that are random at every example.

    The target is a fixed network of 100 linear threshold units with all weights and biases +-1:
    unit i fires if w_i x + b_i > 0.7 * 21 - S_i, S_i = (20 - sum(w_i) + b_i) / 2 in the authors' code.
    Between tasks the slow bits change.
    """

    info: ClassVar[StreamInfo] = StreamInfo(
        name="bit-flip",
        version=1,
        summary="slowly changing regression: 5 hidden units follow 100 threshold units (generated)",
        source="Dohare et al. 2024, doi:10.1038/s41586-024-07711-7",
        deviations=(
            "batch 16 and 16 seeds (source: batch 1 and 100 runs); the number of examples is the source's",
            "Adam 1e-2, one of the step sizes and optimizers that the source sweeps",
            "performance is 1 - MSE / variance of the task's targets, at least -1 (source: squared error)",
        ),
        seeds=16,
        chance=0.0,
        later=("width",),
        ranges={"flips": Range(0, SLOW), "width": AT_LEAST_ONE},
        unit="R2",
        loss="mse",
    )
    batch: ClassVar[int] = 16
    steps: ClassVar[int] = 625
    optimizer: ClassVar[OptimizerSpec] = OptimizerSpec("adam", 1e-2)

    tasks: int = 100  # number of tasks
    flips: int = 0  # slow bits that flip between two tasks; 0: all 15 are redrawn, as the authors' code does

    width: int = 5  # hidden units; the source has 5

    @property
    def network(self) -> NetworkSpec:
        return NetworkSpec((BITS,), 1, (self.width,), init="kaiming")

    def open(self, seeds: Sequence[int], device: torch.device, dtype: torch.dtype) -> BitFlipTasks:
        return BitFlipTasks(
            seeds, device, dtype, flips=self.flips, examples=self.steps * self.batch, batch=self.batch
        )
