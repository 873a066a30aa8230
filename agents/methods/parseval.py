"""Parseval regularisation: rows of hidden weight matrices stay orthogonal and of one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import NOT_NEGATIVE

if TYPE_CHECKING:
    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer


@dataclass
class Parseval(Method):
    """Loss + strength * sum over hidden layers of (64 / width)^2 * ||W W^T - scale * I||_F^2.

    As in the authors' code (github.com/wechu/parseval_reg, agent.py): scale 2, the square of the gain of
    their orthogonal initialisation; strength tuned at width 64, 1e-3 or 1e-4 by environment; not on the
    output layer. Width is the number of a layer's units (theirs are all equally wide). Our networks do not
    start orthogonal, so the term first has to make them so. Convolutions are not in the source; they are
    taken as (out, in * kh * kw).
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="parseval",
        off="strength=0",
        summary="keeps the rows of hidden weight matrices orthogonal and of squared length 2",
        papers=(
            Paper(
                "Chung, Wesley and Cherif, Lynn and Precup, Doina and Meger, David",
                "Parseval Regularization for Continual Reinforcement Learning",
                2024,
                "NeurIPS",
                arxiv="2412.07224",
            ),
        ),
        family="decay and regularisation",
        search_space={"strength": (1e-5, 1e-4, 1e-3, 1e-2)},
        ranges={"strength": NOT_NEGATIVE, "scale": NOT_NEGATIVE},
    )
    needs_order: ClassVar[bool] = True
    strength: float = 1e-3  # coefficient of the penalty at width 64
    scale: float = 2.0  # squared length that rows are drawn to

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        from plasticity_bench.agents.methods.spectral import as_matrix

        for layer in layers:
            if not layer.hidden:
                continue
            assert layer.weight.grad is not None
            weight = as_matrix(layer, layer.weight)
            gram = weight @ weight.mT
            gram.diagonal(dim1=-2, dim2=-1).sub_(self.scale)
            factor = 4 * self.strength * (64 / weight.shape[-2]) ** 2
            layer.weight.grad.add_((gram @ weight).view_as(layer.weight), alpha=factor)
