"""Shared by redo and regrama: units with a small score are re-initialised periodically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method
from plasticity_bench.agents.methods.units import (
    batch_size,
    before_scored,
    dormancy_scores,
    pairs,
    reinitialise,
)

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class PeriodicUnitReset(Method):
    """Every ``period`` updates, the units whose score is at most ``tau`` are re-initialised.

    A unit's score is its activity over the mean activity of its layer. ``_magnitude`` says what the activity
    of a batch is; it is summed over the last batches before a reset, at least ``examples`` examples. Units
    are reset by ``units.reinitialise``, which ``fresh_count`` is for. With tau < 0 no unit is reset.
    """

    needs_features: ClassVar[bool] = True  # at least for the size of the batch
    schedule: ClassVar[tuple[str, ...]] = ("updates",)
    tau: float = 0.0
    period: int = 1000
    examples: int = 64
    fresh_count: bool = False

    def _magnitude(self, layer: Layer) -> Tensor:
        """Activity of a hidden layer's units in the last update: ``(..., units)``, at least 0."""
        raise NotImplementedError

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng = rng
        self.updates = 0
        self.activity = [layer.bias.detach() * 0 for layer, _ in pairs(layers)]

    def repeats(self, batch: int) -> int:
        return before_scored(self.updates, self.period, self.examples, batch)

    def skip(self, updates: int) -> None:
        self.updates += updates

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        self.updates += 1
        left = -self.updates % self.period
        if left * batch_size(layers[0]) < self.examples:
            for layer, activity in zip(layers[:-1], self.activity, strict=True):
                activity.add_(self._magnitude(layer))
        if left == 0:
            masks = [dormancy_scores(activity) <= self.tau for activity in self.activity]
            reinitialise(layers, masks, self.rng, optimizer, self.fresh_count and self.tau >= 0)
            for activity in self.activity:
                activity.zero_()
