"""Ant, HalfCheetah, Hopper and Walker2D: the published PyBullet tasks, bit for bit, at twice the speed.

Observations, rewards and ends of episodes are those of pybullet_envs_gymnasium 0.6.0, computed in the same
order with the same precision (``benchmarks/environments_exact.py``). Three oddities of the original are kept:

- progress is that of the mean position of all parts, and the ground at the origin counts as a part (except in
an
  environment's very first observation, so that its first reward is wrong by metres);
- the contacts in an observation are those of the step before, and they decide whether a HalfCheetah is
healthy;
- the height in an observation is rounded and clipped before it decides whether a robot has fallen.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box

from plasticity_bench.envs.bullet import pybullet
from plasticity_bench.envs.copies import Copies
from plasticity_bench.envs.robots import ANT, HALF_CHEETAH, HOPPER, WALKER_2D, Robot
from plasticity_bench.envs.rounding import heading, length_function, mean_costs
from plasticity_bench.envs.variables import Variables
from plasticity_bench.envs.world import DT, Torso, World
from plasticity_bench.errors import InputError

TARGET_DISTANCE = 1e3  # metres
#: Half way from float32(0.99) to its neighbour: larger numbers are more than 0.99 when rounded to float32.
AT_LIMIT = 0.9900000393390656
BODY = 8  # number of observations before those of the joints
OBSERVATION_LIMIT = 5  # largest observation
#: Rewards: per mean |action * scaled speed|, per mean action^2, and per joint at its limit.
ELECTRICITY, STALL, JOINT_AT_LIMIT = -2.0, -0.1, -0.1


class Locomotion(Copies, gymnasium.Env[np.ndarray, np.ndarray]):
    """Base class of the robots, which are rewarded for walking toward a target 1 km away.

    Observations, float32, clipped to +-5, in this order: height above the start (m); sine and cosine of the
    angle to the target; 0.3 * velocity in the robot's direction, to its left and upward (m/s); roll and pitch
    (radians); for each joint its angle, scaled to +-1 between its limits, and 0.1 * angular velocity (rad/s);
    for each foot 1 if it touches the ground, else 0.

    Actions, float32 in +-1: the torque at each joint, relative to its strength.

    Reward of a step: progress toward the target (m/s), +1 while the robot is healthy and -1 otherwise, minus
    costs of electricity, stalled motors and joints at their limits.

    An episode has no limit here: ``gymnasium.make`` adds one of ``MAX_EPISODE_STEPS``. A step is 0.0165 s.

    Args:
        render_mode: None or "rgb_array"; raises InputError for another one.
        width: Of a picture, in pixels.
        height: Of a picture, in pixels.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # Gymnasium declares it without ClassVar
        "render_modes": ["rgb_array"],
        "render_fps": 60,
    }
    robot: ClassVar[Robot]
    sizes: ClassVar[tuple[int, int]]  # of observations and actions

    def __init__(self, render_mode: str | None = None, width: int = 320, height: int = 240) -> None:
        if render_mode not in (None, "rgb_array"):
            raise InputError(f'unknown render_mode "{render_mode}": use None or "rgb_array"')
        self.render_mode = render_mode
        self.picture_size = width, height  # pixels
        observations, actions = self.sizes
        self.observation_space = Box(-np.inf, np.inf, (observations,), np.float32)
        self.action_space = Box(-1.0, 1.0, (actions,), np.float32)
        self.variables = Variables()
        self.episode = -1  # number of the current one; -1 before the first reset
        self._world: World | None = None
        self._closed = False
        # Of the current episode, (steps, actions) flat: all that its physics depends on.
        self._torques = array("d")
        self._before: dict[str, Any] = {}  # state of the random generator at the last reset
        self._contacts: list[float] = []  # of each foot, now
        self._potential = 0.0  # distance to the target, negative, in steps at 1 m/s
        self._length = length_function()
        self._shape = self.action_space.shape
        self._speeds = slice(BODY + 1, BODY + 2 * actions, 2)  # joint velocities in an observation

    @property
    def elapsed_steps(self) -> int:
        """Steps taken in the current episode."""
        return len(self._torques) // self.sizes[1]

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode.

        Args:
            seed: Of the joints' starting angles; None: the environment's generator goes on.
            options: Task variables by name (see ``Variables``). They stay until they are changed again.

        Returns:
            The first observation, and an empty dict.

        Raises:
            InputError: An option is not known or out of range.
            ClosedEnvironmentError: The environment is closed.
        """
        if self._closed:
            raise ClosedEnvironmentError(f"reset of a closed {self.robot.name}: make a new environment")
        self.variables = self.variables.changed(options)
        super().reset(seed=seed)
        self._before = dict(self.np_random.bit_generator.state)
        self.episode += 1
        return self._start(), {}

    def _start(self) -> np.ndarray:
        """Begins episode number ``episode``; returns its first observation."""
        if self._world is None:
            self._world = World(self.robot)
        world = self._world
        angles = self.np_random.uniform(-0.1, 0.1, len(world.joints)).tolist()
        world.reset(angles, self.variables)
        strength = self.robot.power * self.variables.motor_strength
        self._gains = [strength * coefficient for coefficient in world.coefficients]  # N m per action of 1
        direction = self.variables.direction
        self._target = TARGET_DISTANCE * math.cos(direction), TARGET_DISTANCE * math.sin(direction)
        self._torques = array("d")
        self._contacts = [0.0] * len(self.robot.feet)
        torso = world.torso(with_ground=self.episode > 0)
        self._height = torso[2][2]  # metres
        values, _, _ = self._observe(world, torso)
        return np.array(values).clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT)

    def _observe(self, world: World, torso: Torso) -> tuple[array[float], float, int]:
        """The observation, not yet clipped; the torso's pitch in radians; how many joints are at a limit."""
        mean_x, mean_y, position, orientation, velocity = torso
        roll, pitch, yaw = pybullet.getEulerFromQuaternion(orientation)
        dx, dy = self._target[0] - mean_x, self._target[1] - mean_y
        self._potential = -self._length(dy, dx) / DT
        sine, cosine, vx, vy = heading(dx, dy, yaw, velocity)
        values = [position[2] - self._height, sine, cosine, vx, vy, 0.3 * velocity[2], roll, pitch]
        at_limit = 0
        for (angle, speed, _, _), (lowest, span) in zip(world.joint_states(), world.limits, strict=True):
            scaled = 2 * (angle - lowest) / span - 1.0
            if scaled > AT_LIMIT or scaled < -AT_LIMIT:
                at_limit += 1
            values += scaled, 0.1 * speed
        values += self._contacts
        return array("f", values), pitch, at_limit

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes a step.

        Args:
            action: One number for each joint. A number beyond +-1 acts as +-1, but its costs are its own.

        Returns:
            Observation, reward, whether the episode has ended, False (never cut), and an empty dict.

        Raises:
            ValueError: The action has another shape or is not finite.
            ResetNeeded: There was no reset yet.
            ClosedEnvironmentError: The environment is closed.
        """
        world = self._world
        if world is None:
            raise self._not_ready("step")
        action = np.asarray(action)
        precision = action.dtype.char
        if precision not in ("f", "d"):
            precision, action = "d", action.astype(np.float64)
        wanted = action.tolist()
        if action.shape != self._shape or not math.isfinite(sum(wanted)):
            self._check(action)
        torques = [
            gain * (-1.0 if a < -1.0 else 1.0 if a > 1.0 else a)
            for a, gain in zip(wanted, self._gains, strict=True)
        ]
        self._torques.fromlist(torques)
        world.step(torques)

        before = self._potential
        values, pitch, at_limit = self._observe(world, world.torso())
        rounded = values.tolist()
        power, heat = mean_costs(wanted, rounded[self._speeds], precision)
        observation = np.frombuffer(values, np.float32)  # the memory of values, which nothing else refers to
        finite = True
        if (
            max(rounded) > OBSERVATION_LIMIT
            or min(rounded) < -OBSERVATION_LIMIT
            or not math.isfinite(sum(rounded))
        ):
            observation.clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, observation)
            finite = bool(np.isfinite(observation).all())
        healthy = self.robot.healthy(values[0] + self._height, pitch, self._contacts)
        self._contacts = world.contacts()
        rewards = (
            1.0 if healthy else -1.0,
            self._potential - before,
            ELECTRICITY * power + STALL * heat,
            JOINT_AT_LIMIT * at_limit,
        )
        terminated = not finite or (self.robot.terminates and not healthy)
        return observation, sum(rewards), terminated, False, {}

    def _check(self, action: np.ndarray) -> None:
        if action.shape != self.action_space.shape:
            raise ValueError(
                f"action of shape {action.shape}: {self.robot.name} takes {self.action_space.shape}"
            )
        if not np.isfinite(action).all():
            raise ValueError(f"action {action} is not finite")

    def _not_ready(self, what: str) -> Exception:
        if self._closed:
            return ClosedEnvironmentError(f"{what} after close(): make a new {self.robot.name}")
        return ResetNeeded(f"{what} before the first reset(): call reset() first")

    def render(self) -> np.ndarray | None:
        """A picture of the robot from 3 m away, drawn on the CPU: ``(height, width, 3)`` uint8; None if
        ``render_mode`` is None."""
        if self._world is None:
            raise self._not_ready("render")
        if self.render_mode is None:
            return None
        return self._world.picture(*self.picture_size)

    def close(self) -> None:
        """Ends the simulation. Further calls do nothing."""
        self._closed = True
        if self._world is not None:
            self._world.close()
            self._world = None

    def state_dict(self) -> dict[str, Any]:
        """All that the future depends on: a few numbers, and the torques of the current episode.

        An episode does not depend on earlier ones, so that ``load_state_dict`` can replay it.
        """
        return {
            "robot": self.robot.name,
            "variables": asdict(self.variables),
            "episode": self.episode,
            "random_before": self._before,
            "random": dict(self.np_random.bit_generator.state),
            "torques": self._torques.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` returned, to continue bit for bit.

        It replays the episode's physics, which takes as long as its steps did.

        Raises:
            InputError: The state is of another robot.
        """
        if self._closed:
            raise self._not_ready("load_state_dict")
        if state["robot"] != self.robot.name:
            raise InputError(
                f"a state of {state['robot']} cannot be loaded into {self.robot.name}: use that robot"
            )
        if self._world is not None:
            self._world.close()
        self._world = None
        self.variables = Variables(**state["variables"])
        self.episode = state["episode"]
        self._before = dict(state["random_before"])
        if self.episode >= 0:
            self._world = world = World(self.robot)
            if self.episode > 0:
                # The first reset of a world differs from later ones, but has no effect on them.
                world.reset([0.0] * len(world.joints), Variables())
            self.np_random.bit_generator.state = self._before
            self._start()
            self._replay(world, array("d", state["torques"]))
        self.np_random.bit_generator.state = state["random"]

    def _replay(self, world: World, torques: array[float]) -> None:
        count = self.sizes[1]
        for start in range(0, len(torques), count):
            world.step(torques[start : start + count].tolist())
        if torques:
            self._observe(world, world.torso())
            self._contacts = world.contacts()
        self._torques = torques


class Ant(Locomotion):
    """Four legs, eight joints; the episode ends when the torso touches the ground."""

    robot = ANT
    sizes = 28, 8


class HalfCheetah(Locomotion):
    """Two legs in a plane, six joints; no episode ends by itself."""

    robot = HALF_CHEETAH
    sizes = 26, 6


class Hopper(Locomotion):
    """One leg in a plane, three joints; the episode ends when it falls."""

    robot = HOPPER
    sizes = 15, 3


class Walker2D(Locomotion):
    """Two legs in a plane, six joints; the episode ends when it falls."""

    robot = WALKER_2D
    sizes = 22, 6
