"""The walking robots: actions, rollouts and saved states for tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from plasticity_bench.envs.locomotion import Ant, HalfCheetah, Hopper, Locomotion, Walker2D
from plasticity_bench.envs.slippery import SlipperyAnt

ROBOTS = [Ant, HalfCheetah, Hopper, Walker2D]


def actions(env: gymnasium.Env, seed: int, count: int) -> Iterator[np.ndarray]:
    """Actions: random ones, some beyond the limits, for even seeds; a gait of sines for odd seeds."""
    assert env.action_space.shape is not None
    rng = np.random.default_rng(seed)
    phase, pace = rng.uniform(0, 6, env.action_space.shape), rng.uniform(0.05, 0.3)
    for t in range(count):
        drawn = rng.uniform(-1.5, 1.5, env.action_space.shape)
        yield (np.sin(pace * t + phase) if seed % 2 else drawn).astype(np.float32)


def rollout(env: gymnasium.Env, seed: int, count: int, **options: Any) -> list[tuple]:
    """Everything that a learner sees over ``count`` steps after a reset, as bytes."""
    observation, info = env.reset(seed=seed, options=options)
    seen: list[tuple] = [(observation.tobytes(), observation.dtype, info)]
    for action in actions(env, seed, count):
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append((observation.tobytes(), observation.dtype, reward, terminated, truncated, info))
        if terminated or truncated:
            observation, info = env.reset()
            seen.append((observation.tobytes(), observation.dtype, info))
    return seen


def go_on(env: Locomotion, start: int, steps: int) -> list[tuple]:
    """The next steps, with a limit of 300 steps per episode."""
    seen: list[tuple] = []
    for action in actions(env, start, steps):
        observation, reward, terminated, _, _ = env.step(action)
        seen.append((observation.tobytes(), reward, terminated))
        if terminated or env.elapsed_steps >= 300:
            observation, info = env.reset(options={"gravity": 9.0} if len(seen) > 400 else None)
            seen.append((observation.tobytes(), info))
    return seen


#: Steps before the state is saved: none after the very first reset; in the first episode, which differs from
#: the others; after changes of the task and the gravity; if no episode ends by itself; if many end.
CASES: list[tuple[type[Locomotion], dict[str, Any], int]] = [
    (Ant, {}, 0),
    (Ant, {}, 130),
    (SlipperyAnt, {"change_every": 250}, 700),
    (HalfCheetah, {}, 700),
    (Hopper, {}, 500),
]

LATER = {Ant: 300, SlipperyAnt: 600, HalfCheetah: 400, Hopper: 400}  # steps
