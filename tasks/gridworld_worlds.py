"""Gridworlds in which the agent walks to a goal, seen through shuffled pixels: many at once, in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from plasticity_bench.tasks.base import Step

ACTIONS = 4  # up, down, left, right
STEP_REWARD, GOAL_REWARD = -0.01, 0.99  # the goal is worth 1, every step costs 0.01
AHEAD = 1024  # episodes drawn at once
CELL = 32  # pixels of a picture
BLUE, GREEN = (31, 119, 180), (44, 160, 44)


class Sight(NamedTuple):
    """What a task is to one seed."""

    pixels: np.ndarray  # (2 * side**2,): place of each cell of the agent's map, then of the goal's
    episodes: np.random.Generator  # draws starts and goals


class Gridworlds:
    """S seeds with E square worlds each (``Worlds``).

    An agent and a goal are in two different cells, both drawn again for every episode. An action moves the
    agent by one cell, or not at all against the border. The episode ends at the goal, and is cut after
    ``4 * side`` steps. An observation is two maps of zeros, with a one at the agent and a one at the
    goal, all their pixels in the task's order. ``draw(seed, task)`` says what the tasks are.
    """

    def __init__(
        self, seeds: Sequence[int], environments: int, side: int, draw: Callable[[int, int], Sight]
    ) -> None:
        self.seeds, self.draw, self.cells, self.limit = seeds, draw, side**2, 4 * side
        self.shape = len(seeds), environments
        self.neighbours = _neighbours(side)
        self.rows = np.arange(len(seeds))[:, None]
        # The place of the first number of each world's observation.
        self.first = 2 * self.cells * np.arange(len(seeds) * environments).reshape(self.shape)
        self.agent, self.goal, self.steps = (np.zeros(self.shape, np.int64) for _ in range(3))
        self.ahead = np.zeros((len(seeds), AHEAD + environments, 2), np.int64)  # starts and goals to come
        self.used = np.zeros(len(seeds), np.int64)  # of them

    def begin(self, task: int) -> None:
        sights = [self.draw(seed, task) for seed in self.seeds]
        self.pixels = np.stack([sight.pixels for sight in sights])
        self.generators = [sight.episodes for sight in sights]
        self.used[:] = AHEAD
        self._restart(np.ones(self.shape, bool))
        self.observations = self._seen()

    def step(self, actions: np.ndarray) -> Step:
        self.agent = self.neighbours[self.agent, actions]
        self.steps += 1
        terminated = self.agent == self.goal
        truncated = (self.steps >= self.limit) & ~terminated
        rewards = np.where(terminated, np.float32(GOAL_REWARD), np.float32(STEP_REWARD))
        final = self.observations = self._seen()
        done = terminated | truncated
        if done.any():
            self._restart(done)
            self.observations = self._seen()
        return Step(rewards, terminated, truncated, final)

    def _restart(self, done: np.ndarray) -> None:
        """Begins new episodes if ``done`` ``(S, E)``: a seed takes its next ones, in the order of its
        worlds."""
        for s in np.flatnonzero(self.used >= AHEAD):
            start = self.generators[s].integers(self.cells, size=len(self.ahead[s]))
            away = self.generators[s].integers(1, self.cells, size=len(self.ahead[s]))
            self.ahead[s] = np.stack([start, (start + away) % self.cells], 1)
            self.used[s] = 0
        place = self.used[:, None] + done.cumsum(1) - 1
        start, goal = np.moveaxis(self.ahead[self.rows, place], -1, 0)
        self.agent, self.goal = np.where(done, start, self.agent), np.where(done, goal, self.goal)
        self.steps[done] = 0
        self.used += done.sum(1)

    def _seen(self) -> np.ndarray:
        """Observations ``(S, E, 2 * cells)``."""
        maps = np.zeros((*self.shape, 2 * self.cells), np.float32)
        flat = maps.reshape(-1)
        flat[self.first + self.pixels[self.rows, self.agent]] = 1
        flat[self.first + self.pixels[self.rows, self.cells + self.goal]] = 1
        return maps

    def picture(self) -> np.ndarray:
        """The first world from above: the agent blue, the goal green."""
        cells = np.full((self.cells, 3), 235, np.uint8)
        cells[self.goal[0, 0]], cells[self.agent[0, 0]] = GREEN, BLUE
        side = math.isqrt(self.cells)
        large = cells.reshape(side, side, 3).repeat(CELL, 0).repeat(CELL, 1)
        large[::CELL], large[:, ::CELL] = 255, 255
        return large

    def state_dict(self) -> dict[str, Any]:
        import torch

        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in _ARRAYS}
        return arrays | {"generators": [dict(g.bit_generator.state) for g in self.generators]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _ARRAYS:
            setattr(self, name, state[name].cpu().numpy().copy())
        self.generators = [np.random.default_rng(0) for _ in self.seeds]
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.bit_generator.state = saved
        self.observations = self._seen()

    def close(self) -> None:
        """Nothing is held."""


_ARRAYS = ("pixels", "agent", "goal", "steps", "ahead", "used")


def _neighbours(side: int) -> np.ndarray:
    """The cell that each action leads to: ``(cells, ACTIONS)``; cells count along the rows."""
    row, column = np.divmod(np.arange(side**2), side)
    last = side - 1
    up, down = (row - 1).clip(0), (row + 1).clip(max=last)
    left, right = (column - 1).clip(0), (column + 1).clip(max=last)
    return np.stack([up * side + column, down * side + column, row * side + left, row * side + right], 1)
