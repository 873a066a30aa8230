"""What a sweep costs beside a run: processor time of training one seed for one step, by the number of seeds
that train side by side, on one core.

    python benchmarks/sweep_cost.py [--methods none l2 cbp] [--repeats 5]

A sweep of 12 configurations on 4 tuning seeds trains 48 seeds, 4 side by side; a run trains 16, all side by
side. The last columns say what a sweep costs, in runs: as it is, and if all configurations were one stack of
48, the most that could be gained from that on a core.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.registry import choose_method, choose_stream, method_of, stream_of
from plasticity_bench.tasks.base import SupervisedStream

STREAMS = ("permuted-digits", "bit-flip")
BUDGET, TUNING, RUN = 12, 4, 16
STACKS = (TUNING, RUN, BUDGET * TUNING)


def microseconds(learner: SupervisedLearner, tasks: int) -> float:
    """Processor time of a seed's step, over the learner's next tasks."""
    updates, stop, start = learner.updates, learner.task + tasks, time.process_time()
    while learner.task < stop:
        learner.advance()
    return 1e6 * (time.process_time() - start) / (learner.updates - updates) / len(learner.seeds)


def main() -> None:
    """Measures in turns and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["none", "l2", "cbp"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=2, help="per repeat")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    head = "".join(f"{f'{size} seeds':>12}" for size in STACKS)
    print(f"{'microseconds per seed and step':36}{head}   sweep, in runs   in one stack")
    for name in STREAMS:
        stream = stream_of(choose_stream(name))
        assert isinstance(stream, SupervisedStream)
        for method in args.methods:
            learners = [
                SupervisedLearner(stream, method_of(choose_method(method)), range(size)) for size in STACKS
            ]
            for learner in learners:
                microseconds(learner, 1)
            found: list[list[float]] = [[] for _ in STACKS]
            for _ in range(args.repeats):
                for values, learner in zip(found, learners, strict=True):
                    values.append(microseconds(learner, args.tasks))
            few, run, all_together = map(statistics.median, found)
            ratios = [BUDGET * TUNING * own / (RUN * run) for own in (few, all_together)]
            times = "".join(f"{value:12.1f}" for value in (few, run, all_together))
            print(f"{f'{name}, {method}':36}{times}{ratios[0]:17.1f}{ratios[1]:15.1f}", flush=True)


if __name__ == "__main__":
    main()
