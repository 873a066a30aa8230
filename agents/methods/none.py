"""The plain learner, and the plain learner that is re-initialised at every task: the two references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import DOHARE_2024, NIKISHIN_2022

if TYPE_CHECKING:
    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class NoMethod(Method):
    """The stream's optimizer and nothing else."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="none",
        summary="plain training, the reference that loses plasticity",
        papers=(DOHARE_2024,),
        family="references",
    )


@dataclass
class Reset(Method):
    """Replaces all weights by a fresh initialisation at every task boundary, and clears the optimizer."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="reset",
        summary="a freshly initialised network for every task, the reference that cannot lose plasticity",
        papers=(NIKISHIN_2022,),
        family="references",
        task_boundaries=True,
    )

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng = rng

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        from plasticity_bench.agents.layers import renew

        renew(layers, self.rng)
        optimizer.reset()
