"""Small control streams of Gymnasium's environments, for tests of PPO."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch

from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.ppo import PPOLearner
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import NetworkSpec, OptimizerSpec, PPOSpec
from plasticity_bench.tasks.base import ControlStream, Step, StreamInfo


def cartpole() -> gymnasium.Env[Any, Any]:
    """CartPole with discrete actions; episodes end by themselves or after 60 steps."""
    return gymnasium.make("CartPole-v1", max_episode_steps=60)


def pendulum() -> gymnasium.Env[Any, Any]:
    """Pendulum with actions in [-1, 1]; episodes are cut after 50 steps."""
    one = np.float32(1)
    return gymnasium.wrappers.RescaleAction(gymnasium.make("Pendulum-v1", max_episode_steps=50), -one, one)


class GymWorlds:
    """Environments of Gymnasium (``Worlds``); every task has its own seeds."""

    def __init__(self, make: Callable[[], gymnasium.Env[Any, Any]], seeds: Sequence[int], count: int) -> None:
        self.seeds, self.envs = seeds, [[make() for _ in range(count)] for _ in seeds]

    def begin(self, task: int) -> None:
        self.observations = np.array(
            [
                [env.reset(seed=seed + 1000 * i + 7 * task)[0] for i, env in enumerate(row)]
                for seed, row in zip(self.seeds, self.envs, strict=True)
            ],
            np.float32,
        )

    def step(self, actions: np.ndarray) -> Step:
        shape = len(self.envs), len(self.envs[0])
        rewards, terminated, truncated = (
            np.zeros(shape, np.float32),
            np.zeros(shape, bool),
            np.zeros(shape, bool),
        )
        final = self.observations.copy()
        self.observations = final.copy()
        for s, row in enumerate(self.envs):
            for e, env in enumerate(row):
                found = env.step(actions[s, e])
                final[s, e], rewards[s, e], terminated[s, e], truncated[s, e], _ = found
                ended = terminated[s, e] or truncated[s, e]
                self.observations[s, e] = env.reset()[0] if ended else final[s, e]
        return Step(rewards, terminated, truncated, final)

    def state_dict(self) -> dict[str, Any]:
        return {"envs": copy.deepcopy(self.envs), "observations": self.observations.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.envs, self.observations = copy.deepcopy(state["envs"]), state["observations"].copy()

    def picture(self) -> np.ndarray:
        return np.zeros((1, 1, 3), np.uint8)

    def close(self) -> None:
        self.envs = []


@dataclass(frozen=True)
class GymStream(ControlStream):
    """CartPole with discrete actions."""

    info: ClassVar[StreamInfo] = StreamInfo(
        "gym", 1, "", "", (), 1, 0.0, score="final_performance", unit="return", loss="ppo"
    )
    discrete: ClassVar[bool] = True
    make: ClassVar[Any] = staticmethod(cartpole)
    tasks: int = 2
    rollouts: int = 2
    spec: PPOSpec = field(default_factory=lambda: PPOSpec(rollout=128, epochs=4, batch=64))
    hidden: tuple[int, ...] = (64, 64)
    fused: bool = True

    @property
    def ppo(self) -> PPOSpec:
        return self.spec

    @property
    def network(self) -> NetworkSpec:
        env = self.make()
        outputs = int(env.action_space.n) if self.discrete else env.action_space.shape[0]
        inputs = env.observation_space.shape
        return NetworkSpec(inputs, outputs, self.hidden, init="lecun", log_std=not self.discrete)

    @property
    def optimizer(self) -> OptimizerSpec:
        return OptimizerSpec(lr=1e-3, eps=1e-5, fused=self.fused)

    def worlds(self, seeds: Sequence[int]) -> GymWorlds:
        return GymWorlds(self.make, seeds, self.spec.environments)


@dataclass(frozen=True)
class PendulumStream(GymStream):
    """Pendulum with continuous actions."""

    discrete: ClassVar[bool] = False
    make: ClassVar[Any] = staticmethod(pendulum)


def agent(
    method: str = "none", seeds: Sequence[int] = (0,), stream: ControlStream | None = None
) -> PPOLearner:
    """A learner as ``run`` makes it."""
    return PPOLearner(stream or GymStream(), create_method(method), seeds)


def finish(made: PPOLearner) -> PPOLearner:
    """Trains to the end."""
    while not made.finished:
        made.advance()
    return made


def weights(made: PPOLearner, index: int = 0) -> list[torch.Tensor]:
    """The parameters of actor and critic of the ``index``-th seed of the stack."""
    return [p.detach()[index].clone() for part in made.parts for p in trainable(part.layers)]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    """Whether two lists of tensors are equal."""
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
