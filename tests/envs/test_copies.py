"""Environments that are copied, closed twice, or dropped."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable

import pytest

from plasticity_bench.envs.bullet import pybullet
from plasticity_bench.envs.locomotion import Hopper, Locomotion
from plasticity_bench.envs.world import World
from tests.support.robots import actions


def go_on(env: Locomotion, count: int = 5) -> list[bytes]:
    return [env.step(action)[0].tobytes() for action in actions(env, 1, count)]


@pytest.mark.parametrize(
    "make",
    [copy.copy, copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))],
    ids=["copy", "deep", "pickle"],
)
def test_a_copy_goes_on_alone(make: Callable[[Locomotion], Locomotion]) -> None:
    env = Hopper()
    env.reset(seed=3)
    go_on(env)
    twin = make(env)
    expected = go_on(env)
    assert go_on(twin) == expected
    assert env.np_random is not twin.np_random
    twin.close()
    go_on(env)  # still alive
    env.close()
    with pytest.raises(Exception, match="close"):
        make(env).step(env.action_space.sample())


def test_closing_twice_does_not_close_another() -> None:
    """PyBullet gives the number of a closed client to the next."""
    first = World(Hopper.robot)
    first.close()
    second = World(Hopper.robot)
    assert second.client == first.client
    first.close()
    assert pybullet.isConnected(second.client)
    second.close()


def test_a_dropped_environment_frees_its_client() -> None:
    env = Hopper()
    env.reset(seed=0)
    assert env._world is not None
    client = env._world.client
    del env
    gc.collect()
    assert not pybullet.isConnected(client)
