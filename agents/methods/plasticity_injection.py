"""Plasticity injection: a fresh head learns what is to be added to a head that is frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.agents.methods.units import remembered
from plasticity_bench.ranges import AT_LEAST_ONE, NOT_NEGATIVE

if TYPE_CHECKING:
    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng
    from plasticity_bench.specs import NetworkSpec


@dataclass
class PlasticityInjection(Method):
    """Once, at the end of task ``after``: with phi the encoder and h the head by then, the network becomes
    h(phi(x)) + h'_1(phi(x)) - h'_2(phi(x)) (Expression 1 of the paper), h'_1 = h'_2 fresh from the initial
    distribution. h and h'_2 are frozen, h'_1 and the encoder go on learning, the encoder through all three.
    The outputs are the same before and after, and so is the number of trained parameters.

    h'_1 takes the place of h in the network's layers and so in the optimizer, with moments cleared; copies of
    h and h'_2 are frozen branches. The paper's RMSProp kept its state, and clearing all of it did worse
    there, as a third party reports (timoklein/plasticity-injection-torch); what belongs to new weights is
    cleared here all the same, as the old moments are of others. The encoder's are kept. RMSProp counts no
    steps; Adam's count stays, unless ``fresh_count``. A Gaussian policy's log_std belongs to no head and
    stays.

    The head is the last ``head`` layers: with 2 a hidden linear layer and the output layer, all after the
    convolutions of a DQN and of this benchmark's convolutional networks (from memory: the paper's choice for
    Atari); with ``head`` as large as the network or larger there is no encoder. Frozen heads predict: without
    dropout, with running statistics. Diagnostics of units see the trained layers, so h'_1. The paper injects
    once, a quarter or half of the way (not verified); a method does not know how many tasks there will be,
    and 5 is half of the shortest streams': on long ones set it. With as many tasks as the stream has, or
    more, nothing would ever be injected: such a run is refused.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="plasticity-injection",
        off="after=0",
        summary="after some task the head is frozen and a fresh one learns what to add to it",
        papers=(
            Paper(
                "Nikishin, Evgenii and Oh, Junhyuk and Ostrovski, Georg and Lyle, Clare and "
                "Pascanu, Razvan and Dabney, Will and Barreto, André",
                "Deep Reinforcement Learning with Plasticity Injection",
                2023,
                "NeurIPS",
                arxiv="2305.15555",
            ),
        ),
        family="resets of layers",
        task_boundaries=True,
        acts_after="after",
        search_space={"after": (1, 2, 3, 5, 7), "head": (1, 2, 3)},
        later=("fresh_count",),
        ranges={"after": NOT_NEGATIVE, "head": AT_LEAST_ONE},
    )
    schedule: ClassVar[tuple[str, ...]] = ("tasks",)
    after: int = 5  # tasks before the injection; 0: never
    head: int = 2  # number of last layers that make the head
    fresh_count: bool = False  # whether Adam counts the fresh head's steps again from 0

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        return replace(spec, injected=self.head) if self.after else spec

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng = rng
        self.tasks = 0  # that have ended

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        from plasticity_bench.agents.layers import copies, renew

        self.tasks += 1
        if self.tasks != self.after:
            return
        head = layers[max(0, len(layers) - self.head) :]
        old = copies(head)
        renew(head, self.rng)
        for layer, frozen in zip(head, old, strict=True):
            for parameter in layer.trainable():
                if parameter is layer.log_std and frozen.log_std is not None:
                    parameter.copy_(frozen.log_std)
                    continue
                for tensor in remembered(optimizer, parameter, self.fresh_count):
                    tensor.zero_()
        # In this order the fresh heads cancel exactly, before h is added.
        head[0].branches[:] = [(-1, copies(head)), (1, old)]
