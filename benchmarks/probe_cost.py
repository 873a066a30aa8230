"""The cost of the plasticity probe: its share of a run's training time, on streams of every kind.

    python -m benchmarks.probe_cost [--streams permuted-digits bit-flip] [--seeds 16] [--tasks 2]

Some tasks are trained with the probe at the end of each, and the time within the probe is counted apart. A
run probes at few of its tasks, so the share of a whole run follows from one probe, one task without it, and
the stream's number of tasks. All times are processor times.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.timing import machine, now, one_thread, timed
from plasticity_bench.agents import ppo, supervised
from plasticity_bench.agents.ppo import PPOLearner
from plasticity_bench.agents.probe import probe_retention
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.errors import InputError
from plasticity_bench.registry.create import create_method, create_stream
from plasticity_bench.specs import is_probed
from plasticity_bench.tasks.base import ControlStream

#: Stream -> stack sizes that are measured by default.
STACKS = {
    "permuted-digits": (16, 1),
    "bit-flip": (16, 1),
    "permuted-mnist": (1,),
    "permuted-mnist:architecture=mlp": (1,),
    "shuffled-gridworld": (16, 1),
}


class Counted:
    """The probe, which adds up its processor time in ``seconds``."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, *given: Any) -> torch.Tensor:
        start = now()
        found = probe_retention(*given)
        self.seconds += (now() - start).cpu
        return found


def measure(name: str, seeds: int, tasks: int) -> tuple[float, float, int, int]:
    """Median seconds of a probe and of a task without it, probed tasks of a run, tasks of a run."""
    stream = create_stream(name)
    control = isinstance(stream, ControlStream)
    make: Callable[..., Any] = PPOLearner if control else SupervisedLearner
    module: Any = ppo if control else supervised
    kept = module.probe_retention, module.is_probed, module.is_measured
    counted = Counted()
    module.probe_retention, module.is_probed, module.is_measured = counted, always, always
    learner = make(stream, create_method("none"), range(seeds))

    def train() -> None:
        task = learner.task
        while learner.task == task:
            learner.advance()

    probes, others = [], []
    try:
        for _ in range(tasks):
            before = counted.seconds
            total = timed(train)[0].cpu
            probes.append(counted.seconds - before)
            others.append(total - probes[-1])
    finally:
        learner.close()
        module.probe_retention, module.is_probed, module.is_measured = kept
    probed = sum(is_probed(task, stream.tasks) for task in range(stream.tasks))
    return statistics.median(probes), statistics.median(others), probed, stream.tasks


def always(task: int, tasks: int) -> bool:
    """Instead of ``is_probed`` and ``is_measured``: at every task."""
    return True


def main(given: list[str] | None = None) -> int:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", nargs="+", default=list(STACKS), help="names of streams")
    parser.add_argument("--seeds", type=int, nargs="+", help="stacks (1; of small networks 16 too)")
    parser.add_argument("--tasks", type=int, default=3, help="tasks that are trained (3)")
    args = parser.parse_args(given)
    if min(*(args.seeds or [1]), args.tasks) < 1:
        parser.error("all counts are at least 1")
    facts = machine()
    one_thread()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print("\n| stream | seeds | share of a run | probed at | a task, ms | a probe, ms |\n|---|" + "---:|" * 5)
    try:
        for name in args.streams:
            for seeds in args.seeds or STACKS.get(name, (1,)):
                probe, task, probed, tasks = measure(name, seeds, args.tasks)
                share = 100 * probe * probed / (probe * probed + task * tasks)
                columns = [name, f"{seeds}", f"{share:.1f} %", f"{probed} of {tasks} tasks"]
                columns += [f"{1e3 * seconds:,.1f}" for seconds in (task, probe)]
                print(f"| {' | '.join(columns)} |", flush=True)
    except InputError as error:
        print(f"probe_cost: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
