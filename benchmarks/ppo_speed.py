"""Training steps per second of PPO on Ant, on one core: ours, and stable-baselines3's on two environments.

    python -m benchmarks.ppo_speed

A step is one environment step with all its cost: acting, the simulation, and its share of the update after
every 2,048 steps. All have the same networks, hyperparameters, initial weights and generators. The
contestants take turns within every repeat, each from the start of training, and ratios are taken within a
repeat: a machine that becomes slower slows all of them.

Exit code 1: after some rollouts our weights were not bit-identical to those of stable-baselines3 on the
published environment (with an unfused Adam, as in stable-baselines3), or stable-baselines3 learned other
weights on our environment. Speeds cannot be compared then.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pybullet_envs_gymnasium  # noqa: F401  # registers the published environments
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

import plasticity_bench.envs  # noqa: F401  # and this ours
from benchmarks.timing import interleave, machine, one_thread
from plasticity_bench.agents.ppo import PPOLearner
from plasticity_bench.registry.create import create_method, create_stream
from plasticity_bench.seeding import generator
from plasticity_bench.tasks.base import ControlStream

OURS, PEER, PUBLISHED = "plasticity_bench", "SB3, our Ant", "SB3, published Ant"
ENVIRONMENTS = {PEER: "plasticity_bench/Ant-v0", PUBLISHED: "AntBulletEnv-v0"}
PARTS = ("physics", "other environment", "policy", "learning")
#: A process that trains one seed and prints its peak memory.
MEMORY = """
import sys, torch
from benchmarks.timing import peak_memory
from plasticity_bench.agents.ppo import PPOLearner
from plasticity_bench.registry.create import create_method, create_stream
torch.set_num_threads(1)
learner = PPOLearner(create_stream("ant"), create_method("none"), [0])
for _ in range(int(sys.argv[1])):
    learner.advance()
print(peak_memory())
"""


def stream() -> ControlStream:
    """The stream that is trained."""
    found = create_stream("ant")
    assert isinstance(found, ControlStream)
    return found


@dataclass
class Clock:
    """Seconds spent under each name; nested calls count under both names."""

    spent: dict[str, float] = field(default_factory=dict)

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Times every call of ``owner.method`` from now on."""
        function: Callable[..., Any] = getattr(owner, method)
        self.spent.setdefault(name, 0.0)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent[name] += time.perf_counter() - start

        setattr(owner, method, timed)


@dataclass(frozen=True)
class Stretch:
    """One contestant's training in one repeat."""

    steps: int
    wall: float  # seconds
    cpu: float  # seconds of processor time; less than wall if another process used the core
    spent: Mapping[str, float]  # seconds of the physics, all of the environment, and learning
    weights: list[torch.Tensor]  # at the end

    def parts(self) -> list[float]:
        """Microseconds per step, as in PARTS."""
        physics, environment, learning = (self.spent[name] for name in ("physics", "environment", "learning"))
        seconds = physics, environment - physics, self.wall - environment - learning, learning
        return [1e6 * part / self.steps for part in seconds]


def learner_of(method: str = "none", *, fused: bool = True) -> PPOLearner:
    """Our learner, as a worker process of ``run`` makes it."""
    made = stream()
    optimizer = replace(made.optimizer, fused=fused)
    return PPOLearner(made, create_method(method), [0], optimizer=optimizer)


def weights_of(learner: PPOLearner) -> list[torch.Tensor]:
    """Our weights: weight and bias of every layer, then the log standard deviations."""
    layers = (*learner.actor.layers, *learner.critic.layers)
    found = [p.detach()[0] for layer in layers for p in layer.parameters()]
    log_std = learner.actor.layers[-1].log_std
    assert log_std is not None
    return [*found, log_std.detach()[0]]


def weights_of_peer(model: PPO) -> list[torch.Tensor]:
    """The weights of stable-baselines3, in the same order."""
    policy = model.policy
    modules: list[Any] = [*policy.mlp_extractor.policy_net[::2], policy.action_net]
    modules += [*policy.mlp_extractor.value_net[::2], policy.value_net]
    found = [p.detach() for module in modules for p in (module.weight, module.bias)]
    return [*found, policy.log_std.detach()]


def peer_of(environment: str, learner: PPOLearner) -> PPO:
    """stable-baselines3 with our settings, initial weights and generators, starting like our seed 0."""
    spec, optimizer, network = learner.spec, learner.stream.optimizer, learner.stream.network
    model = PPO(
        "MlpPolicy",
        gymnasium.make(environment, disable_env_checker=True),
        learning_rate=optimizer.lr,
        n_steps=spec.rollout,
        batch_size=spec.batch,
        n_epochs=spec.epochs,
        gamma=spec.gamma,
        gae_lambda=spec.gae_lambda,
        clip_range=spec.clip,
        ent_coef=spec.entropy,
        vf_coef=spec.value,
        max_grad_norm=spec.max_grad_norm,
        policy_kwargs={
            "net_arch": list(network.hidden),
            "activation_fn": torch.nn.ReLU,
            "optimizer_kwargs": {"betas": optimizer.betas, "eps": optimizer.eps},
        },
        seed=0,
        device="cpu",
    )
    start = int(generator(0, "data", 0).integers(2**31))  # as tasks.ant.Ants begins the task
    model.get_env().seed(start)  # type: ignore[union-attr]
    for theirs, mine in zip(weights_of_peer(model), weights_of(learner), strict=True):
        theirs.copy_(mine)
    learner.rng.noise[0].set_state(torch.get_rng_state())
    learner.rng.order[0].set_state(np.random.get_state())  # noqa: NPY002
    return model


def ours(method: str, rollouts: int, *, fused: bool = True) -> Stretch:
    """Our learner from the start, with everything that ``run`` does."""
    learner, clock = learner_of(method, fused=fused), Clock()
    worlds: Any = learner.worlds
    peer_of(ENVIRONMENTS[PEER], learner).get_env().close()  # type: ignore[union-attr]  # generators alone
    clock.watch(worlds.ants[0]._world, "step", "physics")
    clock.watch(worlds, "step", "environment")
    clock.watch(learner, "_learn", "learning")
    gc.collect()  # so that no contestant pays for the garbage of another
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(rollouts):
        learner.advance()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    learner.close()
    return Stretch(rollouts * learner.examples, wall, cpu, clock.spent, weights_of(learner))


class Started(BaseCallback):
    """Starts the clocks after the first reset of the environment; ours is reset before its clock starts."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def _on_training_start(self) -> None:
        model, clock = self.model, self.clock
        assert isinstance(model, PPO)
        env = self.training_env
        inner: Any = env.envs[0].unwrapped  # type: ignore[attr-defined]
        if hasattr(inner, "_world"):
            clock.watch(inner._world, "step", "physics")
        else:
            clock.watch(inner.robot, "apply_action", "physics")
            clock.watch(inner.scene, "global_step", "physics")
        clock.watch(env, "step", "environment")
        clock.watch(model, "train", "learning")
        clock.watch(model.rollout_buffer, "compute_returns_and_advantage", "learning")
        gc.collect()
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def _on_step(self) -> bool:
        return True


def peer(environment: str, rollouts: int) -> Stretch:
    """stable-baselines3 from the start."""
    learner = learner_of()
    learner.close()
    model, clock = peer_of(environment, learner), Clock()
    started = Started(clock)
    steps = rollouts * model.n_steps
    model.learn(steps, started)
    wall, cpu = time.perf_counter() - started.wall, time.process_time() - started.cpu
    started.training_env.close()
    return Stretch(steps, wall, cpu, clock.spent, weights_of_peer(model))


def print_table(results: Mapping[str, list[Stretch]]) -> dict[str, Any]:
    """Prints a Markdown table, returns its numbers."""
    print(f"\n| | steps/s | {OURS} against this (min to max) | " + " | ".join(PARTS) + " | core used |")
    print("|---" * (len(PARTS) + 4) + "|")
    table = {}
    for name, stretches in results.items():
        rates = [s.steps / s.wall for s in stretches]
        ratios = [s.wall / b.wall for b, s in zip(results[OURS], stretches, strict=True)]
        parts = [statistics.median(column) for column in zip(*(s.parts() for s in stretches), strict=True)]
        core = sum(s.cpu for s in stretches) / sum(s.wall for s in stretches)
        spread = f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"
        cells = [f"{statistics.median(rates):,.0f}", "" if name == OURS else spread]
        cells += [f"{part:,.0f} µs" for part in parts]
        print(f"| {name} | " + " | ".join(cells) + f" | {core:.0%} |")
        table[name] = {
            "rates": rates,
            "ratios": ratios,
            "core_used": core,
            "parts": dict(zip(PARTS, parts, strict=True)),
        }
    return table


def differences(results: Mapping[str, list[Stretch]], rollouts: int) -> list[str]:
    """Reasons why the contestants' speeds cannot be compared."""

    def same(left: Stretch, right: Stretch) -> bool:
        return all(torch.equal(a, b) for a, b in zip(left.weights, right.weights, strict=True))

    found = []
    peers = [*results[PEER], *results[PUBLISHED]]
    if not all(same(peers[0], other) for other in peers):
        found.append("stable-baselines3's weights on our Ant differ from those on the published one")
    if not same(peers[0], ours("none", rollouts, fused=False)):
        found.append("our weights differ from stable-baselines3's")
    return found


def memory(rollouts: int) -> float:
    """Peak resident memory, in MB, of a fresh process that trains one seed and loads nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(rollouts)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> int:
    """Measures, prints the table, checks that the contestants learned the same."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="counted repeats (7)")
    parser.add_argument("--rollouts", type=int, default=2, help="of 2,048 steps, per repeat (2)")
    parser.add_argument("--methods", nargs="*", default=["l2", "syre"], help="also ours with these (l2 syre)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all numbers here")
    args = parser.parse_args()
    if min(args.repeats, args.rollouts) < 1:
        parser.error("all counts are at least 1")
    facts = machine()
    one_thread()  # as the product's worker processes; the peers gain from it too
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(f"{args.rollouts} rollouts of 2,048 steps, {args.repeats} repeats, one core and thread")

    contestants = {OURS: partial(ours, "none", args.rollouts)}
    contestants |= {name: partial(peer, env, args.rollouts) for name, env in ENVIRONMENTS.items()}
    contestants |= {f"{OURS}, {method}": partial(ours, method, args.rollouts) for method in args.methods}
    results = interleave(contestants, args.repeats)
    table = print_table(results)
    used = memory(args.rollouts)
    print(f"\nPeak memory of a process that trains one seed: {used:,.0f} MB")
    if args.json:
        numbers = {"machine": facts, "settings": vars(args), "speed": table, "memory": used}
        args.json.write_text(json.dumps(numbers, indent=1, default=str) + "\n")
    problems = differences(results, args.rollouts)
    for problem in problems:
        print(f"ppo_speed: {problem}", file=sys.stderr)
    if not problems:
        print("Checked: unfused, our weights are those of stable-baselines3 on both Ants, bit for bit.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
