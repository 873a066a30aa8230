"""Syre, which removes the symmetries a network can get stuck at, and the controls that take it apart.

The paper trains theta in loss(theta + theta_0) + gamma * ||theta||^2 with a static random offset theta_0.
With psi = theta + theta_0, the weights the network really uses, that is decay of psi toward theta_0:
gradient(psi) + strength * (psi - theta_0), strength = 2 * gamma. The network starts at its usual initial
weights psi (so theta starts at psi - theta_0), and there is no other decay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.blocks import Aligned, Scratch, blocks
from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.decay import STRENGTHS, decay
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import NOT_NEGATIVE, SHARE

if TYPE_CHECKING:
    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng

ZIYIN_2025 = Paper(
    "Ziyin, Liu and Xu, Yizhou and Chuang, Isaac",
    "Remove Symmetries to Control Model Expressivity and Improve Optimization",
    2025,
    "ICLR",
    arxiv="2408.15495",
)


def draw_offsets(into: Aligned, layers: Sequence[Layer], rng: SeedRng, sigma: float) -> None:
    """theta_0 for every parameter: Gaussian, ``sigma`` times the parameter's initial standard deviation.

    Biases that start at zero take their layer's weights' deviation, or they would keep their symmetry.
    """
    free = iter(into)
    for layer in layers:
        for p in layer.parameters():
            scale = sigma * (layer.initial_std(p) or layer.initial_std(layer.weight))
            rng.normal_(next(free)).mul_(scale)


@dataclass
class Syre(Method):
    """Decay toward a static random point near zero."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="syre",
        off="strength=0",
        summary="weight decay toward a static random offset, which breaks the loss's symmetries",
        papers=(ZIYIN_2025,),
        family="decay and regularisation",
        search_space={"strength": STRENGTHS},
        ranges={"strength": NOT_NEGATIVE, "sigma": NOT_NEGATIVE, "anisotropy": SHARE},
    )
    strength: float = 1e-3  # coefficient of the decay, torch's weight_decay; the paper's gamma is half of it
    sigma: float = 0.01  # standard deviation of theta_0 in initial standard deviations (section 5.4)
    anisotropy: float = 0.0  # D = 1 + U(-a, a) for every parameter (section on uncountable symmetries)
    decoupled: bool = False  # True: AdamW's form

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.offset = Aligned(layers)
        draw_offsets(self.offset, layers, rng, self.sigma)
        # Kept as the small deviation from 1: adding 1 first would round most of it away in float32.
        self.deviation = Aligned(layers) if self.anisotropy else None
        for deviation in self.deviation or ():
            deviation.copy_(rng.uniform(deviation).mul_(self.anisotropy))

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        for i, (block, offset) in enumerate(zip(blocks(layers), self.offset.blocks, strict=True)):
            difference = block - offset
            if self.deviation:
                deviation = self.deviation.blocks[i]
                decay(block, difference * deviation, self.strength, optimizer, self.decoupled)
            decay(block, difference, self.strength, optimizer, self.decoupled)


@dataclass
class SyreOffsetOnly(Method):
    """Control: syre's offset without its decay. The weights start shifted by theta_0; nothing else changes.

    Proposition 1 of the paper: an offset alone removes no symmetry, so this should do as ``none`` does.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="syre-offset-only",
        off="sigma=0",
        summary="control: syre's random offset without the decay",
        papers=(ZIYIN_2025,),
        family="controls",
        search_space={"sigma": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)},
        ranges={"sigma": NOT_NEGATIVE},
    )
    sigma: float = 0.01  # as syre's

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        import torch

        drawn = Aligned(layers)
        draw_offsets(drawn, layers, rng, self.sigma)
        with torch.no_grad():
            for block, offset in zip(blocks(layers), drawn.blocks, strict=True):
                block.add_(offset)


@dataclass
class SyreRedrawn(Method):
    """Control: syre with a new theta_0 at every update, so that no fixed point is singled out."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="syre-redrawn",
        off="strength=0",
        summary="control: syre with its offset redrawn at every update",
        papers=(ZIYIN_2025,),
        family="controls",
        search_space={"strength": STRENGTHS},
        ranges={"strength": NOT_NEGATIVE, "sigma": NOT_NEGATIVE},
    )
    strength: float = 1e-3  # as syre's
    sigma: float = 0.01  # as syre's
    decoupled: bool = False  # as syre's

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng = rng
        self.drawn = Scratch(layers)

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        draw_offsets(self.drawn, layers, self.rng, self.sigma)
        for block, offset in zip(blocks(layers), self.drawn.blocks, strict=True):
            decay(block, block - offset, self.strength, optimizer, self.decoupled)
