"""The parts of the performance report: what each runs, what it compares, and which bars it has to clear."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

DIGITS, PERCEPTRON, CONVOLUTIONS = "permuted-digits", "permuted-mnist:architecture=mlp", "permuted-mnist"


@dataclass(frozen=True)
class Bar:
    """A goal: the measured value has to be at least, or at most, ``limit``."""

    what: str
    limit: float
    value: Callable[[dict[str, Any], str], float]  # of the section's numbers and printed text
    at_least: bool = True
    form: str = "{:.2f}x"

    def verdict(self, numbers: dict[str, Any], text: str) -> str:
        """A row of the table of bars."""
        try:
            value = self.value(numbers, text)
        except (KeyError, IndexError, statistics.StatisticsError):  # a pass that left it out
            return f"| {self.what} | {self.goal} | | not measured |"
        met = value >= self.limit if self.at_least else value <= self.limit
        return f"| {self.what} | {self.goal} | {self.form.format(value)} | {'met' if met else '**missed**'} |"

    @property
    def goal(self) -> str:
        """In words."""
        return f"{'at least' if self.at_least else 'at most'} {self.form.format(self.limit)}"


@dataclass(frozen=True)
class Section:
    """One script with its arguments, run in a process of its own."""

    name: str
    title: str
    text: str
    module: str
    full: Sequence[str]
    quick: Sequence[str]
    bars: Sequence[Bar] = ()
    json: bool = True  # the script saves its numbers
    needs_clone: bool = False  # its first argument is the clone of another repository


def _against(peer: str, *stacks: str) -> Callable[[dict[str, Any], str], float]:
    """Median ratio to a peer of the stack that is best at it."""
    return lambda numbers, _: max(
        statistics.median(row["against"][peer])
        for name, row in numbers["stacks"].items()
        if not stacks or name in stacks
    )


def _of_limit(numbers: dict[str, Any], _: str) -> float:
    return max(100 * statistics.median(row["limit, seed by seed"]) for row in numbers["stacks"].values())


def _diagnosed(row: str) -> Callable[[dict[str, Any], str], float]:
    return lambda numbers, _: 100 * statistics.median(numbers["rows"][row]["shares"])


def _command(what: str) -> Callable[[dict[str, Any], str], float]:
    return lambda numbers, _: statistics.median(numbers["commands"][what])


def _records(_: dict[str, Any], text: str) -> float:
    """Wall seconds of the slower of two calls, from the printed table. KeyError after a short pass."""
    if not text.startswith("10000 tables"):
        raise KeyError("fewer runs")
    return max(float(row) for row in re.findall(r"^\| [12] \| ([\d.]+) \|", text, re.M))


def _gap(numbers: dict[str, Any], _: str) -> float:
    return max(row["last"] / row["first"] for row in numbers["tasks"].values())


_MNIST = ("--tasks", "1", "--peer-seeds", "1")
_OF_TRAINING = (
    "A step is an update of one seed's network. Ours pays for everything that `run` pays for: draws, "
    "gathering, "
    "metrics, diagnostics{end}. The peers train one seed after the other from the same weights on the "
    "same batches "
    "and record the same accuracies, without diagnostics. The limit is the network's matrix products alone, "
    "with operands and results in memory that is reused: stacked as ours (one batched product for all "
    "seeds), "
    "and seed by seed.{more}"
)
_TESTED = ", the prediction of 10,000 test images at a task's end"

SECTIONS = (
    Section(
        "digits",
        "Training: permuted-digits, 64-100-100-10, batch 16",
        _OF_TRAINING.format(end="", more=""),
        "training_speed",
        ("--stream", DIGITS, "--repeats", "5"),
        ("--stream", DIGITS, "--repeats", "1", "--seeds", "1", "16"),
        (
            Bar("permuted-digits, 16 seeds, against the plain loop", 8, _against("plain loop", "16 seeds")),
            Bar("permuted-digits, 16 seeds, against Avalanche", 18, _against("Avalanche Naive", "16 seeds")),
        ),
    ),
    Section(
        "fcn",
        "Training: permuted-mnist, 784-300-300-300-10, batch 64",
        _OF_TRAINING.format(end=_TESTED, more=" Both limits and all peers include those images."),
        "training_speed",
        ("--stream", PERCEPTRON, *_MNIST, "--repeats", "3"),
        ("--stream", PERCEPTRON, *_MNIST, "--repeats", "1", "--seeds", "1", "4"),
        (
            Bar(
                "4x300 perceptron, best stack, of the matrix products' speed", 85, _of_limit, form="{:.0f} %"
            ),
            Bar("4x300 perceptron, best stack, against Avalanche", 3.5, _against("Avalanche Naive")),
        ),
    ),
    Section(
        "cnn",
        "Training: permuted-mnist, two 5x5 convolutions of 8 and 16 channels, batch 64",
        _OF_TRAINING.format(
            end=_TESTED,
            more=" For convolutions it is that of unfolded inputs, a product of few columns that the core "
            "does far below its peak: no bound in the strict sense. 64 seeds are left out, they take "
            "minutes.",
        ),
        "training_speed",
        ("--stream", CONVOLUTIONS, *_MNIST, "--repeats", "3", "--seeds", "1", "4", "16", "--steps", "24"),
        ("--stream", CONVOLUTIONS, *_MNIST, "--repeats", "1", "--seeds", "1", "--steps", "16"),
    ),
    Section(
        "alternatives",
        "Other ways of computing the same",
        "What was tried for training on a core, beside what is in use. Recorded results have to stay as they "
        "are to the last bit, so a faster way with other bits is not taken.",
        "alternatives",
        ("--repeats", "7"),
        ("--repeats", "2"),
    ),
    Section(
        "diagnostics",
        "What diagnostics cost",
        "Share of a run's processor time: one measurement of diagnostics, as often as a run takes it, "
        "beside the "
        "run's tasks without. The parts are measured by themselves.",
        "diagnostics_cost",
        ("--repeats", "7"),
        ("--repeats", "2", "--streams", DIGITS),
        (
            Bar(
                "diagnostics of permuted-digits, 16 seeds, share of a run",
                3,
                _diagnosed(f"{DIGITS}, 16 seeds"),
                at_least=False,
                form="{:.1f} %",
            ),
        ),
    ),
    Section(
        "public",
        "Online permuted MNIST beside the published loop",
        "The training loop of Dohare et al. (doi:10.1038/s41586-024-07711-7) at the same network, batch "
        "and number "
        "of examples, as it is, from a clone of its repository.",
        "public_loop",
        ("--repeats", "3"),
        ("--repeats", "1", "--seeds", "1", "--tasks", "1"),
        needs_clone=True,
    ),
    Section(
        "environments",
        "Environments: beside the published robots",
        "The same random actions in the same episodes; sums of rewards have to be the same. Physics only: "
        "the "
        "PyBullet calls that no environment can leave out.",
        "environments",
        ("--repeats", "5"),
        ("--repeats", "1", "--steps", "500"),
    ),
    Section(
        "ppo",
        "PPO on Ant: beside stable-baselines3",
        "A whole training, from the same weights with the same generators; unfused, the weights "
        "afterwards have to "
        "be the same to the last bit.",
        "ppo_speed",
        ("--repeats", "3"),
        ("--repeats", "1", "--rollouts", "1", "--methods"),
    ),
    Section(
        "methods",
        "Methods: a training step beside that of none",
        "16 stacked seeds of permuted-digits, nine tasks a repeat, side by side in one process.",
        "method_cost",
        ("--repeats", "3", "--seeds", "16"),
        ("l2", "syre", "--repeats", "1", "--seeds", "16", "--tasks", "3"),
    ),
    Section(
        "start",
        "Start-up and the main job",
        "From start to exit of a process. The main job is `run --method syre`: the suite `quick` with both "
        "references on every core.",
        "wall_times",
        ("--repeats", "5"),
        ("--repeats", "3", "--main-job", "0"),
        (
            Bar("`--help`", 0.5, _command("--help"), at_least=False, form="{:.2f} s"),
            Bar("`list`", 0.5, _command("list"), at_least=False, form="{:.2f} s"),
            Bar("`run --method syre`", 90, _command("run --method syre"), at_least=False, form="{:.1f} s"),
            Bar(
                "the same, everything recorded",
                3,
                _command("the same, everything recorded"),
                at_least=False,
                form="{:.2f} s",
            ),
        ),
    ),
    Section(
        "growth",
        "Memory, and how cost grows with seeds, width and tasks",
        "Memory is the largest resident one of a fresh process that trains one task with its diagnostics.",
        "growth",
        ("--repeats", "5"),
        (
            "--repeats",
            "1",
            "--seeds",
            "1",
            "16",
            "--widths",
            "100",
            "200",
            "--tasks",
            "24",
            "--streams",
            DIGITS,
        ),
        (Bar("a step late in a run against one early", 1.1, _gap, at_least=False),),
    ),
    Section(
        "records",
        "10,000 runs scored and drawn",
        "`leaderboard --runs` on made-up records of 20 methods, 10 streams and 50 seeds, twice; on every "
        "core.",
        "leaderboard_speed",
        ("--methods", "20", "--streams", "10", "--seeds", "50"),
        ("--methods", "10", "--streams", "4", "--seeds", "10"),
        (Bar("10,000 runs scored and drawn", 30, _records, at_least=False, form="{:.1f} s"),),
        json=False,
    ),
)
