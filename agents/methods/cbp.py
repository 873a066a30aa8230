"""Continual backpropagation: at every update a small fraction of the least useful units is re-initialised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from plasticity_bench.agents.blocks import Scratch, blocks
from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import DOHARE_2024
from plasticity_bench.agents.methods.units import (
    PerUnit,
    Recent,
    activations,
    incoming,
    outgoing,
    pairs,
    reinitialise,
)
from plasticity_bench.ranges import NOT_NEGATIVE, SHARE, Range

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class ContinualBackprop(Method):
    """Algorithm 1 of the paper, with the utility of the authors' permuted-MNIST runs.

    u <- decay * u + (1 - decay) * mean|w_out| * mean|h - m| / mean|w_in|, m the running mean of h; both are
    divided by 1 - decay^age ("adaptable_contribution" of lop/algos/gnt.py in shibhansh/loss-of-plasticity;
    Eq. 1 of the paper has sum|w_out| * |h| alone). A unit may be replaced when its age exceeds ``maturity``.
    ``rate`` times the number of such units adds up, and whenever a whole unit is owed the one of lowest
    utility goes: fresh incoming weights, bias 0, the next biases take over w_out * m, w_out = 0, utility,
    mean and age 0. How many are replaced when depends on ``rate`` alone, so the host never waits for the
    device.

    The weights are those of lop/algos/gnt.py, with these differences: that code empties m before it is handed
    on, so nothing is handed on; if units of adjacent layers go at once, the weight between them is 0 here and
    fresh there. Channels are scored after pooling, as theirs, by their means over positions and with m handed
    on to the next biases, which their convolutions leave out.

    Adam's moments of the replaced weights are cleared, and with ``fresh_count`` it counts their steps again
    from 0, as the authors' AdamGnT does.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="cbp",
        off="rate=0",
        summary="continual backprop: a small fraction of the least useful units is replaced continually",
        papers=(DOHARE_2024,),
        family="resets of units",
        search_space={"rate": (1e-6, 1e-5, 1e-4, 3e-4, 1e-3), "maturity": (100, 1000)},
        version=2,
        ranges={"rate": SHARE, "maturity": NOT_NEGATIVE, "decay": Range(0, 1, above=True, below=True)},
    )
    needs_features: ClassVar[bool] = True
    rate: float = 1e-4  # share of mature units replaced per update; permuted MNIST: 1e-4, 1e-5, 1e-6
    maturity: int = 100  # updates before a unit may be replaced; permuted MNIST: 100
    decay: float = 0.99  # of the running averages; the paper's eta
    fresh_count: bool = True  # whether Adam counts replaced weights' steps again from 0; the authors do

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng = rng
        self.updates = 0
        self.utility, self.mean, self.age = PerUnit(layers), PerUnit(layers), PerUnit(layers)
        self.owed = [0.0 for _ in self.age]
        #: Per layer (update, number of units) of replacements whose units are immature; at first all are.
        self.young = [[[0, age.shape[-1]]] for age in self.age]
        #: What the averages take in later, at the latest when a unit is owed.
        self.recent, self.magnitudes = Recent(), Magnitudes(layers)

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        if not self.rate:
            return
        self.updates += 1
        seen = [*(activations(layer, pooled=True) for layer in layers[:-1]), *self.magnitudes.sums(layers)]
        if not self.recent.fits(seen):
            self._average()
        self.recent.kept.append(seen)
        counts = [self._count(i) for i in range(len(self.age))]
        if not any(counts):
            return
        self._average()
        masks = [self._lowest(i, count) if count else None for i, count in enumerate(counts)]
        for i, ((layer, following), mask) in enumerate(zip(pairs(layers), masks, strict=True)):
            if mask is not None:
                mean = self.mean[i] / self._correction(self.age[i]) * mask
                handed_on = outgoing(layer, following.weight).sum(-1) * mean.unsqueeze(-2)
                following.bias.add_(handed_on.sum(-1))
                for state in (self.utility[i], self.mean[i], self.age[i]):
                    state.masked_fill_(mask, 0)
        reinitialise(layers, masks, self.rng, optimizer, self.fresh_count)

    def state_dict(self) -> dict[str, Any]:
        self._average()
        return super().state_dict()

    def _correction(self, age: Tensor) -> Tensor:
        """1 - decay^age: what the running averages miss, which began at 0."""
        return (age * math.log(self.decay)).expm1_().neg_()

    def _average(self) -> None:
        """Takes the recent updates into the averages, all hidden layers together."""
        import torch

        if not self.recent.kept:
            return
        taken, n = self.recent.take(), len(self.age)
        h, sums = taken[:n], taken[n:]
        means = torch.cat([values.mean(-2) for values in h], -1)
        last = self.mean.whole
        for mean in means.unbind(0):
            last = torch.lerp(last, mean, 1 - self.decay, out=mean)
        self.mean.whole.copy_(last)
        ages = torch.stack([self.age.whole.add_(1).clone() for _ in means])
        centres = (means / self._correction(ages)).unsqueeze(-2).split([a.shape[-1] for a in self.age], -1)
        spread = torch.cat([x.sub_(mean).abs_().mean(-2) for x, mean in zip(h, centres, strict=True)], -1)
        size = [sums[i].div_(count) for i, count in enumerate(self.magnitudes.counts)]
        useful = torch.cat(size[:n], -1) * spread / torch.cat(size[n:], -1)
        for now in useful.unbind(0):
            self.utility.whole.lerp_(now, 1 - self.decay)

    def _count(self, i: int) -> int:
        """How many units of layer i are replaced now."""
        self.young[i] = [[when, n] for when, n in self.young[i] if self.updates - when <= self.maturity]
        mature = self.age[i].shape[-1] - sum(n for _, n in self.young[i])
        self.owed[i] += self.rate * mature
        count = min(int(self.owed[i]), mature)
        if count:
            self.owed[i] -= count
            self.young[i].append([self.updates, count])
        return count

    def _lowest(self, i: int, count: int) -> Tensor:
        """The ``count`` mature units of layer i of lowest utility."""
        import torch

        ranked = self.utility[i] / self._correction(self.age[i])
        ranked = ranked.masked_fill(self.age[i] <= self.maturity, float("inf"))
        # A stable sort, so that ties (units that never fire) fall to the same units on every device.
        lowest = ranked.sort(dim=-1, stable=True).indices[..., :count]
        return torch.zeros_like(ranked, dtype=torch.bool).scatter_(-1, lowest, True)


class Magnitudes(Scratch):
    """|weights|, as the hidden units use them."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__(layers)
        weights = self[::2]
        used = [outgoing(layer, size) for layer, size in zip(layers, weights[1:], strict=False)]
        read = [incoming(layer, size) for layer, size in zip(layers, weights[:-1], strict=False)]
        #: How many weights are summed in each of ``sums``.
        self.counts = [u.shape[-3] * u.shape[-1] for u in used] + [r.shape[-1] for r in read]
        # Sums over one dimension take half the time of sums over two.
        self.summed = [(u, (-3, -1)) if u.shape[-1] > 1 else (u.squeeze(-1), (-2,)) for u in used]
        self.summed += [(r, (-1,)) for r in read]

    def sums(self, layers: Sequence[Layer]) -> list[Tensor]:
        """For every hidden layer sum|w_out| of its units, then for every one sum|w_in|: ``(..., units)``."""
        import torch

        for block, size in zip(blocks(layers), self.blocks, strict=True):
            torch.abs(block, out=size)
        return [size.sum(dimensions) for size, dimensions in self.summed]
