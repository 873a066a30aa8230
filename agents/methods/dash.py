"""DASH: at a task boundary, weights shrink unless they point along the new task's negative gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.blocks import listed
from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import AT_LEAST_ONE, SHARE

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class Dash(Method):
    """G <- (1 - alpha) * G + alpha * (-gradient); then each weight vector w *= clip(cos(G, w), floor, 1).

    As in the authors' code (github.com/baekrok/DASH-Direction-Aware-SHrinking, utils/train_utils.py; alpha
    and lambda 0.3): a vector is a unit's inputs in a linear layer, one kh x kw kernel in a convolution, all
    biases of a layer; the optimizer keeps its moments. The authors stop training when new data arrive and
    take G from one pass over all data, old and new, at fixed weights. An online learner gets no such pass:
    here G comes from the first ``updates`` updates of the new task, and the weights shrink after the last of
    them. The authors' networks are normalised, so that a shrunk layer computes the same; without
    normalisation the default floor takes most of the signal at every boundary (permuted-digits collapses).
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="dash",
        off="floor=1",
        summary="shrinks weights that do not point along the new task's negative gradient",
        papers=(
            Paper(
                "Shin, Baekrok and Oh, Junsoo and Cho, Hanseul and Yun, Chulhee",
                "DASH: Warm-Starting Neural Network Training in Stationary Settings without Loss of "
                "Plasticity",
                2024,
                "NeurIPS",
                arxiv="2410.23495",
            ),
        ),
        family="shrinking and perturbing",
        task_boundaries=True,
        search_space={"floor": (0.3, 0.5, 0.7, 0.9, 0.95), "alpha": (0.1, 0.3)},
        ranges={"floor": SHARE, "alpha": SHARE, "updates": AT_LEAST_ONE},
    )
    schedule: ClassVar[tuple[str, ...]] = ("left", "mean")
    floor: float = 0.3  # least factor, the paper's lambda; 1: nothing shrinks
    alpha: float = 0.3  # rate of the mean of gradients
    updates: int = 10  # updates of a task that G is taken from; (1 - 0.3)^10 = 0.03

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.left = 0  # updates until the weights shrink; 0: no boundary is near
        self.mean: list[Tensor] = []

    def repeats(self, batch: int) -> int:
        return 0 if self.left else super().repeats(batch)

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        if self.left:
            for parameter, mean in zip(listed(layers), self.mean, strict=True):
                assert parameter.grad is not None
                mean.lerp_(parameter.grad.neg(), self.alpha)

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        from torch import cosine_similarity

        if not self.left:
            return
        self.left -= 1
        if self.left:
            return
        means = iter(self.mean)
        for layer in layers:
            for parameter in layer.parameters():
                is_kernel = layer.kind == "conv" and parameter is layer.weight
                vectors, mean = (t.flatten(-2) if is_kernel else t for t in (parameter, next(means)))
                scale = cosine_similarity(mean, vectors, dim=-1).clamp(self.floor, 1).unsqueeze(-1)
                parameter.mul_(scale.unsqueeze(-1) if is_kernel else scale)

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        self.left = self.updates
        self.mean = [p.new_zeros(p.shape) for p in listed(layers)]
