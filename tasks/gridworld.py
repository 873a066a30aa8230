"""shuffled-gridworld: walking to a goal, while a part of the pixels changes places from task to task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.ranges import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, Range
from plasticity_bench.specs import NetworkSpec, OptimizerSpec, PPOSpec
from plasticity_bench.tasks.base import ControlStream, StreamInfo

if TYPE_CHECKING:
    from plasticity_bench.tasks.gridworld_worlds import Gridworlds, Sight

SIDE = 5  # cells
MAP_PIXELS = 2 * SIDE**2  # a map of the agent and one of the goal


@dataclass(frozen=True)
class ShuffledGridworld(ControlStream):
    """The first task shows the pixels in a random order; every later one shuffles ``moved`` of them."""

    info: ClassVar[StreamInfo] = StreamInfo(
        name="shuffled-gridworld",
        version=1,
        summary="PPO walks to a goal in a 5x5 gridworld; 10 of its 50 pixels change places in every task",
        source=(
            "a small version of the permuted gridworld of Juliani & Ash 2024, arXiv:2405.19153; permutations "
            "compound as in Dohare et al. 2024, doi:10.1038/s41586-024-07711-7"
        ),
        deviations=(
            "5x5 cells, a new goal for every episode, episodes of at most 20 steps (source: larger, "
            "several jewels to collect and to avoid, walls, 100 steps)",
            "10 of the 50 pixels change places per task (source: all of them)",
            "50 tasks of 16,384 steps (source: few and long ones)",
            "16 environments with rollouts of 32 steps, 4 epochs, batch 128, Adam 1e-3, no entropy bonus, "
            "two hidden layers of 64 for the policy and for the value network (source: rollouts of 1,024, 3 "
            "epochs, batch 64, Adam 5e-4, entropy 0.02, 256 units)",
            "performance is the mean return of the episodes that ended in the last fifth of a task",
        ),
        seeds=8,
        chance=0.18,  # measured: a policy that acts at random
        score="final_performance",
        unit="return",
        loss="ppo",
        ranges={
            "rollouts": AT_LEAST_ONE,
            "moved": Range(0, MAP_PIXELS),
            "lr": POSITIVE,
            "entropy": NOT_NEGATIVE,
        },
    )
    discrete: ClassVar[bool] = True
    speed: ClassVar[float] = 4
    network: ClassVar[NetworkSpec] = NetworkSpec((MAP_PIXELS,), 4, (64, 64))

    tasks: int = 50  # number of tasks
    rollouts: int = 32
    moved: int = 10  # pixels that are shuffled between two tasks
    lr: float = 1e-3  # Adam
    entropy: float = 0.0  # coefficient of the entropy bonus

    @property
    def ppo(self) -> PPOSpec:
        return PPOSpec(environments=16, rollout=32, epochs=4, batch=128, entropy=self.entropy)

    @property
    def optimizer(self) -> OptimizerSpec:
        return OptimizerSpec(lr=self.lr, eps=1e-5)

    def draw(self, seed: int, index: int) -> Sight:
        """The order of the pixels follows from those of the tasks before."""
        from plasticity_bench.seeding import generator
        from plasticity_bench.tasks.gridworld_worlds import Sight

        rng = generator(seed, "data", 0)
        pixels = rng.permutation(MAP_PIXELS)
        for task in range(1, index + 1):
            rng = generator(seed, "data", task)
            moved = rng.permutation(MAP_PIXELS)[: self.moved]
            pixels[moved] = pixels[rng.permutation(moved)]
        return Sight(pixels, rng)

    def worlds(self, seeds: Sequence[int]) -> Gridworlds:
        from plasticity_bench.tasks.gridworld_worlds import Gridworlds

        return Gridworlds(seeds, self.ppo.environments, SIDE, self.draw)
