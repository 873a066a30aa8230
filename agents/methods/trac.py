"""TRAC: the distance of the weights from their initial values is tuned online."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.blocks import Aligned, Scratch, blocks, listed
from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import AT_LEAST_ONE, POSITIVE

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class Trac(Method):
    """theta = theta_ref + max(sum_j s_j, 0) * (theta_base - theta_ref), theta_ref the initial weights.

    theta_base is moved by the stream's optimizer with the gradients g taken at theta. For every discount
    beta_j = 1 - 10^-j: h = <g, theta_base - theta_ref>, v_j <- beta_j^2 * v_j + h^2,
    sigma_j <- beta_j * sigma_j - h and s_j = scale / erfi(1/sqrt 2) * erfi(sigma_j / (sqrt(2 v_j) + eps)).
    Constants (six discounts, scale = eps = sigma_j at the start = 1e-8) and order of the steps as in the
    authors' code, github.com/ComputationalRobotics/TRAC. That code (trac-optimizer 0.0.2) keeps no
    theta_base but divides the scale out of theta, which loses it if the scale is 0 or lost in rounding;
    here it is kept. Its erfi is off by up to 1%. With both fixed the weights are the same. One scale for the
    whole network; erfi's argument is limited to +-10, at which it is 1e42.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="trac",
        summary="scales the distance from the initial weights by a parameter-free tuner",
        papers=(
            Paper(
                "Muppidi, Aneesh and Zhang, Zhiyu and Yang, Heng",
                "Fast TRAC: A Parameter-Free Optimizer for Lifelong Reinforcement Learning",
                2024,
                "NeurIPS",
                arxiv="2405.16642",
            ),
        ),
        family="optimizers",
        search_space={"scale": (1e-8, 1e-6, 1e-4, 1e-2)},
        ranges={"scale": POSITIVE, "discounts": AT_LEAST_ONE, "eps": POSITIVE},
    )
    scale: float = 1e-8  # s at the start
    discounts: int = 6  # number of discounts: 0.9, 0.99, ...
    eps: float = 1e-8  # added to the root of v, and the start of sigma

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        import torch

        self.reference = Aligned.copied(layers, "trainable")
        self.base = Aligned.copied(layers, "trainable")
        self.distance = Aligned(layers, "trainable")  # base - reference
        self.products = Scratch(layers, "trainable", torch.float64)
        like = layers[0].bias.select(-1, 0).unsqueeze(-1).double()  # (..., 1)
        self.beta = like.new_tensor([1 - 10.0**-j for j in range(1, self.discounts + 1)])
        self.variance = torch.zeros_like(like * self.beta)
        self.sigma = torch.full_like(self.variance, self.eps)

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        import torch

        own = zip(
            *(blocks(layers, "trainable"), self.base.blocks, self.distance.blocks, self.products.blocks),
            strict=True,
        )
        for block, base, distance, product in own:
            assert block.grad is not None
            torch.mul(distance, block.grad, out=product)  # rounded as the factors are, then widened
            block.copy_(base)  # for the optimizer to move
        seeds = self.sigma.dim() - 1  # leading dimensions
        products = [product.flatten(seeds).sum(-1, keepdim=True) for product in self.products]
        h = reduce(torch.add, products)
        self.variance.mul_(self.beta**2).add_(h**2)
        self.sigma.mul_(self.beta).sub_(h)

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        import torch

        s = erfi(self.sigma / ((2 * self.variance).sqrt() + self.eps)).sum(-1)
        s.mul_(self.scale / 0.9534382692512611).clamp_min_(0)  # erfi(1 / sqrt 2)
        own = blocks(layers, "trainable")
        moved = zip(own, self.base.blocks, self.distance.blocks, self.reference.blocks, strict=True)
        for block, base, distance, reference in moved:
            base.copy_(block)
            torch.sub(block, reference, out=distance)
        factor = s.to(self.distance[0].dtype)
        for parameter, distance in zip(listed(layers, "trainable"), self.distance, strict=True):
            torch.mul(distance, factor.view(s.shape + (1,) * (distance.dim() - s.dim())), out=parameter)
        for block, reference in zip(own, self.reference.blocks, strict=True):
            block.add_(reference)


def erfi(x: Tensor) -> Tensor:
    """The imaginary error function of float64 numbers within +-10, to about 14 digits.

    Rybicki's sum for Dawson's integral (Numerical Recipes, section 6.10), times 2/sqrt(pi) * exp(x^2):
    4/pi * sum over odd n of exp(-(n * h)^2) * sinh(2 * n * h * x) / n.
    """
    x = x.clamp(-10, 10).unsqueeze(-1)
    n, damping = _odd(x.dtype, x.device)
    return (0.5 * n * x).sinh_().mul_(damping).div_(n).sum(-1) * (4 / math.pi)


@cache
def _odd(kind: dtype, device: device) -> tuple[Tensor, Tensor]:
    """The odd n below 70, and exp(-(n * h)^2) for h = 1/4."""
    import torch

    n = torch.arange(1, 70, 2, dtype=kind, device=device)
    return n, torch.exp(-((n * 0.25) ** 2))
