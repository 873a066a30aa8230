"""Spectral regularisation: every layer's largest singular value stays near one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import AT_LEAST_ONE, NOT_NEGATIVE

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


def as_matrix(layer: Layer, tensor: Tensor) -> Tensor:
    """A weight or its gradient as ``(..., out, in)``; a convolution's inputs are channels times kernel."""
    return tensor if layer.kind == "linear" else tensor.flatten(-3)


@dataclass
class Spectral(Method):
    """Loss + strength * sum over layers of (sigma_max(W)^k - 1)^2 + ||b||^(2k).

    The largest singular value comes from one step of power iteration per update on vectors that are kept;
    with u, v at hand its gradient is u v^T. Gains g and shifts h of a normalisation take (g^k - 1)^2 and
    h^(2k), element by element. Rule, k = 2, one iteration, strength 1e-4, flattened convolutions and appendix
    A.7 for normalisation were read in a third party's port that quotes the paper; the authors' code and the
    paper's body were not at hand. The output layer is regularised like the others, as in that port.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="spectral",
        off="strength=0",
        summary="keeps each layer's largest singular value near one",
        papers=(
            Paper(
                "Lewandowski, Alex and Bortkiewicz, Michał and Kumar, Saurabh and "
                "György, András and Schuurmans, Dale and Ostaszewski, Mateusz and "
                "Machado, Marlos C.",
                "Learning Continually by Spectral Regularization",
                2025,
                "ICLR",
                arxiv="2406.06811",
            ),
        ),
        family="decay and regularisation",
        search_space={"strength": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)},
        ranges={"strength": NOT_NEGATIVE, "k": AT_LEAST_ONE},
    )
    strength: float = 1e-4  # coefficient of the penalty
    k: int = 2  # exponent of the singular value

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        #: The left singular vector of every layer, found so far: ``(..., out)``.
        self.left = [_unit(rng.normal(layer.bias)) for layer in layers]

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        k = self.k
        for i, layer in enumerate(layers):
            assert layer.weight.grad is not None
            assert layer.bias.grad is not None
            weight = as_matrix(layer, layer.weight)
            # Row vectors: in this form torch computes a seed's last digits in the same way in any stack.
            right = _unit((self.left[i].unsqueeze(-2) @ weight).squeeze(-2))
            image = (right.unsqueeze(-2) @ weight.mT).squeeze(-2)
            sigma = image.norm(dim=-1, keepdim=True)
            self.left[i].copy_(_unit(image))
            slope = (2 * self.strength * k) * (sigma**k - 1) * sigma ** (k - 1)
            step = (slope * self.left[i]).unsqueeze(-1) * right.unsqueeze(-2)
            layer.weight.grad.add_(step.view_as(layer.weight))
            size = layer.bias.norm(dim=-1, keepdim=True)
            layer.bias.grad.add_((2 * self.strength * k) * size ** (2 * k - 2) * layer.bias)
            if layer.gain is not None and layer.shift is not None:
                assert layer.gain.grad is not None
                assert layer.shift.grad is not None
                slope = (2 * self.strength * k) * (layer.gain**k - 1) * layer.gain ** (k - 1)
                layer.gain.grad.add_(slope)
                layer.shift.grad.add_((2 * self.strength * k) * layer.shift ** (2 * k - 1))


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-12)
