"""Environment steps per second on one core: ours, the published environments, and the physics alone.

All take the same random actions, from the same seeds, through the same episodes, resets included. They are
made by ``gymnasium.make`` without the checks that are on by default. "Physics only" repeats our rollout with
only the calls that set the torques and step PyBullet. "With queries" also makes the calls that read what
observations and rewards depend on, and ignores their results. The contestants take turns within every repeat,
and ratios are taken within a repeat: a machine that becomes slower slows all of them.

Exit code 1: the environments did not give the same rewards, so their speeds cannot be compared.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pybullet
import pybullet_envs_gymnasium  # noqa: F401  # registers the published environments

import plasticity_bench.envs  # noqa: F401  # and this ours
from benchmarks.timing import interleave, machine, one_thread
from plasticity_bench.envs.locomotion import Locomotion
from plasticity_bench.envs.variables import Variables
from plasticity_bench.envs.world import World

ROBOTS = ("Ant", "HalfCheetah", "Hopper", "Walker2D")
OURS, PUBLISHED, PHYSICS, QUERIES = "ours", "published", "physics only", "with queries"
#: Joint angles at the start of an episode (radians), and the torques of its steps (N m).
Episode = tuple[list[float], list[list[float]]]


@dataclass
class Rollout:
    """One contestant's run through all steps of a repeat."""

    rate: float  # steps per second
    core: float  # processor time over wall time; less than 1 if another process used the core
    rewards: float = 0.0  # their sum


@dataclass
class Contest:
    """The contestants, on one robot."""

    robot: str
    steps: int
    rollouts: dict[str, list[Rollout]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = {OURS: f"plasticity_bench/{self.robot}-v0", PUBLISHED: f"{self.robot}BulletEnv-v0"}
        self.envs = {who: gymnasium.make(name, disable_env_checker=True) for who, name in made.items()}
        space = self.envs[OURS].action_space
        assert space.shape is not None
        self.actions = np.random.default_rng(0).uniform(-1, 1, (self.steps, *space.shape)).astype(np.float32)
        self.rollouts = {who: [] for who in (OURS, PUBLISHED, PHYSICS, QUERIES)}
        for env in self.envs.values():
            env.reset()  # loads the world, so that all contestants start equal

    def record(self) -> list[Episode]:
        """Our rollout."""
        env = self.envs[OURS]
        inner: Any = env.unwrapped
        env.reset(seed=0)
        episodes: list[Episode] = []
        ended = True
        for action in self.actions:
            if ended and episodes:
                env.reset()
            if ended:
                episodes.append(([joint[0] for joint in inner._world.joint_states()], []))
            _, _, terminated, truncated, _ = env.step(action)
            episodes[-1][1].append(inner._torques[-len(action) :].tolist())
            ended = terminated or truncated
        return episodes

    def run(self, who: str) -> None:
        """One timed rollout."""
        if who in (PHYSICS, QUERIES):
            inner = self.envs[OURS].unwrapped
            assert isinstance(inner, Locomotion)
            assert inner._world is not None
            self._physics(who, inner._world, self.record(), inner.variables)
            return
        env, total = self.envs[who], 0.0
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        env.reset(seed=0)
        for action in self.actions:
            _, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            if terminated or truncated:
                env.reset()
        self._finish(who, wall, cpu, total)

    def _physics(self, who: str, world: World, episodes: list[Episode], variables: Variables) -> None:
        body, client, links = world.body, world.client, world._links
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        for angles, steps in episodes:
            world.reset(angles, variables)
            for torques in steps:
                world.step(torques)
                if who == PHYSICS:
                    continue
                pybullet.getJointStates(body, world.joints, client)
                pybullet.getContactPoints(body, world.ground, -2, -1, client)
                pybullet.getLinkStates(body, links, 0 if world._torso_is_base else 1, 0, client)
                if world._torso_is_base:
                    pybullet.getBasePositionAndOrientation(body, client)
                    pybullet.getBaseVelocity(body, client)
        self._finish(who, wall, cpu, 0.0)

    def _finish(self, who: str, wall: float, cpu: float, rewards: float) -> None:
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.rollouts[who].append(Rollout(self.steps / wall, cpu / wall, rewards))


def compete(robot: str, steps: int, repeats: int) -> Contest:
    """Every contestant once per repeat, each repeat beginning with another; a first round is not counted."""
    contest = Contest(robot, steps)
    interleave({who: partial(contest.run, who) for who in contest.rollouts}, repeats)
    contest.rollouts = {who: rollouts[1:] for who, rollouts in contest.rollouts.items()}
    return contest


def row(contest: Contest) -> dict[str, Any]:
    """Prints one row of the table, returns its numbers."""
    rates = {who: [r.rate for r in rollouts] for who, rollouts in contest.rollouts.items()}
    cells = [f"{statistics.median(rates[who]):,.0f}" for who in (PUBLISHED, OURS, QUERIES, PHYSICS)]
    ratios = {}
    for who, unit in ((PUBLISHED, "{:.2f}x"), (QUERIES, "{:.0%}"), (PHYSICS, "{:.0%}")):
        found = [mine / other for mine, other in zip(rates[OURS], rates[who], strict=True)]
        middle, least, most = map(unit.format, (statistics.median(found), min(found), max(found)))
        cells.append(f"{middle} ({least} to {most})")
        ratios[who] = found
    core = statistics.fmean(r.core for rollouts in contest.rollouts.values() for r in rollouts)
    print(f"| {contest.robot} | " + " | ".join(cells) + f" | {core:.0%} |", flush=True)
    return {"rates": rates, "ratios": ratios, "core_used": core}


def main() -> int:
    """Measures, prints the table, checks that the rewards are the same."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="counted repeats (7)")
    parser.add_argument("--steps", type=int, default=2000, help="steps of each contestant and repeat (2000)")
    parser.add_argument("--robots", nargs="+", choices=ROBOTS, default=ROBOTS)
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all numbers here")
    args = parser.parse_args()
    if min(args.repeats, args.steps) < 1:
        parser.error("all counts are at least 1")
    facts = machine()
    one_thread()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(f"{args.steps} steps, {args.repeats} repeats, one core")
    print("\n| robot | published | ours | with queries | physics only |", end="")
    print(" ours / published | ours / with queries | ours / physics only | core used |")
    print("|---|" + "---:|" * 8)
    numbers, problems = {}, []
    for robot in args.robots:
        contest = compete(robot, args.steps, args.repeats)
        numbers[robot] = row(contest)
        rewards = {r.rewards for who in (OURS, PUBLISHED) for r in contest.rollouts[who]}
        if len(rewards) > 1:
            problems.append(f"{robot}: sums of rewards differ: {sorted(rewards)}")
    if args.json:
        args.json.write_text(json.dumps({"machine": facts, "robots": numbers}, indent=1) + "\n")
    for problem in problems:
        print(f"environments: {problem}", file=sys.stderr)
    if not problems:
        print("\nChecked: ours and published have the same sums of rewards.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
