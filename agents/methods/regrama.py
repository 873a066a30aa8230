"""ReGraMa: ReDo's reset of units that are found by their gradients instead of their activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.agents.methods.periodic_reset import PeriodicUnitReset
from plasticity_bench.agents.methods.units import incoming
from plasticity_bench.ranges import AT_LEAST_ONE, Range

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer


@dataclass
class ReGraMa(PeriodicUnitReset):
    """Every ``period`` updates the units with G <= tau are re-initialised, as Algorithm 1 of the paper.

    G = mean |gradient| / mean over the layer of it (Eq. 2). The text takes the gradient in the activation h,
    per example; the released code, which this follows, takes that of the batch's loss in the unit's incoming
    weights (mean over them; for a channel over its kernel). The code uses one batch, of 128 or 256 examples;
    here as many of the last batches as hold ``examples``, averaged after taking magnitudes. Reset as ReDo's:
    the text zeroes the outgoing weights, the copies of the code that were seen leave them; the bias is 0 as
    ReDo's, the code draws it. What the authors do with Adam's step count was not seen: it stays as in ReDo,
    unless ``fresh_count``. With tau < 0 no unit is reset.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="regrama",
        off="tau=-1",
        summary="units whose weights' gradients are small for their layer are reset periodically",
        papers=(
            Paper(
                "Liu, Jiashun and Wu, Zihao and Obando-Ceron, Johan and Castro, Pablo Samuel and "
                "Courville, Aaron and Pan, Ling",
                "Measure gradients, not activations! Enhancing neuronal activity in deep "
                "reinforcement learning",
                2025,
                "NeurIPS",
                arxiv="2505.24061",
            ),
        ),
        family="resets of units",
        search_space={"tau": (0.0, 0.003, 0.01, 0.03, 0.1), "period": (100, 300, 1000)},
        later=("fresh_count",),
        ranges={"tau": Range(-1), "period": AT_LEAST_ONE, "examples": AT_LEAST_ONE},
    )
    tau: float = 0.01  # inactive at or below this score; the paper's
    period: int = 1000  # updates between resets; the paper's
    examples: int = 128  # examples that a score is taken over
    fresh_count: bool = False  # whether Adam counts reset weights' steps again from 0

    def _magnitude(self, layer: Layer) -> Tensor:
        assert layer.weight.grad is not None
        return incoming(layer, layer.weight.grad).abs().mean(-1)
