"""The cost of a sweep relative to a run: processor time of the stacks that `sweep` and `run` train, per step.

    OMP_NUM_THREADS=1 python benchmarks/sweep_cost.py [--methods none l2 syre cbp] [--repeats 5]

A sweep of 12 configurations on 4 tuning seeds trains 48 seeds, a run 16. The table shows how many runs a
sweep costs: with its configurations one after the other (stacks of 4 seeds), and stacked as `sweep` plans it,
in one process and in four (with the stacks and their seeds in brackets). In four processes a run is four
stacks of 4 seeds. One thread, as in a worker: waiting threads of numpy would use processor time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from plasticity_bench.agents.grouped_learner import GroupedLearner
from plasticity_bench.agents.supervised import StackLearner, SupervisedLearner
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.registry.learning_rate import with_learning_rate
from plasticity_bench.running.job import Job
from plasticity_bench.running.plan import open_cells, plan_jobs
from plasticity_bench.running.training import stream_and_method
from plasticity_bench.tasks.base import SupervisedStream
from plasticity_bench.tuning.sweep import plan_sweep, tuning_seeds

STREAMS = ("permuted-digits", "bit-flip")
BUDGET, TUNING, RUN, PROCESSES = 12, 4, 16, 4


def learner_of(job: Job) -> StackLearner:
    """The learner as a worker makes it."""
    (stream, *_), methods = zip(*map(stream_and_method, job.members), strict=True)
    assert isinstance(stream, SupervisedStream)
    made = [(method.make(), with_learning_rate(stream, method)) for method in methods]
    if job.others:
        return GroupedLearner(stream, made, job.seeds)
    return SupervisedLearner(stream, made[0][0], job.seeds, optimizer=made[0][1])


def microseconds(learners: Sequence[StackLearner], tasks: int) -> float:
    """Processor time of one step of every learner, over their next tasks."""
    total = 0.0
    for learner in learners:
        updates, stop, start = learner.progress, learner.task + tasks, time.process_time()
        while learner.task < stop:
            learner.advance()
        total += 1e6 * (time.process_time() - start) / (learner.progress - updates)
    return total


def plans(stream: str, method: str, folder: Path) -> dict[str, list[Job]]:
    """The plans to compare: run and sweep, in one process and in four."""
    sweep = open_cells(
        folder, plan_sweep(choose_stream(stream), choose_method(method), BUDGET).cells(), tuning_seeds(TUNING)
    )
    run = open_cells(folder, [plan_cell(stream, method)], range(RUN))
    return {
        "run": plan_jobs(run, 1, ["cpu"]),
        "run, 4": plan_jobs(run, PROCESSES, ["cpu"]),
        "apart": [job for item in sweep for job in plan_jobs([item], 1, ["cpu"])],
        "sweep": plan_jobs(sweep, 1, ["cpu"]),
        "sweep, 4": plan_jobs(sweep, PROCESSES, ["cpu"]),
    }


def main() -> None:
    """Measures in turns and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["none", "l2", "syre", "cbp"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=2, help="per repeat")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(f"{'':24}{'run of 16':>10}{'sweep, in runs: apart':>24}{'side by side':>22}{'4 processes':>22}")
    for stream in STREAMS:
        for method in args.methods:
            with tempfile.TemporaryDirectory() as folder:
                jobs = plans(stream, method, Path(folder))
                learners = {name: [learner_of(job) for job in of] for name, of in jobs.items()}
            found: dict[str, list[float]] = {name: [] for name in learners}
            for repeat in range(args.repeats + 1):  # the first warms up
                for name, of in learners.items():
                    spent = microseconds(of, args.tasks)
                    found[name] += [spent] if repeat else []
            of_run, of_run_4, apart, sweep, sweep_4 = map(statistics.median, found.values())
            stacks = [f"({len(jobs[name])} x {jobs[name][0].count})" for name in ("sweep", "sweep, 4")]
            print(
                f"{f'{stream}, {method}':24}{of_run:8.0f}us{apart / of_run:24.1f}"
                f"{f'{stacks[0]} {sweep / of_run:.1f}':>22}{f'{stacks[1]} {sweep_4 / of_run_4:.1f}':>22}",
                flush=True,
            )


if __name__ == "__main__":
    main()
