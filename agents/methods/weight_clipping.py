"""Weight clipping: no weight may leave a multiple of its initial range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.blocks import Aligned, blocks
from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import NOT_NEGATIVE

if TYPE_CHECKING:
    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class WeightClipping(Method):
    """After every update, weights and biases are clipped to +-kappa times the range of the initial weights.

    In PyTorch's default initialisation that range is 1 / sqrt(fan_in) for weights and biases, and this is
    the authors' code (github.com/mohmdelsayed/weight-clipping, core/optim/weight_clipping.py), which has no
    other; all layers are clipped. If a stream starts from another uniform range, that range counts, for
    biases too: kappa of at least 1 leaves initial weights alone. Orthogonal weights count as 1/sqrt(fan_in).
    Their code's default is kappa 1; the runs they plot used 1 and 2 on input-permuted MNIST, with Adam 3 and
    4 on label-permuted EMNIST. Gain and shift of a normalisation are left alone (not in the source).
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="weight-clipping",
        off="kappa=1e9",
        summary="weights and biases are clipped to a multiple of their initial range",
        papers=(
            Paper(
                "Elsayed, Mohamed and Lan, Qingfeng and Lyle, Clare and Mahmood, A. Rupam",
                "Weight Clipping for Deep Continual and Reinforcement Learning",
                2024,
                "Reinforcement Learning Journal 5",
                arxiv="2407.01704",
            ),
        ),
        family="decay and regularisation",
        search_space={"kappa": (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)},
        version=2,
        ranges={"kappa": NOT_NEGATIVE},
    )
    kappa: float = 2.0  # multiple of the initial range

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.low, self.high = Aligned(layers), Aligned(layers)
        starts = [layer.weight_bound or layer.fan_in**-0.5 for layer in layers for _ in layer.parameters()]
        bounds = [self.kappa * start for start in starts]
        for low, high, bound in zip(self.low, self.high, bounds, strict=True):
            low.fill_(-bound)
            high.fill_(bound)

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        for block, low, high in zip(blocks(layers), self.low.blocks, self.high.blocks, strict=True):
            block.clamp_(low, high)
