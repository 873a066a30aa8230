"""Selective weight reinitialisation: every so often the least useful single weights are re-initialised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo, before_next
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.agents.methods.units import remembered
from plasticity_bench.ranges import AT_LEAST_ONE, SHARE

if TYPE_CHECKING:
    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class SelectiveWeightReinit(Method):
    """Every ``period`` updates the share of lowest |gradient * weight| of every parameter is drawn again.

    First-order utility, proportional pruning and resampling, the setting that kept plasticity in the
    paper's first experiment; every weight matrix and bias vector is ranked by itself. As in a public copy of
    the authors' torch code: after the optimizer's step, with the new weights and the last gradients, from
    the initial distribution (a bias that starts at zero goes to zero). Parts of a weight are owed to the
    next time; the authors round at random. The optimizer's moments of the weights are cleared (theirs is SGD,
    and that code leaves the optimizer alone, so that it has no step count to follow: Adam's stays, unless
    ``fresh_count``). Not here: magnitude and random utility, a threshold, the mean in place of a draw,
    running means of the utility. The authors tune period and share, the values were not seen.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="swr",
        off="share=0",
        summary="selective weight reinitialisation: a small share of the least useful weights is redrawn",
        papers=(
            Paper(
                "Hernandez-Garcia, J. Fernando and Dohare, Shibhansh and Luo, Jun and Sutton, Richard S.",
                "Reinitializing weights vs units for maintaining plasticity in neural networks",
                2025,
                "CoLLAs",
                arxiv="2508.00212",
            ),
        ),
        family="resets of units",
        search_space={"share": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1), "period": (10, 100, 1000)},
        later=("fresh_count",),
        ranges={"share": SHARE, "period": AT_LEAST_ONE},
    )
    schedule: ClassVar[tuple[str, ...]] = ("updates", "owed")
    share: float = 0.01  # of a parameter's numbers that are drawn again each time
    period: int = 100  # updates between reinitialisations
    fresh_count: bool = False  # whether Adam counts redrawn weights' steps again from 0

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng = rng
        self.updates = 0
        self.owed = [[0.0, 0.0] for _ in layers]  # weights, biases

    def repeats(self, batch: int) -> int:
        return before_next(self.updates, self.period if self.share else 0)

    def skip(self, updates: int) -> None:
        self.updates += updates

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        import torch

        self.updates += 1
        if not self.share or self.updates % self.period:
            return
        for layer, owed in zip(layers, self.owed, strict=True):
            drawn = layer.fresh(self.rng)
            for i, (parameter, fresh) in enumerate(zip(layer.parameters(), drawn, strict=True)):
                assert parameter.grad is not None
                utility = (parameter.grad * parameter).abs().flatten(layer.bias.dim() - 1)
                owed[i] += self.share * utility.shape[-1]
                count = int(owed[i])
                owed[i] -= count
                # A stable sort, so that ties (weights of silent units) are the same on every device.
                lowest = utility.sort(dim=-1, stable=True).indices[..., :count]
                mask = torch.zeros_like(utility, dtype=torch.bool).scatter_(-1, lowest, True)
                mask = mask.view(parameter.shape)
                parameter.copy_(torch.where(mask, fresh, parameter))
                for tensor in remembered(optimizer, parameter, self.fresh_count):
                    tensor.masked_fill_(mask, 0)
