"""UPGD: useful weights move less and are disturbed less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.blocks import Aligned, Scratch, blocks
from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import BELOW_ONE, NOT_NEGATIVE

if TYPE_CHECKING:
    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng

#: A seed draws a multiple of this many numbers at every update; the last ones are left over.
DRAW_MULTIPLE = 64


@dataclass
class Upgd(Method):
    """First-order utility-based perturbed gradient descent with the network's largest utility as the unit.

    U <- beta * U + (1 - beta) * (-g * theta), G = 1 - sigmoid(U / (1 - beta^t) / max U), and
    theta <- (1 - lr * weight_decay) * theta + factor * G * (step - lr * sigma * xi), xi standard normal,
    and step is that of the stream's optimizer. With SGD (-lr * g) that is the authors' UPGD, with Adam their
    Adam version for PPO (github.com/mohmdelsayed/upgd: core/optim/weight_upgd/first_order.py,
    core/run/rl/adaupgd.py). Defaults are their README's; their experiments on input-permuted MNIST use beta
    0.9999, sigma 0.1, weight decay 0.01. factor is 2 in the README and the Adam version, 1 in the
    experiments' code; G is 1/2 if the utility is 0, so 2 leaves such weights the optimizer's step size.
    As in their code U is corrected for its start and max U is not: gates are all but 0 or 1 at first.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="upgd",
        off="protect=false,sigma=0,weight_decay=0",
        summary="useful weights get smaller updates and less noise",
        papers=(
            Paper(
                "Elsayed, Mohamed and Mahmood, A. Rupam",
                "Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning",
                2024,
                "ICLR",
                arxiv="2404.00781",
            ),
        ),
        family="optimizers",
        search_space={
            "sigma": (1e-3, 1e-2, 1e-1, 1.0),
            "weight_decay": (0.0, 1e-3, 1e-2, 1e-1, 1.0),
            "beta": (0.999, 0.9999),
        },
        ranges={
            "beta": BELOW_ONE,
            "sigma": NOT_NEGATIVE,
            "weight_decay": NOT_NEGATIVE,
            "factor": NOT_NEGATIVE,
        },
    )
    beta: float = 0.999  # decay of the utility's running mean
    sigma: float = 1e-3  # standard deviation of the noise that is added to the gradient
    weight_decay: float = 1e-3  # decoupled, as AdamW's
    factor: float = 2.0  # multiple of the gated step
    protect: bool = True  # false: the gate scales the noise alone, the authors' non-protecting variant

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng = rng
        self.updates = 0
        self.utility = Aligned(layers, "trainable")
        self.before, self.gate, self.noise = (Scratch(layers, "trainable") for _ in range(3))

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        self.updates += 1
        own = zip(blocks(layers, "trainable"), self.before.blocks, self.utility.blocks, strict=True)
        for block, before, utility in own:
            before.copy_(block)
            utility.mul_(self.beta)
            if block.grad is not None:
                utility.addcmul_(block.grad, block, value=self.beta - 1)

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        import torch

        seeds = layers[0].bias.dim() - 1  # leading dimensions
        largest = torch.stack([utility.flatten(seeds).amax(-1) for utility in self.utility]).amax(0)
        unit = torch.where(largest == 0, 1.0, largest) * (self.beta**self.updates - 1)
        for utility, gate in zip(self.utility, self.gate, strict=True):
            torch.div(utility, unit.view(unit.shape + (1,) * (gate.dim() - seeds)), out=gate)
        if self.sigma:
            self._draw(seeds)
        own = blocks(layers, "trainable")
        moved = zip(own, self.before.blocks, self.gate.blocks, self.noise.blocks, strict=True)
        for block, before, gate, noise in moved:
            gate.sigmoid_()  # 1 - sigmoid(utility)
            if self.protect:
                gate.mul_(self.factor)
                block.sub_(before).mul_(gate).add_(before)
            if self.sigma:
                block.addcmul_(noise, gate, value=-optimizer.lr * self.sigma)
            block.sub_(before, alpha=optimizer.lr * self.weight_decay)

    def _draw(self, seeds: int) -> None:
        """New noise, for every seed in the order of its parameters."""
        numbers = sum(noise[(0,) * seeds].numel() for noise in self.noise)
        numbers += -numbers % DRAW_MULTIPLE
        drawn = self.rng.normal(self.noise[0].new_empty((*self.noise[0].shape[:seeds], numbers)))
        start = 0
        for noise in self.noise:
            shape = noise.shape[seeds:]
            noise.copy_(drawn[..., start : start + shape.numel()].unflatten(-1, shape))
            start += shape.numel()
