"""L2-ER: weight decay, and a reward for the effective rank of the hidden features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.blocks import blocks
from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.decay import decay
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import NOT_NEGATIVE

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class L2EffectiveRank(Method):
    """Loss + strength/2 * ||theta||^2 - rank * mean over hidden layers of the features' effective rank.

    Effective rank: exp of the entropy of the normalised singular values of the batch's activations, examples
    by units (Roy & Vetterli 2007), differentiated through the network. As in a public copy of the authors'
    code: coupled weight decay, the mean over all hidden layers, coefficient 0.01, the batch that is learned
    from (``learn`` of one version; another version takes an SGD step of 0.01 on the examples of the last 100
    updates instead). The paper's body was not seen. A convolution's positions count as examples (not in
    these sources). Singular values below 1e-6 of the largest count as 0 and take no gradient.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="l2-er",
        off="strength=0,rank=0",
        summary="weight decay and a reward for the effective rank of the hidden features",
        papers=(
            Paper(
                "He, Naicheng and Guo, Kaicheng and Prakash, Arjun and Tiwari, Saket and "
                "Tao, Ruo Yu and Serapio, Tyrone and Greenwald, Amy and Konidaris, George",
                "Spectral Collapse Drives Loss of Plasticity in Deep Continual Learning",
                2025,
                arxiv="2509.22335",
            ),
        ),
        family="decay and regularisation",
        search_space={"strength": (1e-5, 1e-4, 1e-3, 1e-2), "rank": (1e-3, 1e-2, 1e-1)},
        ranges={"strength": NOT_NEGATIVE, "rank": NOT_NEGATIVE},
    )
    needs_features: ClassVar[bool] = True
    strength: float = 1e-3  # coefficient of the decay, torch's weight_decay
    rank: float = 0.01  # coefficient of the mean effective rank

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.hidden = sum(layer.hidden for layer in layers)

    def uses(self, hook: str) -> bool:
        return super().uses(hook) and (hook != "feature_penalty" or self.rank != 0)

    def feature_penalty(self, layer: Layer, features: Tensor) -> Tensor:
        if layer.kind == "conv":
            features = features.movedim(-3, -1).flatten(-4, -2)
        return -self.rank / self.hidden * differentiable_effective_rank(features)

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        for block in blocks(layers):
            decay(block, block, self.strength, optimizer, decoupled=False)


def differentiable_effective_rank(matrix: Tensor) -> Tensor:
    """float64 effective ranks ``(...)`` of matrices ``(..., m, n)``, differentiable; 0 if all is zero."""
    import torch

    matrix = matrix.double()
    wide = matrix.shape[-1] > matrix.shape[-2]
    squares = torch.linalg.eigvalsh(matrix @ matrix.mT if wide else matrix.mT @ matrix)
    kept = squares > 1e-12 * squares[..., -1:].clamp_min(1e-200)
    # 1 in the place of what is left out: a root or logarithm of 0 would make the gradient nan.
    values = torch.where(kept, torch.where(kept, squares, 1.0).sqrt(), 0.0)
    share = values / values.sum(-1, keepdim=True).clamp_min(1e-100)
    entropy = -(share * torch.where(kept, share, 1.0).log()).sum(-1)
    return torch.where(kept.any(-1), entropy.exp(), 0.0)
