"""The cost of fresh twins as a share of a run: processor time per step of twins and of the run, in turns.

    python -m benchmarks.twins_cost [--streams bit-flip] [--methods none syre] [--repeats 5]

A run trains its twins on every tenth task and on the late ones. Twins have to be set up at every task, but
are not measured, and train in stacks of up to 16. The share is the ratio of the times per step, times the
number of twins per task of the stream.
"""

from __future__ import annotations

import argparse
import statistics

from benchmarks.timing import interleave, one_thread, spread, timed
from plasticity_bench.agents.twins import FreshTwins
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.running.job import Trainer
from plasticity_bench.running.training import make_learner
from plasticity_bench.specs import twin_tasks

STREAMS = ("permuted-digits", "bit-flip", "permuted-mnist-long", "shuffled-gridworld")


def seconds_per_step(trainer: Trainer, steps: int) -> float:
    """Processor time of a step, over the next ``steps`` or until the training ends."""
    begun = trainer.progress

    def work() -> None:
        while not trainer.finished and trainer.progress < begun + steps:
            trainer.advance()

    return timed(work)[0].cpu / (trainer.progress - begun)


def ratio(stream: str, method: str, seeds: int, repeats: int) -> list[float]:
    """Time of a twin's step over that of a run's step, for every repeat."""
    plan = plan_cell(stream, method)
    made, chosen = plan.stream.make(), plan.method
    learner = make_learner(made, chosen, range(seeds), "cpu")
    tasks = twin_tasks(made.tasks)[-3:]

    def run() -> float:
        return seconds_per_step(learner, 3 * made.steps)

    def twins() -> float:
        def work() -> None:
            trainer = FreshTwins(made, chosen.make, range(seeds), tasks, networks=16)
            while not trainer.finished:
                trainer.advance()

        return timed(work)[0].cpu / (len(tasks) * made.steps)

    times = interleave({"run": run, "twins": twins}, repeats)
    learner.close()
    return [b / a for a, b in zip(times["run"], times["twins"], strict=True)]


def main() -> None:
    """Measures every stream and method, and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", nargs="+", default=STREAMS)
    parser.add_argument("--methods", nargs="+", default=["none", "syre"])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    one_thread()
    print(f"{'stream, method':34}{'seeds':>6}{'twins':>7}{'step of a twin / of a run':>30}{'share':>8}")
    for stream in args.streams:
        info = plan_cell(stream, "none").stream
        tasks = info.make().tasks
        count = len(twin_tasks(tasks))
        for method in args.methods:
            found = ratio(stream, method, info.cls.info.seeds, args.repeats)
            share = statistics.median(found) * count / tasks
            print(
                f"{f'{stream}, {method}':34}{info.cls.info.seeds:6}{count:7}{spread(found):>30}{share:8.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
