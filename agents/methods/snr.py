"""Self-normalized resets: a unit is reset when it is silent for longer than its own past explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.agents.methods.units import PerUnit, Recent, activations, batch_size, reinitialise
from plasticity_bench.ranges import AT_LEAST_ONE, SHARE

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class SelfNormalizedResets(Method):
    """A unit is reset when P(A >= age) <= eta, A the times between its own firings (Algorithm 1).

    As in the authors' code (src/algorithms/snr.py in ajozefiak/SelfNormalizedResets): age counts the examples
    of consecutive batches on which the unit never fired; when it fires, or is reset, a non-zero age goes into
    the unit's histogram; every ``window`` updates the reset threshold becomes the least age a with
    P(A >= a) <= eta if that is lower, else twice what it was, at most ``limit`` (the initial value), and the
    histogram is emptied. A reset gives fresh incoming weights, bias 0, outgoing weights and moments 0. Adam's
    step count stays as in their code, unless ``fresh_count``.

    Not as theirs: their threshold is the least a with P(A <= a) >= 1 - eta, which resets a unit at the very
    age that it always fires at; their window is 16 tasks; the histogram is exact up to 23 examples and then
    in steps of 1/16 octave; due units are reset together every ``period`` updates, to draw seldom.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="snr",
        off="eta=0",
        summary="units silent for longer than their own firing history explains are reset",
        papers=(
            Paper(
                "Farias, Vivek F. and Jozefiak, Adam D.",
                "Self-Normalized Resets for Plasticity in Continual Learning",
                2025,
                "ICLR",
                arxiv="2410.20098",
            ),
        ),
        family="resets of units",
        search_space={"eta": (0.01, 0.02, 0.04, 0.08, 0.16), "window": (500, 2000, 8000)},
        later=("fresh_count",),
        ranges={"eta": SHARE, "window": AT_LEAST_ONE, "limit": AT_LEAST_ONE, "period": AT_LEAST_ONE},
    )
    needs_features: ClassVar[bool] = True
    eta: float = 0.08  # level of the test; 0 never rejects
    window: int = 2000  # updates between changes of the thresholds
    limit: int = 20_000  # examples: highest and first threshold
    period: int = 10  # updates between resets; the authors' 1
    fresh_count: bool = False  # whether Adam counts reset weights' steps again from 0; the authors do not

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        import torch

        self.rng = rng
        self.updates = 0
        steps = sorted({0, self.limit, *(int(2 ** (k / 16)) for k in range(16 * self.limit.bit_length()))})
        like = layers[0].bias
        self.ages = torch.tensor([a for a in steps if a <= self.limit], device=like.device)
        self.age, self.threshold = PerUnit(layers, torch.int64), PerUnit(layers, torch.int64)
        self.threshold.whole.add_(self.limit)
        shape = (*self.age.whole.shape, len(self.ages))
        self.fired = torch.zeros(shape, dtype=torch.int32, device=like.device)
        self.recent = Recent()  # what the ages take in later, at the latest when units may be reset

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        if not self.eta:
            return
        self.updates += 1
        seen = [activations(layer) for layer in layers[:-1]]
        if not self.recent.fits(seen):
            self._grow()
        self.recent.kept.append(seen)
        self.examples = batch_size(layers[0])
        if self.updates % self.period == 0:
            self._grow()
            due = self.age.whole >= self.threshold.whole
            self._record(self.age.whole.unsqueeze(-1), due.unsqueeze(-1))
            self.age.whole.masked_fill_(due, 0)
            masks = due.split([age.shape[-1] for age in self.age], -1)
            reinitialise(layers, masks, self.rng, optimizer, self.fresh_count)
        if self.updates % self.window == 0:
            self._grow()
            threshold, new = self.threshold.whole, self._quantile(self.fired)
            threshold.copy_(new.where(new <= threshold, 2 * threshold).clamp_max(self.limit))
            self.fired.zero_()

    def state_dict(self) -> dict[str, Any]:
        self._grow()
        return super().state_dict()

    def _grow(self) -> None:
        """Takes the recent updates into the ages of all hidden layers together, ``(updates, ..., units)``."""
        import torch

        if not self.recent.kept:
            return
        firing = torch.cat([h.amax(-2) for h in self.recent.take()], -1) > 0
        silence = (~firing).cumsum(0).mul_(self.examples)
        age, threshold = self.age.whole, self.threshold.whole

        def ages(ends: Tensor) -> Tensor:
            """After each update, if silences end at those under the mask."""
            return silence - silence.where(ends, -age).cummax(0).values

        before = torch.cat([age.unsqueeze(0), ages(firing)[:-1]])
        # From the threshold on, a silence lasts until the unit is reset, even if it fires.
        ends = firing & (before.cummax(0).values < threshold)
        self._record(before.movedim(0, -1).contiguous(), ends.movedim(0, -1))
        age.copy_(ages(ends)[-1])

    def _record(self, ages: Tensor, ended: Tensor) -> None:
        """Adds silences ``(..., units, number)`` to the histogram if the mask says that they ended."""
        import torch

        place = torch.bucketize(ages, self.ages, right=True).sub_(1)
        self.fired.scatter_add_(-1, place, ended.int())

    def _quantile(self, fired: Tensor) -> Tensor:
        """The least age a > 0 with P(A >= a) <= eta; twice the limit if there is none."""
        import torch

        seen = fired[..., 1:].flip(-1).cumsum(-1).flip(-1)  # silences of at least ages[1:]
        enough = seen > self.eta * seen[..., :1]
        beyond = enough.sum(-1)
        ages = torch.cat([self.ages[1:], 2 * self.ages[-1:]])
        return ages[beyond]
