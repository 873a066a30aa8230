"""The data of the tables in docs/findings.md: see findings.py."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plasticity_bench.scoring.scores import Scores
from plasticity_bench.stats.bootstrap import Difference, paired_bootstrap
from plasticity_bench.stats.inference import paired_test

#: (stream, method, strength, sigma) -> seed -> retained plasticity
Controls = Mapping[tuple[str, str, str, str], Mapping[int, float]]
#: seed -> retained plasticity
Seeds = Mapping[int, float]


class Paired(NamedTuple):
    """One method against another on one stream."""

    seeds: int
    difference: Difference
    p: float


def paired(a: Seeds, b: Seeds) -> Paired:
    """a - b on the seeds of both; p of equal means, by sign flips of the seeds' differences."""
    common = sorted(a.keys() & b.keys())
    left, right = ([np.array([side[seed] for seed in common])] for side in (a, b))
    return Paired(len(common), paired_bootstrap(left, right), paired_test(left[0], right[0]))


@dataclass(frozen=True)
class Results:
    """All data of the tables."""

    scores: Scores
    controls: Controls  # at the stream's learning rate
    crossed: Mapping[tuple[str, str, str, str], Seeds]  # (stream, method, lr, strength)

    @cached_property
    def retained(self) -> dict[tuple[str, str], Seeds]:
        """(stream, built-in method) -> the leaderboard's values, on streams with `none` above chance."""
        return {
            (stream.name, row.method): values
            for stream in self.scores.streams
            for row in stream.rows
            if row.cell.config.method.source == "builtin"
            if (values := row.by_seed("retained_plasticity")) and not np.isnan(list(values.values())).any()
        }

    @property
    def streams(self) -> list[str]:
        """Names of the leaderboard's streams."""
        return [stream.name for stream in self.scores.streams]


def read_controls(path: Path) -> tuple[dict[tuple[str, str, str, str], dict[int, float]], ...]:
    """Reads the file of ``syre_controls.py``: ``Results.controls`` and ``Results.crossed``."""
    controls: dict[tuple[str, str, str, str], dict[int, float]] = {}
    crossed: dict[tuple[str, str, str, str], dict[int, float]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            if row["lr"]:
                found = crossed.setdefault((row["stream"], row["method"], row["lr"], row["strength"]), {})
            else:
                key = (row["stream"], row["method"], row["strength"], row["sigma"])
                found = controls.setdefault(key, {})
            found[int(row["seed"])] = float(row["retained_plasticity"])
    return controls, crossed


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
