"""Training steps per second on one core: plasticity_bench, a plain PyTorch loop, Avalanche, and the limit.

    python -m benchmarks.training_speed [--stream permuted-digits] [--seeds 1 4 16 64]

All train the same stream from the same initial weights on the same batches with the same Adam. They record
the online accuracy and, if the stream has test images, the accuracy on them at a task's end. A step is one
update of one seed's network. The contestants take turns within every repeat; ratios are of processor time
and taken within a repeat, so that a machine that becomes slower slows all of them.

Exit code 1: the contestants did not learn the same, so their speeds cannot be compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers import SeedData, Trained, avalanche, ours, plain, seed_data
from benchmarks.products import SQUARE, Limit, operations, products, square_rate
from benchmarks.timing import core_used, interleave, machine, one_thread, spread
from plasticity_bench.errors import InputError
from plasticity_bench.registry.create import create_stream
from plasticity_bench.tasks.base import SupervisedStream
from plasticity_bench.tasks.mnist import PermutedMnist

PLAIN, FUSED, AVALANCHE = "plain loop", "plain loop, fused Adam", "Avalanche Naive"
#: Largest accepted difference in a seed's online accuracy on the first task: one image of 1,792 is 0.0006.
FIRST_TASK = 1e-3
#: Largest accepted difference in mean online accuracy over all measured tasks: rounding differences grow.
ALL_TASKS = 1e-2
#: Images of a test set that are predicted at once.
PREDICTED = 1000
#: Steps of a repeat of the limit, at least, summed over the seeds.
LIMIT_STEPS = 256


def name_of(seeds: int) -> str:
    """The name of our contestant with this many seeds."""
    return f"{seeds} seed{'s' if seeds > 1 else ''}"


def chosen(name: str, steps: int) -> tuple[SupervisedStream, SupervisedStream]:
    """The stream, and a copy with tasks of about ``steps`` steps if its tasks can be shortened.

    Raises:
        InputError: if the peers cannot train the stream.
    """
    full = create_stream(name)
    if not isinstance(full, SupervisedStream) or full.info.loss != "cross-entropy":
        raise InputError(f"{name}: choose a stream of classes")
    if full.optimizer.name != "adam":
        raise InputError(f"{name}: choose a stream that is trained with Adam")
    if isinstance(full, PermutedMnist) and steps:
        return full, replace(full, images=steps * full.batch, epochs=1)
    return full, full


class Contest:
    """All contestants on one stream; ``results`` after ``run``."""

    def __init__(self, name: str, seeds: list[int], steps: int, tasks: int, peer_seeds: int) -> None:
        self.full, self.stream = chosen(name, steps)
        self.seeds, self.tasks = seeds, tasks
        spec, batch = self.full.network, self.full.batch
        self.step = products(spec, batch)
        #: A step's share of the predictions of a task's test images, in pieces of ``PREDICTED``.
        self.tested = 10_000 / PREDICTED / self.full.steps if isinstance(self.full, PermutedMnist) else 0.0
        self.prediction = products(spec, PREDICTED, training=False) if self.tested else []
        self.data = seed_data(self.stream, self.full.steps, peer_seeds, tasks)
        self.results: dict[str, list[Any]] = {}

    def run(self, repeats: int) -> None:
        """Runs all contestants ``repeats`` times."""
        contestants: dict[str, Callable[[], Any]] = {
            name_of(n): partial(ours, self.stream, self.full.steps, n, self.tasks) for n in self.seeds
        }
        contestants |= {
            PLAIN: partial(plain, self.data),
            FUSED: partial(plain, self.data, fused=True),
            AVALANCHE: partial(avalanche, self.data),
            "limit, seed by seed": self._limit(1, batched=False),
        }
        contestants |= {f"limit, {name_of(n)}": self._limit(n, batched=True) for n in self.seeds}
        self.results = interleave(contestants, repeats)

    def _limit(self, seeds: int, batched: bool) -> Callable[[], float]:
        """Processor seconds of the products per step and seed, with the test images' share."""
        step = Limit(self.step, seeds, batched)
        prediction = Limit(self.prediction, seeds, batched)
        steps = -(-LIMIT_STEPS // seeds)

        def measure() -> float:
            seconds = step(steps).cpu / steps
            if self.tested:
                seconds += self.tested * prediction(1).cpu
            return seconds / seeds

        return measure

    def operations(self) -> float:
        """Multiplications and additions of a step of one seed, with the test images' share."""
        return operations(self.step) + self.tested * operations(self.prediction)

    def stack_rows(self) -> dict[str, dict[str, Any]]:
        """Per stack of seeds: rates and ratios, one per repeat."""
        rows = {}
        for n in self.seeds:
            own: list[Trained] = self.results[name_of(n)]
            limits: list[float] = self.results[f"limit, {name_of(n)}"]
            apart: list[float] = self.results["limit, seed by seed"]
            against = {
                peer: [p.per_step / o.per_step for p, o in zip(self.results[peer], own, strict=True)]
                for peer in (PLAIN, FUSED, AVALANCHE)
            }
            rows[name_of(n)] = {
                "seeds": n,
                "microseconds": [1e6 * o.per_step for o in own],
                "against": against,
                "limit": [limit / o.per_step for limit, o in zip(limits, own, strict=True)],
                "limit, seed by seed": [limit / o.per_step for limit, o in zip(apart, own, strict=True)],
                "core_used": core_used([o.total for o in own]),
                "ends": statistics.median(o.ends.cpu / o.total.cpu for o in own),
            }
        return rows

    def peer_rows(self) -> dict[str, dict[str, Any]]:
        """Per peer and limit: microseconds, one per repeat."""
        rows: dict[str, dict[str, Any]] = {}
        for name, found in self.results.items():
            if isinstance(found[0], Trained) and name in (PLAIN, FUSED, AVALANCHE):
                rows[name] = {
                    "microseconds": [1e6 * f.per_step for f in found],
                    "core_used": core_used([f.total for f in found]),
                }
            elif name.startswith("limit"):
                rows[name] = {"microseconds": [1e6 * seconds for seconds in found]}
        return rows


def print_tables(contest: Contest, stacks: Mapping[str, Any], peers: Mapping[str, Any]) -> None:
    """Two Markdown tables."""
    head = ["ours", "µs per step and seed", *(f"against {p}" for p in (PLAIN, FUSED, AVALANCHE))]
    head += ["of the limit, stacked as ours", "of the limit, seed by seed", "core used"]
    print("\n| " + " | ".join(head) + " |\n|---|" + "---:|" * (len(head) - 1))
    for name, row in stacks.items():
        cells = [f"{statistics.median(row['microseconds']):,.1f}"]
        cells += [spread(row["against"][peer]) for peer in (PLAIN, FUSED, AVALANCHE)]
        cells += [spread(row[limit], "{:.0%}") for limit in ("limit", "limit, seed by seed")]
        print(f"| {name} | " + " | ".join(cells) + f" | {row['core_used']:.0%} |")
    operations = contest.operations()
    print("\n| | µs per step and seed | GFLOP/s | core used |\n|---|---:|---:|---:|")
    for name, row in peers.items():
        middle = statistics.median(row["microseconds"])
        used = f"{row['core_used']:.0%}" if "core_used" in row else ""
        print(f"| {name} | {middle:,.1f} | {operations / middle / 1e3:,.1f} | {used} |")


def differences(own: Trained, peers: Mapping[str, Trained]) -> list[str]:
    """Reasons why the contestants' speeds cannot be compared; empty if they learned the same."""
    found = []
    for name, peer in peers.items():
        # A peer may have trained only the first seeds and tasks.
        pairs = [list(zip(*seed, strict=False)) for seed in zip(own.accuracy, peer.accuracy, strict=False)]
        first = max(abs(mine - theirs) for (mine, theirs), *_ in pairs)
        allowed = FIRST_TASK + 1 / (16 * own.steps / len(own.accuracy))
        if first > allowed:
            found.append(f"{name}: a seed's online accuracy on the first task is {first:.4f} from ours")
        mean = statistics.fmean(mine - theirs for seed in pairs for mine, theirs in seed)
        if abs(mean) > ALL_TASKS:
            found.append(f"{name}: mean online accuracy is {-mean:+.4f} from ours")
    return found


def check(contest: Contest) -> list[str]:
    """``differences`` of all contestants, and of the plain loop with as many seeds as our largest stack."""
    largest = max(contest.seeds)
    own = contest.results[name_of(largest)][0]
    learned = {name: contest.results[name][0] for name in (PLAIN, FUSED, AVALANCHE)}
    if not isinstance(contest.full, PermutedMnist):
        every: list[SeedData] = seed_data(contest.stream, contest.full.steps, largest, 1)
        learned["plain loop, every seed"] = plain(every)
    return differences(own, learned)


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stream", default="permuted-digits", help="permuted-digits or permuted-mnist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 4, 16, 64], help="stacks (1 4 16 64)")
    parser.add_argument("--peer-seeds", type=int, default=2, help="seeds the one-by-one loops train (2)")
    parser.add_argument("--repeats", type=int, default=5, help="counted repeats (5)")
    tasks = "tasks per stretch (6: one in six has diagnostics, as in a full run of permuted-digits)"
    parser.add_argument("--tasks", type=int, default=6, help=tasks)
    steps = "of a task of permuted-mnist (32); its end is spread over the steps of a full task; 0: all"
    parser.add_argument("--steps", type=int, default=32, help=steps)
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all numbers here")
    args = parser.parse_args(given)
    if min(*args.seeds, args.peer_seeds, args.repeats, args.tasks) < 1 or args.steps < 0:
        parser.error("all counts are at least 1; --steps may be 0")
    if args.peer_seeds > max(args.seeds):
        parser.error("--peer-seeds is at most the largest stack")
    return args


def main(given: list[str] | None = None) -> int:
    """Measures, prints the tables, checks that the contestants learned the same."""
    args, facts = arguments(given), machine() | {"avalanche": version("avalanche-lib")}
    one_thread()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    try:
        contest = Contest(args.stream, args.seeds, args.steps, args.tasks, args.peer_seeds)
    except InputError as error:
        print(f"training_speed: {error}", file=sys.stderr)
        return 2
    steps, full = contest.stream.steps, contest.full.steps
    print(
        f"{args.stream}, {args.tasks} tasks of {steps} steps a stretch"
        + (f" (their ends counted as those of {full})" if steps != full else "")
        + f", one core and thread, {args.repeats} repeats; square product of {SQUARE}: "
        f"{square_rate() / 1e9:.0f} GFLOP/s"
    )
    contest.run(args.repeats)
    stacks, peers = contest.stack_rows(), contest.peer_rows()
    print_tables(contest, stacks, peers)
    if args.json:
        numbers = {"machine": facts, "settings": vars(args), "stacks": stacks, "peers": peers}
        args.json.write_text(json.dumps(numbers, indent=1, default=str) + "\n")
    problems = check(contest)
    for problem in problems:
        print(f"training_speed: {problem}", file=sys.stderr)
    if not problems:
        print(f"\nChecked: accuracies on the first task within {FIRST_TASK} of ours, means {ALL_TASKS}.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
