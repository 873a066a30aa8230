"""The sections of the performance report: what each runs and compares, and the goals it has to reach."""

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
        """The goal as text."""
        return f"{'at least' if self.at_least else 'at most'} {self.form.format(self.limit)}"


@dataclass(frozen=True)
class Section:
    """One script with its arguments. It runs in its own process."""

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
    """The best stack's median ratio to a peer."""
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
    "A step is an update of one seed's network. Our time includes everything that `run` does: draws, "
    "gathering, metrics, diagnostics{end}. The peers train one seed after the other from the same weights on "
    "the same batches and record the same accuracies, without diagnostics. The limit is the time of the "
    "network's matrix products alone, with operands and results in memory that is reused: stacked like ours "
    "(one batched product for all seeds), and seed by seed.{more}"
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
            more=" For a convolution the limit is the product of its unfolded inputs. This product has few "
            "columns, so it runs far below the core's peak and is no strict bound. 64 seeds are left out "
            "because they take minutes.",
        ),
        "training_speed",
        ("--stream", CONVOLUTIONS, *_MNIST, "--repeats", "3", "--seeds", "1", "4", "16", "--steps", "24"),
        ("--stream", CONVOLUTIONS, *_MNIST, "--repeats", "1", "--seeds", "1", "--steps", "16"),
    ),
    Section(
        "alternatives",
        "Alternatives that were tried",
        "The operations that training on a core uses, and alternatives to them. Results must stay "
        "bit-identical to the recorded ones, so a faster alternative that is not bit-identical is not used.",
        "alternatives",
        ("--repeats", "7"),
        ("--repeats", "2"),
    ),
    Section(
        "diagnostics",
        "The cost of diagnostics",
        "Share of a run's processor time: the time of one measurement of diagnostics times the number of "
        "measurements in a run, relative to the run's tasks without them. The parts are measured separately.",
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
        "Online permuted MNIST compared with the published loop",
        "The unchanged training loop of Dohare et al. (doi:10.1038/s41586-024-07711-7), from a clone of its "
        "repository, with the same network, batch size and number of examples.",
        "public_loop",
        ("--repeats", "3"),
        ("--repeats", "1", "--seeds", "1", "--tasks", "1"),
        needs_clone=True,
    ),
    Section(
        "environments",
        "Environments compared with the published robots",
        "The same random actions in the same episodes; sums of rewards must be equal. Physics only: the "
        "PyBullet calls that no environment can leave out.",
        "environments",
        ("--repeats", "5"),
        ("--repeats", "1", "--steps", "500"),
    ),
    Section(
        "ppo",
        "PPO on Ant compared with stable-baselines3",
        "Training from the same weights with the same generators. With an unfused Adam the trained weights "
        "must be bit-identical.",
        "ppo_speed",
        ("--repeats", "3"),
        ("--repeats", "1", "--rollouts", "1", "--methods"),
    ),
    Section(
        "methods",
        "Methods: time of a training step relative to none",
        "16 stacked seeds of permuted-digits, nine tasks a repeat, all methods in one process.",
        "method_cost",
        ("--repeats", "3", "--seeds", "16"),
        ("l2", "syre", "--repeats", "1", "--seeds", "16", "--tasks", "3"),
    ),
    Section(
        "start",
        "Start-up and the main job",
        "Wall time from the start to the exit of a process. The main job is `run --method syre`: the suite "
        "`quick` with both references on every core.",
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
        "Memory is the peak resident memory of a fresh process that trains one task with its diagnostics.",
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
        (Bar("time of a step late in a run against one early", 1.1, _gap, at_least=False),),
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
