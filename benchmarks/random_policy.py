"""Measures the return of a random policy on the control streams: their chance level.

    python -m benchmarks.random_policy [STREAM ...]

Actions are uniform, over the tasks of 32 seeds. Prints the mean return of episodes and its uncertainty.
"""

from __future__ import annotations

import sys

import numpy as np

from plasticity_bench.registry.catalog import STREAMS
from plasticity_bench.registry.create import create_stream
from plasticity_bench.tasks.base import ControlStream

SEEDS, TASKS, EPISODES = 32, 10, 3  # episodes of every environment in every task


def returns(stream: ControlStream, seeds: int, tasks: int, episodes: int) -> np.ndarray:
    """Returns of at least ``episodes`` of each environment in each task, as means per seed: ``(seeds,)``."""
    worlds, rng = stream.worlds(range(seeds)), np.random.default_rng(0)
    shape, outputs = (seeds, stream.ppo.environments), stream.network.outputs
    total, number = np.zeros(seeds), np.zeros(seeds)
    for task in range(min(tasks, stream.tasks)):
        worlds.begin(task)
        running, ended = np.zeros(shape), np.zeros(shape, int)
        while ended.min() < episodes:
            if stream.discrete:
                step = worlds.step(rng.integers(outputs, size=shape))
            else:
                step = worlds.step(rng.uniform(-1, 1, (*shape, outputs)).astype(np.float32))
            running += step.rewards
            done = step.terminated | step.truncated
            # Only the first episodes of each environment, or short episodes would count more.
            counted = done & (ended < episodes)
            total += (running * counted).sum(1)
            number += counted.sum(1)
            ended += done
            running[done] = 0
    worlds.close()
    return total / number


def main() -> None:
    """Prints one line per stream."""
    names = sys.argv[1:] or STREAMS
    for name in names:
        stream = create_stream(name)
        if isinstance(stream, ControlStream):
            found = returns(stream, SEEDS, TASKS, EPISODES)
            error = found.std(ddof=1) / len(found) ** 0.5
            print(f"{name:24} {found.mean():9.3f} +- {error:.3f}")


if __name__ == "__main__":
    main()
