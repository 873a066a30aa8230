"""The walking robots compared with the published environments, and checked with Gymnasium's rules."""

from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.utils.env_checker import check_env

import plasticity_bench.envs
from plasticity_bench.envs.locomotion import Ant, Hopper, Locomotion
from plasticity_bench.envs.rounding import heading, pairwise_sum
from plasticity_bench.errors import InputError
from tests.support.robots import ROBOTS, actions, rollout


@pytest.mark.parametrize("robot", ROBOTS)
def test_it_is_the_published_environment_bit_for_bit(robot: type[Locomotion]) -> None:
    """Across episode ends and through the time limit; benchmarks/environments_exact.py compares more."""
    import pybullet_envs_gymnasium  # noqa: F401

    name = robot.robot.name
    published = gymnasium.make(f"{name}BulletEnv-v0")
    ours = gymnasium.make(f"plasticity_bench/{name}-v0")
    assert published.observation_space == ours.observation_space
    assert published.action_space == ours.action_space
    for seed, count in ((0, 1002), (1, 250), (2, 250)):
        assert rollout(published, seed, count) == rollout(ours, seed, count), seed
    published.close()
    ours.close()


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_actions_of_another_precision_are_rewarded_as_published(dtype: type) -> None:
    import pybullet_envs_gymnasium  # noqa: F401

    published, ours = gymnasium.make("AntBulletEnv-v0", disable_env_checker=True), Ant()
    published.reset(seed=1)
    ours.reset(seed=1)
    for action in actions(ours, 2, 50):
        action = action.astype(dtype) + dtype(0)
        theirs, mine = published.step(action), ours.step(action)
        assert theirs[0].tobytes() == mine[0].tobytes()
        assert theirs[1:] == mine[1:]


@pytest.mark.parametrize("size", [*range(1, 30), 40])
def test_sums_are_numpys(size: int) -> None:
    for values in np.random.default_rng(size).normal(size=(50, size)):
        assert pairwise_sum(values.tolist()) == np.add.reduce(values)


def test_headings_are_numpys_where_the_last_bit_decides() -> None:
    """Also for angles near 0: there a float32 is finer than the difference between two libraries."""
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-3, 1e-9, 0.0):
        for dx, dy, yaw, *velocity in rng.normal(size=(500, 6)).tolist():
            dy, yaw = dy * scale, yaw * scale
            angle = np.arctan2(dy, dx) - yaw
            c, s = np.cos(-yaw), np.sin(-yaw)
            vx, vy, _ = np.dot(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), velocity)
            expected = np.array([np.sin(angle), np.cos(angle), 0.3 * vx, 0.3 * vy], np.float32)
            assert np.array_equal(np.array(heading(dx, dy, yaw, velocity), np.float32), expected)


def test_observations_are_the_callers_to_keep() -> None:
    env = Hopper()
    kept = [env.reset(seed=0)[0], *(env.step(action)[0] for action in actions(env, 0, 5))]
    copies = [observation.copy() for observation in kept]
    kept[0][:] = 7  # and to change
    for action in actions(env, 1, 5):
        env.step(action)
    assert all(observation.flags.writeable for observation in kept)
    for observation, copied in zip(kept[1:], copies[1:], strict=True):
        assert np.array_equal(observation, copied)


@pytest.mark.parametrize("name", plasticity_bench.envs.CLASSES)
def test_gymnasiums_checker_passes(name: str) -> None:
    env = gymnasium.make(f"plasticity_bench/{name}", render_mode="rgb_array")
    assert env.spec is not None
    assert env.spec.max_episode_steps == 1000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*A Box observation space (min|max)imum value is")
        check_env(env.unwrapped)  # renders, too
    env.close()


def test_gymnasium_finds_it_by_its_module() -> None:
    """Also in a process that does not import this package. Naming the environments needs no PyBullet."""
    script = (
        "import sys, gymnasium; "
        "gymnasium.make('plasticity_bench.envs:plasticity_bench/Hopper-v0').reset(seed=0); "
    )
    light = "import sys, plasticity_bench.envs; assert 'pybullet' not in sys.modules"
    for line in (script, light):
        subprocess.run([sys.executable, "-c", line], check=True)


def test_environments_in_one_process_do_not_disturb_each_other() -> None:
    """Not even if one takes over the client of a closed environment."""
    alone = rollout(Ant(), 3, 60)
    env, neighbour, heir = Ant(), Ant(), Hopper()
    seen = [env.reset(seed=3)[0].tobytes()]
    neighbour.reset(seed=4, options={"friction": 0.1, "gravity": 1.0})
    for t, action in enumerate(actions(env, 3, 60)):
        seen.append(env.step(action)[0].tobytes())
        if t < 30:
            neighbour.step(-action)
        elif t == 30:
            neighbour.close()
            heir.reset()
        else:
            heir.step(action[:3])
    assert seen == [step[0] for step in alone]


def test_a_picture_shows_the_robot_wherever_it_walked() -> None:
    env = Ant(render_mode="rgb_array", width=160, height=120)
    env.reset(seed=0)
    for action in actions(env, 1, 100):
        env.step(action)
    picture = env.render()
    assert picture is not None
    assert picture.shape == (120, 160, 3)
    assert picture.dtype == np.uint8
    # Some of its limbs are red and yellow: far more red than blue. The ground is blue and white.
    centre = picture[40:90, 50:110].astype(int)
    assert ((centre[..., 0] - centre[..., 2]) > 40).mean() > 0.05


def test_a_closed_or_fresh_environment_says_so() -> None:
    env = Hopper(render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(np.zeros(3, np.float32))
    with pytest.raises(ResetNeeded, match="reset"):
        env.render()
    env.reset()
    env.close()
    env.close()
    for use in (lambda: env.step(np.zeros(3, np.float32)), env.reset, env.render):
        with pytest.raises(ClosedEnvironmentError, match="close"):
            use()


def test_close_frees_memory_and_client() -> None:
    """PyBullet has 1,024 clients; benchmarks/environments_exact.py opens and closes more than those."""
    clients = set()
    for _ in range(30):
        env = Hopper()
        env.reset(seed=0)
        assert env._world is not None
        clients.add(env._world.client)
        env.close()
    assert len(clients) == 1


@pytest.mark.parametrize(
    "action", [np.full(8, np.nan, np.float32), np.array([np.inf] + [0.0] * 7), np.zeros(7), np.zeros((8, 1))]
)
def test_an_impossible_action_is_refused_and_does_nothing(action: np.ndarray) -> None:
    env, other = Ant(), Ant()
    env.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(ValueError, match="action"):
        env.step(action)
    still = np.ones(8, np.float32)
    assert np.array_equal(env.step(still)[0], other.step(still)[0])


def test_an_unknown_render_mode_is_refused() -> None:
    with pytest.raises(InputError, match="rgb_array"):
        Ant(render_mode="human")
