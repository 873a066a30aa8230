"""FIRE: at a task boundary every weight matrix becomes the nearest one with equal singular values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import NOT_NEGATIVE

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer


@dataclass
class Fire(Method):
    """At a task boundary W <- sqrt(out / in) / (kh * kw) * W (W^T W)^(-1/2), by Newton-Schulz iterations.

    As in the authors' code (the README of github.com/isaac7778/FIRE): X = W / ||W||_F, ten times
    X <- 1.5 X - 0.5 X X^T X (on the transposed matrix if it is wide); a convolution's matrices are those
    of its kernel positions, (out, in) each; the output layer too; biases stay. A matrix of zeros stays
    (theirs becomes nan). What becomes of the optimizer's moments was not seen: here they stay. An agent that
    does not know boundaries would need a period, as theirs in reinforcement learning.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="fire",
        off="iterations=0",
        summary="weights are made orthogonal for every task, with as little change as possible",
        papers=(
            Paper(
                "Han, Isaac and Park, Sangyeon and Oh, Seungwon and Kim, Donghu and "
                "Lee, Hojoon and Kim, Kyung-Joong",
                "FIRE: Frobenius-Isometry Reinitialization for Balancing the Stability-Plasticity Tradeoff",
                2026,
                "ICLR",
                arxiv="2602.08040",
            ),
        ),
        family="shrinking and perturbing",
        task_boundaries=True,
        search_space={"iterations": (2, 5, 10, 20)},
        ranges={"iterations": NOT_NEGATIVE},
    )
    iterations: int = 10  # of Newton-Schulz; few leave small singular values small; 0: nothing is changed

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        if not self.iterations:
            return
        for layer in layers:
            weight: Tensor = layer.weight
            positions = 1
            if layer.kind == "conv":  # (..., out, in, kh, kw) -> (..., kh, kw, out, in)
                weight = layer.weight.movedim((-2, -1), (-4, -3))
                positions = weight.shape[-4] * weight.shape[-3]
            out, columns = weight.shape[-2:]
            weight.copy_(newton_schulz(weight, self.iterations).mul_((out / columns) ** 0.5 / positions))


def newton_schulz(matrix: Tensor, iterations: int) -> Tensor:
    """Matrices ``(..., m, n)`` with the same singular vectors and singular values that tend to 1."""
    wide = matrix.shape[-1] > matrix.shape[-2]
    x = (matrix.mT if wide else matrix).contiguous()
    # The norm of one row of numbers: torch then adds a seed's in the same order in any stack.
    x = x / x.flatten(-2).norm(dim=-1).clamp_min(1e-30).unsqueeze(-1).unsqueeze(-1)
    for _ in range(iterations):
        x = 1.5 * x - 0.5 * (x @ (x.mT @ x))
    return x.mT if wide else x
