"""The cost of methods: time of a training step relative to ``none``, for a stack of seeds and for one seed.

    python benchmarks/method_cost.py [METHOD ...]

All methods train in one process on one core, in turn, task by task. A repeat is several tasks long, so that
it includes what a method does rarely (``redo`` every 1,000 updates, others at every task). Its ratio is the
method's time over that of ``none`` in the same repeat. Times are processor times: time that other processes
use does not count, though they slow down the shared caches.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.errors import InputError
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.registry.create import create_stream
from plasticity_bench.tasks.base import SupervisedStream

BASE = "none"
#: For methods that by default act only at task boundaries: their variant that acts at every update.
EVERY_UPDATE = ("shrink-perturb:interval=1,shrink=1e-4,noise=1e-4",)


@dataclass
class Contestant:
    """One method in training, and the seconds that each of its repeats took."""

    learner: SupervisedLearner
    seconds: list[float] = field(default_factory=list)

    def train_task(self) -> float:
        """Trains one task; seconds of processor time, including everything that ``run`` does."""
        task = self.learner.task
        start = time.process_time()
        while self.learner.task == task:
            self.learner.advance()
        return time.process_time() - start


def measure(
    stream: SupervisedStream, methods: Sequence[str], seeds: int, repeats: int, tasks: int
) -> dict[str, Contestant]:
    """Times every method and ``none``: ``repeats`` times ``tasks`` tasks, after one that is not counted."""
    names = [BASE, *(name for name in methods if name != BASE)]
    chosen = {name: choose_method(name) for name in names}
    found = {
        name: Contestant(SupervisedLearner(stream, method.make(), range(seeds)))
        for name, method in chosen.items()
    }
    for contestant in found.values():
        contestant.train_task()
    gc.collect()
    gc.disable()  # so that no contestant pays for the garbage of another
    for _ in range(repeats):
        totals = dict.fromkeys(names, 0.0)
        for task in range(tasks):
            first = task % len(names)
            for name in names[first:] + names[:first]:
                totals[name] += found[name].train_task()
        for name, seconds in totals.items():
            found[name].seconds.append(seconds)
        gc.collect()
    gc.enable()
    return found


def table(found: dict[str, Contestant], steps: int) -> dict[str, dict[str, Any]]:
    """Per method: microseconds per step of the stack (median), and ratios to ``none`` per repeat."""
    base = found[BASE].seconds
    return {
        name: {
            "microseconds": 1e6 * statistics.median(contestant.seconds) / steps,
            "ratios": [own / none for own, none in zip(contestant.seconds, base, strict=True)],
        }
        for name, contestant in found.items()
    }


def print_table(rows: dict[str, dict[str, Any]], seeds: int) -> None:
    """As Markdown."""
    print(f"\n| {seeds} seed{'s' if seeds > 1 else ''} | µs per step | times none | min to max |")
    print("|---|---:|---:|---:|")
    for name, row in rows.items():
        ratios = row["ratios"]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| {name} | {row['microseconds']:,.0f} | {statistics.median(ratios):.2f} | {spread} |")


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="with settings as for run (all methods)")
    parser.add_argument("--stream", default="permuted-digits", help="a supervised stream (permuted-digits)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[16, 1], help="sizes of the stack (16 and 1)")
    parser.add_argument("--repeats", type=int, default=9, help="counted repeats (9)")
    tasks = "tasks per repeat (9: 1,008 updates of permuted-digits, a whole period of redo and regrama)"
    parser.add_argument("--tasks", type=int, default=9, help=tasks)
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all numbers here")
    args = parser.parse_args(given)
    if min(*args.seeds, args.repeats, args.tasks) < 1:
        parser.error("all counts are at least 1")
    return args


def main(given: Sequence[str] | None = None) -> int:
    """Measures and prints one table per size of the stack."""
    args = arguments(given)
    methods = args.methods or [*METHODS, *EVERY_UPDATE]
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    # As the product's worker processes do.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    facts = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(), "load before": load}
    try:
        stream = create_stream(args.stream)
        if not isinstance(stream, SupervisedStream):
            raise InputError(f"{args.stream}: only supervised streams are timed here")
        if stream.tasks < 1 + args.repeats * args.tasks:
            raise InputError(f"{args.stream} has only {stream.tasks} tasks: fewer --repeats or --tasks")
        print(", ".join(f"{key} {value}" for key, value in facts.items()))
        print(f"{args.stream}, {args.repeats} repeats of {args.tasks} tasks, one thread")
        tables = {}
        for seeds in args.seeds:
            found = measure(stream, methods, seeds, args.repeats, args.tasks)
            tables[seeds] = table(found, stream.steps * args.tasks)
            print_table(tables[seeds], seeds)
    except InputError as error:
        print(f"method_cost: {error}", file=sys.stderr)
        return 2
    if args.json:
        numbers = {"facts": facts, "settings": vars(args), "seeds": tables}
        args.json.write_text(json.dumps(numbers, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
