"""How cost grows: memory and time of a step with the number of seeds, the number of tasks, and the width.

    python -m benchmarks.growth [--seeds 1 4 16 64] [--widths 50 100 200 400] [--tasks 120]

Memory is the peak resident memory of a fresh process that trains a stack and loads nothing else (Linux only).
Times are processor times of one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers import learner_of
from benchmarks.timing import interleave, machine, one_thread, peak_memory, spread, timed
from benchmarks.training_speed import chosen
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import layer_shapes, parameter_count
from plasticity_bench.tasks.digits import PermutedDigits

DIGITS, PERCEPTRON, CONVOLUTIONS = "permuted-digits", "permuted-mnist:architecture=mlp", "permuted-mnist"
#: Steps of a task, if it can be shortened.
STEPS = 32


def wide(width: int) -> PermutedDigits:
    """permuted-digits with two hidden layers of this width."""
    network = replace(PermutedDigits.network, hidden=(width, width))
    made: PermutedDigits = type("Wide", (PermutedDigits,), {"network": network})()
    return made


def train_once(stream: str, seeds: int) -> float:
    """Trains one task with its diagnostics in this process; returns the peak memory in MB."""
    one_thread()
    learner = learner_of(chosen(stream, STEPS)[1], seeds)
    while learner.task < 1:
        learner.advance()
    return peak_memory()


def memory(stream: str, seeds: int) -> float:
    """``train_once`` in a fresh process. Raises CalledProcessError if that fails."""
    code = f"from benchmarks.growth import train_once; print(train_once({stream!r}, {seeds}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def memory_table(streams: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Prints MB by stream and seeds, and MB for every further seed."""
    print("\n| peak memory, MB | " + " | ".join(f"{n} seeds" for n in seeds) + " | per seed | weights |")
    print("|---|" + "---:|" * (len(seeds) + 2))
    rows = {}
    for stream in streams:
        used = [memory(stream, n) for n in seeds]
        per_seed = (used[-1] - used[0]) / (seeds[-1] - seeds[0]) if len(seeds) > 1 else float("nan")
        weights = 4e-6 * parameter_count(chosen(stream, STEPS)[0].network)
        cells = [*(f"{value:,.0f}" for value in used), f"{per_seed:.1f}", f"{weights:.2f}"]
        print(f"| {stream} | " + " | ".join(cells) + " |", flush=True)
        rows[stream] = {"seeds": list(seeds), "megabytes": used, "per_seed": per_seed, "weights": weights}
    return rows


def per_step(stream: PermutedDigits, seeds: int, tasks: int) -> float:
    """Processor seconds of one seed's update, over the first tasks."""
    learner = learner_of(stream, seeds)

    def train() -> None:
        while learner.task < tasks:
            learner.advance()

    return timed(train)[0].cpu / learner.progress / seeds


def seeds_table(seeds: Sequence[int], repeats: int) -> dict[str, Any]:
    """Prints the time of a seed's step by the size of the stack."""
    contestants = {str(n): partial(per_step, PermutedDigits(), n, 6) for n in seeds}
    found = interleave(contestants, repeats)
    print(
        "\n| seeds of permuted-digits | µs per step and seed | a seed costs, of one alone |\n|---:|---:|---:|"
    )
    for name, seconds in found.items():
        ratios = [own / one for own, one in zip(seconds, found[str(seeds[0])], strict=True)]
        print(f"| {name} | {1e6 * statistics.median(seconds):,.1f} | {spread(ratios)} |")
    return found


def widths_table(widths: Sequence[int], repeats: int) -> dict[str, Any]:
    """Prints the time of a step by the width of both hidden layers, for 16 seeds."""
    found = interleave({str(w): partial(per_step, wide(w), 16, 2) for w in widths}, repeats)
    print("\n| width, 16 seeds | parameters | µs per step and seed | ns per parameter | GFLOP/s |")
    print("|---:|" + "---:|" * 4)
    for name, seconds in found.items():
        spec, middle = wide(int(name)).network, statistics.median(seconds)
        count, batch = parameter_count(spec), PermutedDigits.batch
        first = layer_shapes(spec)[0].weight  # no gradient of the inputs
        operations = 2 * batch * (3 * count - first[0] * first[1])
        numbers = (f"{count:,}", f"{1e6 * middle:,.1f}", f"{1e9 * middle / count:.2f}")
        print(f"| {name} | " + " | ".join(numbers) + f" | {operations / middle / 1e9:.1f} |")
    return found


def tasks_table(tasks: int, methods: Sequence[str]) -> dict[str, Any]:
    """Prints the time of a step early and late in a run of 16 seeds; they should be equal."""
    early, late = range(1, tasks // 6), range(tasks - tasks // 6, tasks)
    print(f"\n| {tasks} tasks, 16 seeds | first sixth, µs | last sixth, µs | late against early |")
    print("|---|---:|---:|---:|")
    rows = {}
    for method in methods:
        learner = learner_of(chosen(DIGITS, 0)[0], 16, method)
        seconds = []
        for task in range(tasks):

            def train(learner: Any = learner, task: int = task) -> None:
                while learner.task == task:
                    learner.advance()

            seconds.append(timed(train)[0].cpu / learner.stream.steps / 16)
        # Medians over tasks: those with diagnostics are as frequent in both.
        first, last = (1e6 * statistics.median(seconds[task] for task in part) for part in (early, late))
        print(f"| {method} | {first:.1f} | {last:.1f} | {last / first:.2f}x |", flush=True)
        rows[method] = {"first": first, "last": last, "seconds": seconds}
    return rows


def main(given: list[str] | None = None) -> int:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 4, 16, 64], help="stacks (1 4 16 64)")
    parser.add_argument("--widths", type=int, nargs="+", default=[50, 100, 200, 400], help="(50 100 200 400)")
    parser.add_argument("--tasks", type=int, default=120, help="of the run for growth with tasks (120)")
    parser.add_argument("--methods", nargs="+", default=["none", "cbp", "syre"], help="of that run")
    parser.add_argument("--streams", nargs="*", default=[DIGITS, PERCEPTRON, CONVOLUTIONS], help="for memory")
    parser.add_argument("--repeats", type=int, default=5, help="counted repeats (5)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all numbers here")
    args = parser.parse_args(given)
    if min(*args.seeds, *args.widths, args.repeats) < 1 or args.tasks < 12:
        parser.error("all counts are at least 1, --tasks at least 12")
    for method in args.methods:
        create_method(method)
    facts = machine()
    one_thread()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    numbers = {
        "machine": facts,
        "settings": vars(args),
        "memory": memory_table(args.streams, args.seeds),
        "seeds": seeds_table(args.seeds, args.repeats),
        "widths": widths_table(args.widths, args.repeats),
        "tasks": tasks_table(args.tasks, args.methods),
    }
    if args.json:
        args.json.write_text(json.dumps(numbers, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
