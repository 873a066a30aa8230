"""Clipping the gradients of several networks together, every seed by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from plasticity_bench.agents.layers import Layer
from plasticity_bench.agents.trained_network import TrainedNetwork


class GradientClipper:
    """Scales a seed's gradients down if their norm over actor and critic exceeds a limit.

    Args:
        actor: The policy network.
        critic: The value network.
        max_norm: The limit.
    """

    def __init__(self, actor: TrainedNetwork, critic: TrainedNetwork, max_norm: float) -> None:
        self.parts, self.max_norm = (actor, critic), max_norm
        #: In the order in which stable-baselines3's policy lists its parameters and adds up their norms.
        self.gradients = _in_order(actor.layers, critic.layers)
        # Views, made once: there are many small gradients, and a call costs more than their arithmetic.
        self.rows = [gradient.flatten(1) for gradient in self.gradients]
        self.factor = self.rows[0].new_ones(len(self.rows[0]))
        self.factors = [self.factor.unsqueeze(1)] * len(self.rows)

    def clip(self) -> None:
        """Clips the gradients in place."""
        if len(self.factor) == 1:
            norms = torch.stack(torch._foreach_norm(self.rows)).unsqueeze(0)
        else:
            norms = torch.stack([torch.linalg.vector_norm(row, dim=1) for row in self.rows], 1)
        total = torch.linalg.vector_norm(norms, dim=1)
        torch.clamp(self.max_norm / (total + 1e-6), max=1.0, out=self.factor)
        if len(self.factor) == 1:
            for part in self.parts:
                part.network.gradient.mul_(self.factor)
        else:
            torch._foreach_mul_(self.rows, self.factors)


def _in_order(actor: Sequence[Layer], critic: Sequence[Layer]) -> list[torch.Tensor]:
    def listed(layers: Sequence[Layer]) -> list[torch.nn.Parameter]:
        return [p for layer in layers for p in layer.trainable() if p is not layer.log_std]

    log_std = [layer.log_std for layer in actor if layer.log_std is not None]
    hidden = [*listed(actor[:-1]), *listed(critic[:-1])]
    found = [p.grad for p in (*log_std, *hidden, *listed(actor[-1:]), *listed(critic[-1:]))]
    return [gradient for gradient in found if gradient is not None]
