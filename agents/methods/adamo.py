"""AdamO: a step toward orthogonal weights in addition to the optimizer's own, which follows the task's
loss alone."""

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
class AdamO(Method):
    """W <- W + (the optimizer's step) - lr * strength * 4 W (W^T W - I), as AdamW decouples decay.

    That is the gradient of ||W^T W - I||_F^2, and of ||W W^T - I||_F^2 if W is wide (4 (W W^T - I) W),
    at the weights before the step; every layer takes it, the output layer too. Rule, step size (the
    optimizer's) and the sum over all layers were read in a third party's documentation of it
    (junaidaliop.github.io/zij/math/adamo) and strength 1e-3 in notes of another; the paper's experiments
    were not seen. At our learning rates 1e-3 hardly acts within a stream, hence the default. ``parseval`` is
    the coupled form for rows of squared length 2. Convolutions are not in these sources; they are taken as
    (out, in * kh * kw).
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="adamo",
        off="strength=0",
        summary="a separate step after the optimizer's keeps all singular values of the weights near one",
        papers=(
            Paper(
                "Rosseau, Andries and Müller, Robert and Nowé, Ann",
                "Preserving Plasticity in Continual Learning via Dynamical Isometry",
                2026,
                "ICML",
                arxiv="2606.09762",
            ),
        ),
        family="optimizers",
        search_space={"strength": (1e-3, 1e-2, 1e-1, 1.0, 10.0)},
        ranges={"strength": NOT_NEGATIVE},
    )
    strength: float = 0.1  # coefficient of the penalty

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        from plasticity_bench.agents.methods.spectral import as_matrix

        for layer in layers:
            weight = as_matrix(layer, layer.weight)
            wide = weight.shape[-1] > weight.shape[-2]
            gram = weight @ weight.mT if wide else weight.mT @ weight
            gram.diagonal(dim1=-2, dim2=-1).sub_(1)
            step = gram @ weight if wide else weight @ gram
            layer.weight.sub_(step.view_as(layer.weight), alpha=4 * optimizer.lr * self.strength)
