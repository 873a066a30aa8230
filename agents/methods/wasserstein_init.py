"""Wasserstein regularisation: the distribution of a layer's weights stays near the initial one."""

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
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class WassersteinInit(Method):
    """Loss + strength * sum over tensors of mean((sort theta - sort theta_initial)^2).

    The mean is the squared 2-Wasserstein distance between the two empirical distributions, so weights may
    trade places at no cost. Read in a third party's code ("w-regen", strength 1e-3, of
    github.com/wechu/parseval_reg), which sorts every weight tensor and every bias by itself, as here. Whether
    the authors divide by the number of weights could not be seen; with the division 1e-3 is far too weak to
    act with Adam on our streams, hence the default.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="wasserstein-init",
        off="strength=0",
        summary="keeps the distribution of each layer's weights near the initial one",
        papers=(
            Paper(
                "Lewandowski, Alex and Kumar, Saurabh and Schuurmans, Dale and György, András and "
                "Machado, Marlos C.",
                "Learning Continually by Spectral Regularization",
                2024,
                arxiv="2406.06811v1",
            ),
            Paper(
                "Lewandowski, Alex and Tanaka, Haruto and Schuurmans, Dale and Machado, Marlos C.",
                "Directions of Curvature as an Explanation for Loss of Plasticity",
                2023,
                arxiv="2312.00246",
            ),
        ),
        family="decay and regularisation",
        search_space={"strength": (1e-3, 1e-1, 1.0, 3.0, 10.0, 30.0, 100.0)},
        ranges={"strength": NOT_NEGATIVE},
    )
    strength: float = 10.0  # coefficient of the sum of mean squared differences

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        #: Sorted initial values of weight and bias of every layer, and the current order of the values.
        self.initial, self.order = [], []
        for layer in layers:
            for values in (layer.weight.flatten(-2 if layer.kind == "linear" else -4), layer.bias):
                ordered, order = values.detach().sort(dim=-1, stable=True)
                self.initial.append(ordered)
                self.order.append(order)

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        from plasticity_bench.agents.layers import parameters

        for i, (parameter, initial) in enumerate(zip(parameters(layers), self.initial, strict=True)):
            assert parameter.grad is not None
            # In the last update's order the values are nearly sorted, which sorts in less time.
            values = parameter.view(initial.shape).gather(-1, self.order[i])
            values, moves = values.sort(dim=-1, stable=True)
            self.order[i].copy_(self.order[i].gather(-1, moves))
            force = values.sub_(initial).mul_(2 * self.strength / initial.shape[-1])
            force = initial.new_empty(initial.shape).scatter_(-1, self.order[i], force)
            parameter.grad.add_(force.view_as(parameter))
