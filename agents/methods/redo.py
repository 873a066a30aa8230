"""ReDo: recycling of dormant units, found by their activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.agents.methods.periodic_reset import PeriodicUnitReset
from plasticity_bench.agents.methods.units import activations
from plasticity_bench.ranges import AT_LEAST_ONE, Range

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer


@dataclass
class ReDo(PeriodicUnitReset):
    """Every ``period`` updates the tau-dormant units are re-initialised, as Algorithm 1 of the paper.

    Definition 3.1 (Eq. 1): score = E|h| / mean over the layer of E|h|, dormant if score <= tau. Reset as
    in the authors' code (google/dopamine, labs/redo): fresh incoming weights, bias 0, outgoing weights 0,
    Adam's moments of the weights cleared (here the bias's too), its step count kept; ``fresh_count`` counts
    again from 0, without which the authors of a port to torch (timoklein/redo) saw new units die at once. The
    expectation is over the last updates' batches, at least ``examples`` examples; the authors draw a batch
    from the replay buffer. A channel is one unit, scored by its mean over positions. With tau < 0 no unit is
    dormant.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="redo",
        off="tau=-1",
        summary="units whose activations are small for their layer are reset periodically",
        papers=(
            Paper(
                "Sokar, Ghada and Agarwal, Rishabh and Castro, Pablo Samuel and Evci, Utku",
                "The Dormant Neuron Phenomenon in Deep Reinforcement Learning",
                2023,
                "ICML",
                arxiv="2302.12902",
            ),
        ),
        family="resets of units",
        search_space={"tau": (0.0, 0.01, 0.025, 0.05, 0.1, 0.2), "period": (100, 300, 1000)},
        later=("fresh_count",),
        ranges={"tau": Range(-1), "period": AT_LEAST_ONE, "examples": AT_LEAST_ONE},
    )
    tau: float = 0.1  # dormant at or below this score; the paper's, 0.025 in its default setting
    period: int = 1000  # updates between resets
    examples: int = 64  # examples that a score is taken over
    fresh_count: bool = False  # whether Adam counts reset weights' steps again from 0; the authors do not

    def _magnitude(self, layer: Layer) -> Tensor:
        return activations(layer).abs().mean(-2)
