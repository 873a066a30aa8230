"""Streams on PyBullet's Ant: walking on ground whose friction changes from task to task, or does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from plasticity_bench.ranges import AT_LEAST_ONE, BELOW_ONE, POSITIVE
from plasticity_bench.specs import NetworkSpec, OptimizerSpec, PPOSpec
from plasticity_bench.tasks.base import ControlStream, Step, StreamInfo

if TYPE_CHECKING:
    import numpy as np

PICTURE = 320, 240  # pixels
DOHARE = (
    "Dohare, Sutton & Mahmood 2021, Continual Backprop, arXiv:2108.06325 (PyBullet, friction 10^U(-4, 4)); "
    "Dohare et al. 2024, doi:10.1038/s41586-024-07711-7 (agent)"
)
AGENT = (
    "if the source's agent and stable-baselines3's PPO differ, it is as in stable-baselines3: advantages "
    "normalised per minibatch, value loss weighed 0.5, gradient norm clipped to 0.5, Adam epsilon 1e-5, "
    "episodes cut at 1,000 steps have a value",
)
FRICTION = (
    "a task ends after a fixed number of rollouts, cutting the episode; in the source at the episode's end",
    "episodes begin from a seed that depends on the task: two methods meet the same tasks",
)


class Ants:
    """One Ant for each seed (``Worlds``).

    A task's friction and the seed of its first episode follow from (seed, task) alone.

    Args:
        seeds: One environment is made for each.
        exponent: Frictions are 10^U(-exponent, exponent); 0: the published friction in every task.
    """

    def __init__(self, seeds: Sequence[int], exponent: float) -> None:
        from plasticity_bench.envs import MAX_EPISODE_STEPS
        from plasticity_bench.envs.locomotion import Ant
        from plasticity_bench.envs.slippery import SlipperyAnt

        width, height = PICTURE
        size: dict[str, Any] = {"render_mode": "rgb_array", "width": width, "height": height}
        self.seeds, self.exponent, self.longest = seeds, exponent, MAX_EPISODE_STEPS
        self.ants: list[Ant] = [
            SlipperyAnt(change_every=None, **size) if exponent else Ant(**size) for _ in seeds
        ]

    def begin(self, task: int) -> None:
        from plasticity_bench.envs.slippery import draw_friction
        from plasticity_bench.seeding import generator

        starts = []
        for seed, ant in zip(self.seeds, self.ants, strict=True):
            draws = generator(seed, "data", task)
            start = int(draws.integers(2**31))
            options = {}
            if self.exponent:
                options["friction"] = draw_friction(draws, -self.exponent, self.exponent)
            starts.append(ant.reset(seed=start, options=options)[0])
        self.observations = _stacked(starts)

    def step(self, actions: np.ndarray) -> Step:
        import numpy as np

        final = np.empty_like(self.observations)
        rewards = np.empty(final.shape[:2], np.float32)
        terminated, truncated = np.zeros((2, *final.shape[:2]), bool)
        ended = []
        for i, ant in enumerate(self.ants):
            final[i, 0], rewards[i, 0], fell, _, _ = ant.step(actions[i, 0])
            late = ant.elapsed_steps >= self.longest
            if fell or late:
                terminated[i, 0], truncated[i, 0] = fell, late
                ended.append(i)
        self.observations = final
        if ended:
            self.observations = final.copy()
            for i in ended:
                self.observations[i, 0], _ = self.ants[i].reset()
        return Step(rewards, terminated, truncated, final)

    def state_dict(self) -> dict[str, Any]:
        import torch

        return {"ants": [ant.state_dict() for ant in self.ants], "seen": torch.from_numpy(self.observations)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for ant, saved in zip(self.ants, state["ants"], strict=True):
            ant.load_state_dict(saved)
        self.observations = state["seen"].cpu().numpy().copy()

    def picture(self) -> np.ndarray:
        picture = self.ants[0].render()
        assert picture is not None
        return picture

    def close(self) -> None:
        for ant in self.ants:
            ant.close()


def _stacked(observations: Sequence[np.ndarray]) -> np.ndarray:
    import numpy as np

    return np.stack(observations)[:, None]


RANGES = {
    "rollouts": AT_LEAST_ONE,
    "lr": POSITIVE,
    "beta1": BELOW_ONE,
    "beta2": BELOW_ONE,
    "width": AT_LEAST_ONE,
}


@dataclass(frozen=True)
class AntStream(ControlStream):
    """What the streams on the Ant share: the agent of Dohare et al. 2024."""

    exponent: ClassVar[float] = 0.0  # friction 10^U(-exponent, exponent); 0: the published one
    lr: float = 1e-4  # Adam
    beta1: float = 0.9  # Adam; the source's "NS" agent: 0.99
    beta2: float = 0.999  # Adam; the source's "NS" agent: 0.99
    width: int = 256  # of the two hidden layers of policy and value network
    normalize_observations: bool = False
    normalize_rewards: bool = False

    @property
    def ppo(self) -> PPOSpec:
        return PPOSpec(
            normalize_observations=self.normalize_observations, normalize_rewards=self.normalize_rewards
        )

    @property
    def network(self) -> NetworkSpec:
        return NetworkSpec((28,), 8, (self.width, self.width), init="lecun", log_std=True)

    @property
    def optimizer(self) -> OptimizerSpec:
        return OptimizerSpec(lr=self.lr, betas=(self.beta1, self.beta2), eps=1e-5)

    def worlds(self, seeds: Sequence[int]) -> Ants:
        return Ants(seeds, self.exponent)


@dataclass(frozen=True)
class SlipperyAntFull(AntStream):
    """The size of the papers."""

    exponent: ClassVar[float] = 4.0
    info: ClassVar[StreamInfo] = StreamInfo(
        name="slippery-ant",
        version=1,
        summary="PyBullet's Ant on ground whose friction changes every 2 million steps",
        source=DOHARE,
        deviations=(
            *FRICTION,
            *AGENT,
            "2,000,896 steps per task, 977 rollouts of 2,048",
            "the syre paper (arXiv:2408.15495) reports 5 million steps per task: rollouts=2442",
        ),
        seeds=8,
        chance=311.0,
        score="final_performance",
        unit="return",
        loss="ppo",
        ranges=RANGES,
    )
    tasks: int = 10
    rollouts: int = 977


@dataclass(frozen=True)
class SlipperyAntShort(AntStream):
    """A length that a laptop can train."""

    exponent: ClassVar[float] = 4.0
    info: ClassVar[StreamInfo] = StreamInfo(
        name="slippery-ant-short",
        version=1,
        summary="PyBullet's Ant on ground whose friction changes every 100,000 steps",
        source=DOHARE,
        deviations=(
            *FRICTION,
            *AGENT,
            "100,352 steps per task, 49 rollouts of 2,048; the source 2 million",
            "plain PPO does not lose plasticity in so few steps, it still improves at the end (measured): "
            "the stream shows how much a method hinders learning, the full length whether it helps",
        ),
        seeds=4,
        chance=311.0,
        score="final_performance",
        unit="return",
        loss="ppo",
        ranges=RANGES,
    )
    tasks: int = 10
    rollouts: int = 49


@dataclass(frozen=True)
class StationaryAnt(AntStream):
    """The published environment throughout: plasticity is lost to the agent's own changes alone."""

    info: ClassVar[StreamInfo] = StreamInfo(
        name="ant",
        version=1,
        summary="PyBullet's Ant, stationary and long: a task is a tenth of the run",
        source=DOHARE,
        deviations=(
            *AGENT,
            "10 tasks of 5,001,216 steps that differ in nothing; the episode is cut between two",
        ),
        seeds=4,
        chance=377.0,
        score="final_performance",
        unit="return",
        loss="ppo",
        ranges=RANGES,
    )
    tasks: int = 10
    rollouts: int = 2442
