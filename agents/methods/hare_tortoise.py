"""Hare and Tortoise: a slow average of the weights predicts, and the trained ones return to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from plasticity_bench.agents.methods.base import Method, MethodInfo, before_next
from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import BELOW_ONE, NOT_NEGATIVE

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng


@dataclass
class HareTortoise(Method):
    """tortoise <- decay * tortoise + (1 - decay) * hare after every update; every ``period`` updates
    hare <- tortoise. The hare is trained; online and final performance and the diagnostics of units are the
    tortoise's, the norms the hare's. Both start from the initial weights.

    As in the authors' code (github.com/dojeon-ai/Hare-Tortoise, src/trainers/base.py): decay 0.999 in all
    experiments, a return every 10 epochs, which on CIFAR-10 with their batches of 256 is about 2,000 updates,
    everything is averaged and returned in this way, running statistics of batch normalisation too. The
    optimizer keeps its moments at a return; the paper's text on that was not seen (``clear`` clears them). In
    their code the two share memory from a return to the next update, so that the tortoise makes that update's
    whole step; taken for an oversight, not copied.

    The average spans about 1 / (1 - decay) updates: on streams whose tasks are shorter, as permuted-digits'
    112 updates, the default predicts with weights of several tasks at once, which online performance counts
    against it; ``predict="hare"`` scores the trained weights in place of the average. In PPO the hare acts,
    as the data must be of the policy in training, and everything recorded is the hare's (the authors train
    off-policy); there the tortoise is what the hare returns to.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="hare-tortoise",
        off="decay=0",
        summary="a moving average of the weights predicts, and the trained weights return to it periodically",
        papers=(
            Paper(
                "Lee, Hojoon and Cho, Hyeonseo and Kim, Hyunseung and Kim, Donghu and "
                "Min, Dugki and Choo, Jaegul and Lyle, Clare",
                "Slow and Steady Wins the Race: Maintaining Plasticity with Hare and Tortoise Networks",
                2024,
                "ICML",
                arxiv="2406.02596",
            ),
        ),
        family="shrinking and perturbing",
        later=("predict",),
        search_space={"decay": (0.9, 0.97, 0.99, 0.997, 0.999), "period": (100, 500, 2000, 10_000)},
        ranges={"decay": BELOW_ONE, "period": NOT_NEGATIVE},
    )
    schedule: ClassVar[tuple[str, ...]] = ("updates",)
    decay: float = 0.999  # of the average; 0: the tortoise is the hare
    period: int = 2000  # updates between returns; 0: never, which leaves averaged predictions
    clear: bool = False  # true: a return clears the optimizer's moments, not its step count
    predict: str = "tortoise"  # whose predictions are scored: "tortoise" (the average) or "hare"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.predict not in ("tortoise", "hare"):
            raise ValueError(f'predict={self.predict} is neither "tortoise" nor "hare"')

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        from plasticity_bench.agents.layers import copies

        self.updates = 0
        self.tortoise = copies(layers)

    def predictor(self) -> Sequence[Layer] | None:
        return self.tortoise if self.predict == "tortoise" else None

    def repeats(self, batch: int) -> int:
        return before_next(self.updates, self.period)

    def skip(self, updates: int) -> None:
        self.updates += updates

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        import torch

        from plasticity_bench.agents.layers import trainable

        slow, fast = self._averages(), [tensor.detach() for layer in layers for tensor in layer.state()]
        # Two products and a sum, rounded one by one: fused they would depend on how many seeds train.
        torch._foreach_mul_(slow, self.decay)
        torch._foreach_add_(slow, torch._foreach_mul(fast, 1 - self.decay))
        self.updates += 1
        if self.period and self.updates % self.period == 0:
            torch._foreach_copy_(fast, slow)
            for parameter in trainable(layers) if self.clear else ():
                for moment in optimizer.moments(parameter):
                    moment.zero_()

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "tortoise": self._averages()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = state["updates"]
        for tensor, saved in zip(self._averages(), state["tortoise"], strict=True):
            tensor.copy_(saved)

    def _averages(self) -> list[Tensor]:
        return [tensor.detach() for layer in self.tortoise for tensor in layer.state()]
