"""A small stack of networks whose gradients the test makes up."""

from __future__ import annotations

import torch

from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.specs import NetworkSpec, OptimizerSpec

SEEDS = (3, 8)
SPECS = {
    "perceptron": NetworkSpec((6,), 4, (7, 5)),
    "convolution": NetworkSpec((2, 14, 14), 4, (7,), channels=(3, 5), kernel=3),
    "normalised": NetworkSpec((6,), 4, (7, 5), norm="layer"),
}
Tensors = list[torch.Tensor]


class Bench:
    """Two stacked networks whose gradients the test makes up."""

    def __init__(
        self, method: Method, kind: str = "perceptron", optimizer: str = "sgd", lr: float = 0.1
    ) -> None:
        self.network = StackedNetwork(SPECS[kind], SeedRng(SEEDS, "init"), torch.device("cpu"), torch.float64)
        self.layers = self.network.layers
        self.optimizer = FlatOptimizer(self.network.flat, self.network.gradient, OptimizerSpec(optimizer, lr))
        self.method = method
        self.generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            method.setup(self.layers, SeedRng(SEEDS, "method"))

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> Tensors:
        """Makes one update with random gradients, and returns them."""
        self.network.gradient.copy_(
            torch.randn(self.network.gradient.shape, generator=self.generator) * scale
        )
        gradients = [p.grad.clone() for p in trainable(self.layers) if p.grad is not None]
        self.method.before_update(self.layers, self.optimizer)
        self.optimizer.step()
        self.method.after_update(self.layers, self.optimizer)
        return gradients

    @torch.no_grad()
    def boundary(self) -> None:
        self.method.on_task_end(self.layers, self.optimizer)

    @torch.no_grad()
    def force(self) -> Tensors:
        """The gradients that the method adds to zero gradients."""
        self.network.gradient.zero_()
        self.method.before_update(self.layers, self.optimizer)
        return [p.grad.clone() for p in trainable(self.layers) if p.grad is not None]

    @torch.no_grad()
    def move(self, size: float = 0.3) -> None:
        """Moves all weights at random."""
        self.network.flat.add_(torch.randn(self.network.flat.shape, generator=self.generator) * size)

    def now(self) -> Tensors:
        return [p.detach().clone() for p in trainable(self.layers)]
