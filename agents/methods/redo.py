"""ReDo: recycling of dormant units, found by their activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.agents.methods.units import (
    activations,
    batch_size,
    before_scored,
    pairs,
    reinitialise,
    relative,
)

if TYPE_CHECKING:
    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class ReDo(Method):
    """Every ``period`` updates the tau-dormant units start anew, as Algorithm 1 of the paper.

    Definition 3.1 (Eq. 1): score = E|h| / mean over the layer of E|h|, dormant where score <= tau. Reset as
    in the authors' code (google/dopamine, labs/redo): fresh incoming weights, bias 0, outgoing weights 0,
    Adam's moments of the weights cleared (here the bias's too), its step count kept. The expectation is over
    the last updates' batches, at least ``examples`` examples, where the authors draw a batch from the replay
    buffer. A channel is one unit, scored by its mean over positions. With tau < 0 no unit is dormant.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="redo",
        off="tau=-1",
        summary="units whose activations are small for their layer are reset periodically",
        papers=(
            Paper(
                "Sokar, Ghada and Agarwal, Rishabh and Castro, Pablo Samuel and Evci, Utku",
                "The Dormant Neuron Phenomenon in Deep Reinforcement Learning",
                2023,
                "ICML",
                arxiv="2302.12902",
            ),
        ),
        family="resets of units",
        search_space={"tau": (0.0, 0.01, 0.025, 0.05, 0.1, 0.2), "period": (100, 300, 1000)},
    )
    needs_features: ClassVar[bool] = True
    schedule: ClassVar[tuple[str, ...]] = ("updates",)
    tau: float = 0.1  # dormant at or below this score; the paper's, 0.025 in its default setting
    period: int = 1000  # updates between resets
    examples: int = 64  # examples that a score is taken over

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
                activity.add_(activations(layer).abs().mean(-2))
        if left == 0:
            masks = [relative(activity) <= self.tau for activity in self.activity]
            reinitialise(layers, masks, self.rng, optimizer)
            for activity in self.activity:
                activity.zero_()
