"""Shrink and perturb: pull the weights toward zero and add a little of a fresh network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo, before_next
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import NOT_NEGATIVE, SHARE

if TYPE_CHECKING:
    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class ShrinkPerturb(Method):
    """theta <- (1 - shrink) * theta + noise * theta_fresh, theta_fresh drawn again each time.

    ``interval=0``: between tasks, as in Ash & Adams. ``interval=n``: every n updates, independently of
    the boundaries, as in Kumar et al. 2023 (n=1, shrink and noise from 1e-2 to 1e-5). The optimizer's
    moments stay, as in both sources.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="shrink-perturb",
        off="shrink=0,noise=0",
        summary="shrink the weights and add fresh noise at task boundaries (or every few updates)",
        papers=(
            Paper(
                "Ash, Jordan T. and Adams, Ryan P.",
                "On Warm-Starting Neural Network Training",
                2020,
                "NeurIPS",
                arxiv="1910.08475",
            ),
        ),
        family="shrinking and perturbing",
        task_boundaries=True,
        search_space={"shrink": (0.1, 0.2, 0.4, 0.6, 0.8), "noise": (0.01, 0.1, 0.5)},
        ranges={"shrink": SHARE, "noise": NOT_NEGATIVE, "interval": NOT_NEGATIVE},
    )
    schedule: ClassVar[tuple[str, ...]] = ("updates",)
    shrink: float = 0.4  # share taken off the weights; Ash & Adams keep 0.6 in most figures (from memory)
    noise: float = 0.1  # multiple of a fresh network that is added
    interval: int = 0  # 0: at task boundaries; n: every n updates

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng = rng
        self.updates = 0

    def repeats(self, batch: int) -> int:
        return before_next(self.updates, self.interval)

    def skip(self, updates: int) -> None:
        self.updates += updates

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        self.updates += 1
        if self.interval and self.updates % self.interval == 0:
            self._apply(layers)

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        if not self.interval:
            self._apply(layers)

    def _apply(self, layers: Sequence[Layer]) -> None:
        from plasticity_bench.agents.layers import fresh, parameters

        for parameter, value in zip(parameters(layers), fresh(layers, self.rng), strict=True):
            parameter.mul_(1 - self.shrink).add_(value, alpha=self.noise)
