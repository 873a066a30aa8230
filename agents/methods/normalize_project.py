"""Normalize-and-Project: layer normalisation, and weights that keep their initial norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng
    from plasticity_bench.specs import NetworkSpec


@dataclass
class NormalizeProject(Method):
    """Layer normalisation before every non-linearity, and after every update W <- W * ||W_0|| / ||W||
    (Frobenius norms) in every hidden layer: a normalised layer does not see the norm of its weights, but the
    larger it is the less an update turns them, so that learning slows down as weights grow.

    What is not such a weight: the output layer is not projected, as its scale does matter (``output``
    projects it too). Hidden biases, to which the normalisation's shifts come in addition, are taken out: set
    to 0 at the start and after every update. Gain and shift of a layer are scaled together, back to their
    initial joint norm, sqrt(units), which for ReLU changes the scale of the layer's outputs alone
    (``affine=false`` lets them drift). The moments of the optimizer are left alone.

    Sources: the abstract; an audit of the NeurIPS version by others (hidden weights, not the output; biases
    removed; gain and shift normalised jointly or regularised; a projection at every update or at every
    1,000th made no difference); a third-party port (RLE-Foundation/Plasticine: joint norm of gain and shift).
    The paper's body was not at hand and no code of the authors is known; which of the treatments of gain and
    shift each of their experiments uses was not verified. ``normalize=false`` projects the weights of the
    network as it is, the control without normalisation, and keeps biases.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="normalize-and-project",
        off="normalize=false,project=false",
        summary="layer normalisation, and hidden weights rescaled to their initial norm after every update",
        papers=(
            Paper(
                "Lyle, Clare and Zheng, Zeyu and Khetarpal, Khimya and Martens, James and "
                "van Hasselt, Hado and Pascanu, Razvan and Dabney, Will",
                "Normalization and effective learning rates in reinforcement learning",
                2024,
                "NeurIPS",
                arxiv="2407.01800",
            ),
        ),
        family="architecture",
        search_space={"affine": (False, True), "output": (False, True)},
    )
    normalize: bool = True  # false: no layer normalisation
    project: bool = True  # false: layer-norm
    affine: bool = True  # gain and shift are projected too
    output: bool = False  # the output layer's weights are projected too

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        from plasticity_bench.agents.methods.architecture import unnormalised

        return replace(unnormalised(spec, "layer"), norm="layer") if self.normalize else spec

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        #: Initial norms ``(...)`` of the projected layers' weights.
        self.norms = [_norm(layer, layer.weight.detach()) for layer in self._projected(layers)]
        self._restore(layers)

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        import torch

        for layer, norm in zip(self._projected(layers), self.norms, strict=True):
            _scale(layer, [layer.weight], norm / _norm(layer, layer.weight))
            if self.affine and layer.gain is not None and layer.shift is not None:
                both = _norm(layer, torch.stack([layer.gain, layer.shift], -1))
                _scale(layer, [layer.gain, layer.shift], layer.bias.shape[-1] ** 0.5 / both)
        self._restore(layers)

    def _projected(self, layers: Sequence[Layer]) -> list[Layer]:
        return [layer for layer in layers if self.project and (layer.hidden or self.output)]

    def _restore(self, layers: Sequence[Layer]) -> None:
        """Biases that a shift makes redundant stay 0."""
        import torch

        with torch.no_grad():
            for layer in layers:
                if self.project and layer.gain is not None:
                    layer.bias.zero_()


def _norm(layer: Layer, tensor: Tensor) -> Tensor:
    """L2 norm over all but the leading dimensions, never 0."""
    import torch

    seeds = layer.bias.dim() - 1
    return torch.linalg.vector_norm(tensor.flatten(seeds), dim=-1).clamp_min(1e-12)


def _scale(layer: Layer, tensors: Sequence[Tensor], factor: Tensor) -> None:
    """By one factor ``(...)`` for each seed."""
    for tensor in tensors:
        tensor.mul_(factor.view(*factor.shape, *[1] * (tensor.dim() - factor.dim())))
