"""Compares our online permuted MNIST with the training loop that Dohare et al. published, on one core.

    python -m benchmarks.public_loop PATH_TO_A_CLONE [--batch 16] [--width 100] [--tasks 2]

The clone is that of https://github.com/shibhansh/loss-of-plasticity (MIT licence); this repository contains
nothing of it. Its ``lop.permuted_mnist.online_expr`` runs unchanged, in its own process with one thread:
agent ``bp``, SGD with the same step size, three hidden layers, and defaults for all other settings. Both
train on the same number of MNIST examples, with a new permutation every 60,000, from initial weights of one
distribution; each draws its own permutations and weights. Its time includes reading the images, which takes
some tenths of a second, and the ranks of 2,000 images' features at every task's start. Ours includes
everything that ``run`` does. Ratios are of processor time, taken within a repeat.

Exit code 1: the clone's loop failed, or the two did not reach the same online accuracy.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers import learner_of
from benchmarks.timing import Spent, core_used, interleave, machine, one_thread, spread, timed
from plasticity_bench.errors import InputError
from plasticity_bench.tasks.mnist import OnlinePermutedMnist

#: Largest accepted difference in mean online accuracy; seeds differ by less than half of it.
ALIKE = 0.02
#: The child process: its arguments are the clone and the settings. The last line of its output is the result.
CHILD = """
import contextlib, io, json, os, pickle, sys, time
import torch
clone, params = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, clone)
torch.set_num_threads(1)
torch.set_flush_denormal(True)
from lop.permuted_mnist.online_expr import online_expr
with contextlib.redirect_stdout(io.StringIO()):
    wall, cpu = time.perf_counter(), time.process_time()
    online_expr(params)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
with open(params["data_file"], "rb") as file:
    accuracy = pickle.load(file)["accuracies"].mean().item()
print(json.dumps([wall, cpu, accuracy]))
"""


@dataclass(frozen=True)
class Stretch:
    """The results of one training from the start."""

    spent: Spent
    updates: int  # summed over the seeds
    accuracy: float  # online, mean over all examples and seeds

    @property
    def microseconds(self) -> float:
        """Processor time of an update of one seed."""
        return 1e6 * self.spent.cpu / self.updates


def write_images(folder: Path) -> None:
    """Writes MNIST in the clone's format: a pickle of images in [0, 1] and labels."""
    import torch

    from plasticity_bench.tasks.mnist_data import load_mnist

    data = load_mnist("MNIST")
    train = torch.from_numpy(data.train_images.copy()).float() / 255
    labels = torch.from_numpy(data.train_labels.astype("int64"))
    (folder / "data").mkdir()
    with (folder / "data" / "mnist_").open("wb") as file:
        pickle.dump([train, labels, train[:1], labels[:1]], file, protocol=4)


def theirs(clone: Path, folder: Path, stream: OnlinePermutedMnist) -> Stretch:
    """Runs the clone's loop with one seed. Raises CalledProcessError if it fails."""
    params: dict[str, Any] = {
        "agent": "bp",
        "opt": "sgd",
        "num_tasks": stream.tasks,
        "num_features": stream.width,
        "num_hidden_layers": 3,
        "mini_batch_size": stream.batch,
        "step_size": stream.optimizer.lr,
        "data_file": str(folder / "result"),
    }
    command = [sys.executable, "-c", CHILD, str(clone.resolve()), json.dumps(params)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    wall, cpu, accuracy = json.loads(done.stdout.splitlines()[-1])
    return Stretch(Spent(wall, cpu), stream.tasks * stream.steps, accuracy)


def ours(stream: OnlinePermutedMnist, seeds: int) -> Stretch:
    """Our learner with everything that ``run`` does."""
    learner = learner_of(stream, seeds)

    def train() -> None:
        while not learner.finished:
            learner.advance()

    spent, _ = timed(train)
    accuracy = statistics.fmean(row["online_performance"] for rows in learner.rows for row in rows)
    return Stretch(spent, learner.progress * seeds, accuracy)


def main(given: list[str] | None = None) -> int:
    """Measures, prints the table, checks that both learned."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clone", type=Path, help="folder of a clone of shibhansh/loss-of-plasticity")
    parser.add_argument("--batch", type=int, default=16, help="examples per update (16; the source: 1)")
    parser.add_argument("--width", type=int, default=100, help="of the hidden layers (100; the source: 2000)")
    parser.add_argument("--tasks", type=int, default=2, help="of 60,000 examples (2)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 16], help="our stacks (1 16)")
    parser.add_argument("--repeats", type=int, default=3, help="counted repeats (3)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all numbers here")
    args = parser.parse_args(given)
    if min(args.batch, args.width, args.tasks, args.repeats, *args.seeds) < 1:
        parser.error("all counts are at least 1")
    if not (args.clone / "lop" / "permuted_mnist" / "online_expr.py").exists():
        parser.error(f"{args.clone} holds no lop/permuted_mnist/online_expr.py")
    stream = OnlinePermutedMnist(tasks=args.tasks, width=args.width, batch_size=args.batch)
    facts = machine()
    one_thread()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    sizes = f"784-{'-'.join(map(str, stream.network.hidden))}-10"
    print(f"{sizes}, batch {stream.batch}, {args.tasks} tasks of 60,000 examples, {args.repeats} repeats\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contestants: dict[str, Callable[[], Stretch]] = {
            "published loop": partial(theirs, args.clone, folder, stream)
        }
        contestants |= {f"plasticity_bench, {n} seeds": partial(ours, stream, n) for n in args.seeds}
        try:
            write_images(folder)
            results = interleave(contestants, args.repeats)
        except InputError as error:
            print(f"public_loop: {error}", file=sys.stderr)
            return 2
        except subprocess.CalledProcessError as error:
            print(f"public_loop: the clone's loop failed: {error.stderr}", file=sys.stderr)
            return 1
    print("| | µs per update and seed | against the published loop | core used | online accuracy |")
    print("|---|---:|---:|---:|---:|")
    rows = {}
    for label, found in results.items():
        pairs = zip(results["published loop"], found, strict=True)
        ratios = [peer.microseconds / own.microseconds for peer, own in pairs]
        rows[label] = {"microseconds": [one.microseconds for one in found], "ratios": ratios}
        rows[label]["accuracy"] = [one.accuracy for one in found]
        middle = f"{statistics.median(rows[label]['microseconds']):,.1f} | {spread(ratios)}"
        accuracy = statistics.fmean(rows[label]["accuracy"])
        print(f"| {label} | {middle} | {core_used([f.spent for f in found]):.0%} | {accuracy:.4f} |")
    if args.json:
        numbers = {"machine": facts, "settings": vars(args), "rows": rows}
        args.json.write_text(json.dumps(numbers, indent=1, default=str) + "\n")
    means = [statistics.fmean(row["accuracy"]) for row in rows.values()]
    if max(means) - min(means) > ALIKE:
        print(f"public_loop: online accuracies differ by more than {ALIKE}", file=sys.stderr)
        return 1
    print(f"\nChecked: online accuracies within {ALIKE}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
