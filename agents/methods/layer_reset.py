"""Resets of the last layers at task boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import NIKISHIN_2022
from plasticity_bench.agents.methods.units import remembered
from plasticity_bench.ranges import NOT_NEGATIVE

if TYPE_CHECKING:
    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


def restart(layers: Sequence[Layer], optimizer: FlatOptimizer, rng: SeedRng, fresh_count: bool) -> None:
    """Fresh parameters and no moments for these layers; no step counts either if ``fresh_count``."""
    from plasticity_bench.agents.layers import renew, trainable

    renew(layers, rng)
    for parameter in trainable(layers):
        for tensor in remembered(optimizer, parameter, fresh_count):
            tensor.zero_()


@dataclass
class LayerReset(Method):
    """At a task boundary the last few layers are reset, and the optimizer's moments for them are cleared.

    Nikishin et al. reset the last linear layer of SPR's five, the last three of DrQ's seven and all of SAC's
    layers every 2e4 to 2e5 steps (from memory); here the boundaries take the place of a period.

    ``fresh_count``: Adam counts the steps of a reset layer again from 0, as in the authors' code
    (evgenii-nikishin/rl_with_resets: DrQ's reset heads get a new optimizer, while the encoder keeps its own;
    in SPR the count of the whole network starts again). Without it the count stays while the moments are
    cleared, so that with betas 0.9 and 0.999 a reset layer's first update is 3.2 times, and the twelfth 6.6
    times, as large as a new network's (gradients of constant size).
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="layer-reset",
        off="last=0",
        summary="the last layers are re-initialised for every task",
        papers=(NIKISHIN_2022,),
        family="resets of layers",
        task_boundaries=True,
        search_space={"last": (1, 2, 3)},
        version=2,
        ranges={"last": NOT_NEGATIVE},
    )
    needs_order: ClassVar[bool] = True
    last: int = 2  # number of layers that are reset, counted from the output; 0: none, 9 of 3: all
    fresh_count: bool = True  # whether Adam counts a reset layer's steps again from 0

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng = rng

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        restart(layers[max(0, len(layers) - self.last) :], optimizer, self.rng, self.fresh_count)


@dataclass
class HeadReset(Method):
    """``layer-reset`` of the output layer alone, with the same ``fresh_count``."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="head-reset",
        summary="the output layer is re-initialised for every task",
        papers=(NIKISHIN_2022,),
        family="resets of layers",
        task_boundaries=True,
        version=2,
    )
    needs_order: ClassVar[bool] = True
    fresh_count: bool = True  # whether Adam counts the output layer's steps again from 0

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng = rng

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        restart(layers[-1:], optimizer, self.rng, self.fresh_count)
