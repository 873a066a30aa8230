"""Checks that our robots are bit-identical to the published ones, over whole runs of many seeds.

Both environments get the same seed and the same actions. Episodes end by a fall or the time limit, and later
resets are given no seed. Bytes and types of observations, rewards, ends and infos are compared. At the end,
more environments are opened and closed than PyBullet has clients.

Exit code 1: something differed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pybullet_envs_gymnasium  # noqa: F401  # registers the published environments

import plasticity_bench.envs  # noqa: F401  # and this ours

ROBOTS = ("Ant", "HalfCheetah", "Hopper", "Walker2D")
#: (step, observation) -> action
Policy = Callable[[int, np.ndarray], np.ndarray]


def random(seed: int, observations: int, actions: int) -> Policy:
    """Uniform actions, a third of them beyond the limits."""
    rng = np.random.default_rng(seed)
    return lambda step, observation: rng.uniform(-1.5, 1.5, actions).astype(np.float32)


def gait(seed: int, observations: int, actions: int) -> Policy:
    """Sines of one frequency with linear feedback from the observation; every seed has its own gait."""
    rng = np.random.default_rng(seed)
    phase, pace = rng.uniform(0, 2 * np.pi, actions), rng.uniform(0.05, 0.4)
    feedback = rng.normal(0, 0.1, (actions, observations))

    def policy(step: int, observation: np.ndarray) -> np.ndarray:
        return (np.sin(pace * step + phase) + feedback @ observation).astype(np.float32)

    return policy


def exact(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """What reset or step returned; the observation as type and bytes, the reward with its type."""
    observation, *rest = values
    return observation.dtype, observation.tobytes(), [(type(value), value) for value in rest]


def compare(name: str, seed: int, steps: int, policy: Policy) -> tuple[int, str]:
    """(number of episodes that ended, the first difference; "" if there is none)."""
    theirs, ours = gymnasium.make(f"{name}BulletEnv-v0"), gymnasium.make(f"plasticity_bench/{name}-v0")
    expected: tuple[Any, ...] = theirs.reset(seed=seed)
    found: tuple[Any, ...] = ours.reset(seed=seed)
    episodes = step = 0
    while exact(expected) == exact(found) and step < steps:
        action = policy(step, expected[0])
        ended = len(expected) == 5 and (expected[2] or expected[3])
        if ended:
            episodes += 1
            expected, found = theirs.reset(), ours.reset()
        else:
            step += 1
            expected, found = theirs.step(action), ours.step(action)
    theirs.close()
    ours.close()
    differing = "" if exact(expected) == exact(found) else f"step {step}: {expected} is not {found}"
    return episodes, differing


def spaces(name: str) -> tuple[Any, Any]:
    """The spaces of observations and actions; also checks that both environments have the same ones."""
    theirs, ours = gymnasium.make(f"{name}BulletEnv-v0"), gymnasium.make(f"plasticity_bench/{name}-v0")
    if (theirs.observation_space, theirs.action_space) != (ours.observation_space, ours.action_space):
        raise SystemExit(f"environments_exact: {name} has other spaces")
    return ours.observation_space, ours.action_space


def memory() -> float:
    """MB in use by this process; 0 if there is no /proc."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * 4096 / 1e6 if path.exists() else 0.0


def open_and_close(times: int) -> str:
    """Opens and closes environments; the growth of memory after the first tenth of them, as text."""
    before = 0.0
    for i in range(times):
        env = gymnasium.make("plasticity_bench/Hopper-v0")
        env.reset(seed=0)
        env.step(env.action_space.sample())
        env.close()
        before = memory() if i == times // 10 else before
    return f"{memory() - before:+.1f} MB"


def main() -> int:
    """Compares, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="seeds of each robot and policy (20)")
    parser.add_argument("--steps", type=int, default=1200, help="steps of each seed (1200)")
    parser.add_argument("--robots", nargs="+", choices=ROBOTS, default=ROBOTS)
    parser.add_argument("--opened", type=int, default=1100, help="environments to open and close (1100)")
    args = parser.parse_args()
    print("| robot | policy | seeds | steps | episodes ended | seeds that differ |")
    print("|---|---|---:|---:|---:|---:|", flush=True)
    differences = []
    for name in args.robots:
        sizes = [space.shape[0] for space in spaces(name)]
        for kind in (random, gait):
            ended, differing = 0, []
            for seed in range(args.seeds):
                episodes, difference = compare(name, seed, args.steps, kind(seed, *sizes))
                ended += episodes
                differing += [f"{name}, {kind.__name__}, seed {seed}, {difference}"] if difference else []
            row = f"| {name} | {kind.__name__} | {args.seeds} | {args.seeds * args.steps:,} | {ended:,} |"
            print(row, f"{len(differing)} |", flush=True)
            differences += differing
    for difference in differences:
        print(f"environments_exact: {difference}", file=sys.stderr)
    print(f"\n{args.opened} environments opened and closed: {open_and_close(args.opened)}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
