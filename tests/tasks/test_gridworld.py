"""The gridworlds compared with a plain implementation, and the properties of their stream."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from plasticity_bench.seeding import generator
from plasticity_bench.tasks.gridworld import MAP_PIXELS, SIDE, ShuffledGridworld
from plasticity_bench.tasks.gridworld_worlds import AHEAD, Gridworlds, Sight

MOVES = {0: (-1, 0), 1: (1, 0), 2: (0, -1), 3: (0, 1)}  # up, down, left, right


class PlainWorld:
    """One world, written like its rules."""

    def __init__(self, side: int, pixels: np.ndarray) -> None:
        self.side, self.pixels = side, pixels

    def see(self, observation: np.ndarray) -> None:
        """Takes the places of agent and goal from the first observation of an episode."""
        maps = observation[self.pixels].reshape(2, self.side, self.side)
        assert (maps.sum((1, 2)) == 1).all()
        self.agent, self.goal = (tuple(np.argwhere(m)[0].tolist()) for m in maps)
        self.steps = 0

    def step(self, action: int) -> tuple[float, bool, bool]:
        there = tuple(place + move for place, move in zip(self.agent, MOVES[action], strict=True))
        if all(0 <= place < self.side for place in there):
            self.agent = there
        self.steps += 1
        reached = self.agent == self.goal
        return (0.99 if reached else -0.01), reached, self.steps >= 4 * self.side and not reached

    def observation(self) -> np.ndarray:
        maps = np.zeros((2, self.side, self.side))
        maps[0][self.agent] = maps[1][self.goal] = 1
        seen = np.zeros(2 * self.side**2)
        for cell, value in enumerate(maps.flat):
            seen[self.pixels[cell]] = value
        return seen


def worlds(seeds: Sequence[int] = (0, 1, 2), task: int = 3, **settings: Any) -> Gridworlds:
    made = ShuffledGridworld(**settings).worlds(seeds)
    made.begin(task)
    return made


def actions(seeds: Sequence[int], steps: int, environments: int = 16) -> np.ndarray:
    """(steps, S, E): a seed's own."""
    drawn = [np.random.default_rng(seed).integers(4, size=(steps, environments)) for seed in seeds]
    return np.stack(drawn, 1)


def played(made: Gridworlds, chosen: np.ndarray) -> list[np.ndarray]:
    """All observations and rewards: arrays (steps, S, E, ...)."""
    trace = [(*made.step(a), made.observations) for a in chosen]
    return [np.stack(column) for column in zip(*trace, strict=True)]


@pytest.mark.parametrize("side", [2, 5])
def test_the_rules_are_those_of_a_plain_world(side: int) -> None:
    orders = {seed: np.random.default_rng(seed).permutation(2 * side**2) for seed in (0, 1)}

    def draw(seed: int, task: int) -> Sight:
        return Sight(orders[seed], np.random.default_rng([seed, task]))

    made = Gridworlds((0, 1), 3, side, draw)
    made.begin(0)
    plain = [[PlainWorld(side, orders[s]) for _ in range(3)] for s in (0, 1)]
    for s, e in np.ndindex(2, 3):
        plain[s][e].see(made.observations[s, e])
    ended = np.zeros(2, int)
    for chosen in actions((0, 1), 300, 3):
        step = made.step(chosen)
        assert step.rewards.dtype == step.final.dtype == made.observations.dtype == np.float32
        for s, e in np.ndindex(2, 3):
            world = plain[s][e]
            reward, terminated, truncated = world.step(int(chosen[s, e]))
            assert step.rewards[s, e] == np.float32(reward)
            assert (step.terminated[s, e], step.truncated[s, e]) == (terminated, truncated)
            np.testing.assert_array_equal(step.final[s, e], world.observation())
            if terminated or truncated:
                ended += [terminated, truncated]
                world.see(made.observations[s, e])
                assert world.agent != world.goal
            else:
                np.testing.assert_array_equal(made.observations[s, e], step.final[s, e])
    assert (ended > 0).all()


def test_starts_and_goals_are_uniform_over_pairs_of_cells() -> None:
    made = worlds((5,))
    made.step(np.zeros((1, 16), np.int64))
    counts = np.zeros((SIDE**2, SIDE**2))
    np.add.at(counts, tuple(made.ahead[0].T), 1)
    assert not counts.diagonal().any()
    expected = counts.sum() / (SIDE**2 * (SIDE**2 - 1))
    off = counts[~np.eye(SIDE**2, dtype=bool)]
    chi_square = ((off - expected) ** 2 / expected).sum()
    assert abs(chi_square - off.size) < 5 * (2 * off.size) ** 0.5


def test_episodes_are_taken_in_order_and_redrawn_when_used_up() -> None:
    """A seed's goals are those drawn for it, whichever world needs one first."""
    made = worlds((4,), task=0)
    first = made.ahead[0].copy()
    taken, drawn = [made.goal[0].copy()], 0
    for chosen in actions((4,), 1500):
        before = made.used[0]
        step = made.step(chosen)
        done = (step.terminated | step.truncated)[0]
        taken.append(made.goal[0][done])
        drawn += int(done.any() and made.used[0] < before)
    assert drawn > 0
    np.testing.assert_array_equal(np.concatenate(taken)[:AHEAD], first[:AHEAD, 1])


def test_each_task_shuffles_some_of_the_pixels_of_the_one_before() -> None:
    stream = ShuffledGridworld()
    orders = np.stack([stream.draw(7, task).pixels for task in range(6)])
    np.testing.assert_array_equal(np.sort(orders, 1), np.tile(np.arange(MAP_PIXELS), (6, 1)))
    changed = (orders[1:] != orders[:-1]).sum(1)
    assert (changed <= stream.moved).all()
    assert changed.mean() > 0.8 * stream.moved
    assert (ShuffledGridworld(moved=0).draw(7, 5).pixels == orders[0]).all()
    everywhere = ShuffledGridworld(moved=MAP_PIXELS).draw(7, 5).pixels
    assert (everywhere == orders[0]).mean() < 0.2
    with pytest.raises(ValueError, match="moved"):
        ShuffledGridworld(moved=MAP_PIXELS + 1)


def test_a_task_depends_on_seed_and_index_alone() -> None:
    again = worlds((0, 1, 2), task=0)
    for chosen in actions((0, 1, 2), 30):
        again.step(chosen)
    again.begin(3)
    chosen = actions((0, 1, 2), 100)
    for one, other in zip(played(worlds(), chosen), played(again, chosen), strict=True):
        np.testing.assert_array_equal(one, other)
    other_task = worlds(task=4)
    assert (other_task.observations != worlds().observations).any()


def test_a_seed_does_not_see_who_else_is_in_the_stack() -> None:
    chosen = actions((9, 2), 400)
    both = played(worlds((9, 2)), chosen)
    for s, seed in enumerate((9, 2)):
        alone = played(worlds((seed,)), chosen[:, s : s + 1])
        for one, other in zip(both, alone, strict=True):
            np.testing.assert_array_equal(one[:, s : s + 1], other)


def test_continues_bit_for_bit_from_a_saved_state() -> None:
    seeds = (0, 3)
    chosen = actions(seeds, 1500)
    made = worlds(seeds)
    for action in chosen[:50]:
        made.step(action)
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    rest = played(made, chosen[50:])  # long enough that new episodes are drawn
    file.seek(0)
    restored = worlds(seeds)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for one, other in zip(rest, played(restored, chosen[50:]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_step_gives_fresh_arrays() -> None:
    made = worlds()
    kept = [(made.observations, made.observations.copy())]
    for chosen in actions((0, 1, 2), 40):
        step = made.step(chosen)
        kept += [(array, array.copy()) for array in (made.observations, *step)]
    for array, copy in kept:
        np.testing.assert_array_equal(array, copy)


def test_draws_come_from_the_seeds_data() -> None:
    np.testing.assert_array_equal(
        ShuffledGridworld().draw(1, 0).pixels, generator(1, "data", 0).permutation(MAP_PIXELS)
    )
