"""Changes between tasks: an environment's variables and SlipperyAnt's schedule; and saved states."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from plasticity_bench.envs.locomotion import Ant, Hopper, Locomotion
from plasticity_bench.envs.slippery import SlipperyAnt
from plasticity_bench.errors import InputError
from tests.support.paths import REPOSITORY
from tests.support.robots import CASES, LATER, ROBOTS, actions, go_on, rollout

CHANGED = {"friction": 0.05, "joint_damping": 1.5, "gravity": 4.0, "direction": 2.0, "motor_strength": 0.4}
DEFAULTS = {"friction": 0.8, "joint_damping": 0.0, "gravity": 9.8, "direction": 0.0, "motor_strength": 1.0}


@pytest.mark.parametrize("robot", ROBOTS)
def test_an_episode_does_not_depend_on_those_before_it(robot: type[Locomotion]) -> None:
    """So a state can be stored as a seed and some torques, and a task can be repeated exactly."""
    fresh, used = robot(), robot()
    fresh.reset(seed=0)
    expected = rollout(fresh, 5, 150)
    rollout(used, 1, 400)
    rollout(used, 2, 100, **CHANGED)
    assert rollout(used, 5, 150, **DEFAULTS) == expected


@pytest.mark.parametrize("name", CHANGED)
def test_each_variable_changes_what_it_says_and_stays(name: str) -> None:
    env = Ant()
    env.reset(seed=0)
    default = rollout(env, 3, 100)
    changed = rollout(env, 3, 100, **{name: CHANGED[name]})
    assert changed != default
    assert rollout(env, 3, 100) == changed, "kept until it is changed again"
    assert getattr(env.variables, name) == CHANGED[name]
    assert rollout(env, 3, 100, **{name: DEFAULTS[name]}) == default


@pytest.mark.parametrize("name", CHANGED)
def test_variables_hold_from_the_very_first_episode(name: str) -> None:
    first = rollout(Hopper(), 3, 10, **{name: CHANGED[name]})
    later = Hopper()
    later.reset(seed=0)
    again = rollout(later, 3, 10, **{name: CHANGED[name]})
    # Apart from the first observation and reward, which differ in the published environment too.
    assert [step[0] for step in first[1:]] == [step[0] for step in again[1:]]


def test_variables_have_the_units_that_they_claim() -> None:
    def heights(**options: float) -> np.ndarray:
        env = Ant()
        env.reset(seed=0, options=options)
        return np.array([env.step(np.zeros(8, np.float32))[0][0] for _ in range(5)])

    assert heights(gravity=0.0) == pytest.approx(0.0, abs=1e-3)  # it starts in the air, and floats
    assert heights(gravity=19.6) == pytest.approx(2 * heights(), rel=0.05)
    env = Ant()
    observation, _ = env.reset(seed=0, options={"direction": math.pi / 6})
    assert observation[1:3] == pytest.approx([0.5, math.sqrt(0.75)], abs=1e-3)


def test_friction_is_that_of_the_ground() -> None:
    """An Ant slides without torques: only friction slows it down."""
    import pybullet

    def sliding(friction: float) -> float:
        env = Ant()
        env.reset(seed=0, options={"friction": friction})
        assert env._world is not None
        body, client = env._world.body, env._world.client
        for _ in range(60):
            env.step(np.zeros(8, np.float32))
        pybullet.resetBaseVelocity(body, [2, 0, 0], [0, 0, 0], client)
        for _ in range(30):
            env.step(np.zeros(8, np.float32))
        return pybullet.getBaseVelocity(body, client)[0][0]

    icy, usual = sliding(1e-4), sliding(0.8)
    assert icy > 1.5
    assert usual < 0.5
    assert sliding(1e4) == sliding(1e3), "Bullet's cap"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fricton": 1.0}, 'did you mean "friction"'),
        ({"friction": "high"}, "finite number"),
        ({"friction": math.nan}, "finite number"),
        ({"gravity": True}, "finite number"),
        ({"motor_strength": -1.0}, "negative"),
    ],
)
def test_bad_options_are_refused_in_one_line_and_change_nothing(options: Any, message: str) -> None:
    env = Ant()
    with pytest.raises(InputError, match=message) as refused:
        env.reset(seed=0, options=options)
    assert "\n" not in str(refused.value)
    assert env.variables == Ant().variables


def test_numpys_numbers_are_numbers() -> None:
    env = Hopper()
    env.reset(options={"friction": np.float32(0.5), "direction": np.array(1)})
    assert env.variables.friction == 0.5
    assert type(env.variables.direction) is int


def frictions(env: gymnasium.Env, seed: int | None, resets: int, steps: int = 4) -> list[tuple[float, int]]:
    """(friction, task) of one reset after another, with a few steps between them."""
    seen = []
    for i in range(resets):
        _, info = env.reset(seed=seed if i == 0 else None)
        seen.append((info["friction"], info["task"]))
        for action in actions(env, i, steps):
            env.step(action)
    return seen


def test_friction_changes_at_the_first_episode_end_after_a_task() -> None:
    env = gymnasium.make("plasticity_bench/SlipperyAnt-v0", change_every=10, low=-2, high=2)
    seen = frictions(env, 7, 10)
    assert [task for _, task in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert len({friction for friction, _ in seen}) == 4
    assert all(1e-2 <= friction <= 1e2 for friction, _ in seen)
    assert env.unwrapped.variables.friction == seen[-1][0]  # type: ignore[attr-defined]
    assert frictions(env, 7, 10) == seen, "a reset with a seed begins anew"


def test_the_schedule_follows_from_its_seed_alone() -> None:
    usual = frictions(SlipperyAnt(change_every=5), 7, 8)
    assert frictions(SlipperyAnt(change_every=5, seed=7), None, 8) == usual
    assert frictions(SlipperyAnt(change_every=5, seed=7), 3, 8) == usual
    assert frictions(SlipperyAnt(change_every=5), 8, 8) != usual


def test_frictions_are_log_uniform() -> None:
    logs = np.log10([f for f, _ in frictions(SlipperyAnt(change_every=1, low=-4, high=4), 0, 200, steps=1)])
    assert logs.min() > -4
    assert logs.max() < 4
    assert np.histogram(logs, 4, (-4, 4))[0] == pytest.approx(50, abs=20)


@pytest.mark.parametrize("settings", [{"change_every": 0}, {"low": 1.0, "high": 0.0}, {"high": math.inf}])
def test_slippery_ant_refuses_impossible_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="give"):
        SlipperyAnt(**settings)


def test_slippery_ant_keeps_friction_to_itself() -> None:
    with pytest.raises(InputError, match="friction"):
        SlipperyAnt().reset(options={"friction": 1.0})


def test_slippery_ant_takes_its_friction_from_outside_if_it_is_to() -> None:
    """Then it is bit-identical to an Ant whose friction is an option of the reset, and counts the tasks."""
    env, plain = SlipperyAnt(change_every=None), Ant()
    with pytest.raises(InputError, match="draws no friction"):
        env.reset(seed=0)
    for task, friction in enumerate((0.1, 50.0)):
        theirs = rollout(plain, 3, 400, friction=friction)
        ours = rollout(env, 3, 400, friction=friction)
        assert {event[-1]["friction"] for event in ours if "friction" in event[-1]} == {friction}
        assert {event[-1]["task"] for event in ours if "task" in event[-1]} == {task}
        assert [event[:-1] for event in ours] == [event[:-1] for event in theirs]
    again = SlipperyAnt(change_every=None)
    again.load_state_dict(env.state_dict())
    assert (again.task, again.variables.friction) == (1, 50.0)
    assert again.reset()[1] == {"friction": 50.0, "task": 1}


CONTINUE = """
import pickle, sys, torch
sys.path.insert(0, {tests!r})
from tests.support.robots import CASES, LATER, go_on
results = []
for (robot, settings, before), state in zip(CASES, torch.load({states!r}, weights_only=True)):
    env = robot(**settings)
    env.load_state_dict(state)
    results.append(go_on(env, 9, LATER[robot]))
pickle.dump(results, open({result!r}, "wb"))
"""


def test_another_process_continues_bit_for_bit(tmp_path: Path) -> None:
    states, expected = [], []
    for robot, settings, before in CASES:
        env = robot(**settings)
        env.reset(seed=11, options={"joint_damping": 0.2, "motor_strength": 0.9})
        go_on(env, 4, before)
        states.append(env.state_dict())
        expected.append(go_on(env, 9, LATER[robot]))
    torch.save(states, tmp_path / "states.pt")
    tests, path, result = str(REPOSITORY), str(tmp_path / "states.pt"), str(tmp_path / "result")
    script = CONTINUE.format(tests=tests, states=path, result=result)
    subprocess.run([sys.executable, "-c", script], check=True)
    for case, was, would in zip(CASES, pickle.loads(Path(result).read_bytes()), expected, strict=True):
        assert was == would, case


def test_a_state_loads_into_an_environment_in_use_and_before_any_reset() -> None:
    env, other = Ant(), Ant()
    untouched = env.state_dict()
    env.reset(seed=2)
    go_on(env, 1, 20)
    state = env.state_dict()
    expected = go_on(env, 2, 50)
    rollout(other, 3, 30, friction=0.1)
    other.load_state_dict(state)
    assert other.elapsed_steps == 20
    assert go_on(other, 2, 50) == expected
    fresh = Ant()
    fresh.load_state_dict(untouched)
    other.load_state_dict(untouched)
    assert fresh.reset()[0].tobytes() == other.reset()[0].tobytes()


def test_a_state_of_another_robot_is_refused() -> None:
    with pytest.raises(InputError, match="Hopper"):
        Ant().load_state_dict(Hopper().state_dict())
