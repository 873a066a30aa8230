"""Decay of the weights toward a centre: zero (l2) or the initial weights (l2-init)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.blocks import Aligned, blocks
from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import DOHARE_2024, Paper
from plasticity_bench.ranges import NOT_NEGATIVE

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng

STRENGTHS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def decay(
    parameter: Tensor, difference: Tensor, strength: float, optimizer: FlatOptimizer, decoupled: bool
) -> None:
    """One step of decay of ``difference`` (parameter minus centre), before the optimizer's update; of whole
    ``blocks`` as of single parameters.

    Coupled: ``strength * difference`` joins the gradient, as ``weight_decay`` of torch.optim.Adam and SGD.
    Decoupled: ``parameter -= lr * strength * difference``, as torch.optim.AdamW (arXiv:1711.05101).
    """
    if decoupled:
        parameter.sub_(difference, alpha=optimizer.lr * strength)
    else:
        assert parameter.grad is not None
        parameter.grad.add_(difference, alpha=strength)


@dataclass
class L2(Method):
    """Loss + strength/2 * ||theta||^2."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="l2",
        off="strength=0",
        summary="weight decay toward zero",
        papers=(
            Paper(
                "Krogh, Anders and Hertz, John A.",
                "A Simple Weight Decay Can Improve Generalization",
                1991,
                "NeurIPS",
            ),
            DOHARE_2024,
        ),
        family="decay and regularisation",
        search_space={"strength": STRENGTHS},
        ranges={"strength": NOT_NEGATIVE},
    )
    strength: float = 1e-3  # coefficient of the decay, torch's weight_decay
    decoupled: bool = False  # True: AdamW's form

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        for block in blocks(layers):
            decay(block, block, self.strength, optimizer, self.decoupled)


@dataclass
class L2Init(Method):
    """Loss + strength/2 * ||theta - theta_initial||^2 (the paper's code; its text has no 1/2)."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="l2-init",
        off="strength=0",
        summary="weight decay toward the initial weights",
        papers=(
            Paper(
                "Kumar, Saurabh and Marklund, Henrik and Van Roy, Benjamin",
                "Maintaining Plasticity in Continual Learning via Regenerative Regularization",
                2023,
                arxiv="2308.11958",
            ),
        ),
        family="decay and regularisation",
        search_space={"strength": STRENGTHS},
        ranges={"strength": NOT_NEGATIVE},
    )
    strength: float = 1e-3  # coefficient of the decay, torch's weight_decay
    decoupled: bool = False  # True: AdamW's form

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.initial = Aligned.copied(layers)

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        for block, initial in zip(blocks(layers), self.initial.blocks, strict=True):
            decay(block, block - initial, self.strength, optimizer, self.decoupled)
