"""The data of the tables in docs/findings.md: see findings.py."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plasticity_bench.errors import InputError
from plasticity_bench.scoring.scores import Scores
from plasticity_bench.stats.bootstrap import Difference
from plasticity_bench.stats.inference import paired_test
from plasticity_bench.stats.ratios import Ratio, ratio_difference

#: Numerator and denominator of every seed's level.
LEVEL_COLUMNS = ("level_numerator", "level_denominator")

#: (stream, method, strength, sigma) -> level
Controls = Mapping[tuple[str, str, str, str], Ratio]


class Paired(NamedTuple):
    """One method against another on one stream."""

    seeds: int
    difference: Difference
    p: float


def paired(a: Ratio, b: Ratio) -> Paired:
    """a - b on the seeds of both; p of no difference, by sign flips of the seeds' differences."""
    left, right = a.common(b)
    p = paired_test(left.contributions, right.contributions)
    return Paired(len(left.seeds), ratio_difference([a], [b]), p)


@dataclass(frozen=True)
class Results:
    """All data of the tables."""

    scores: Scores
    controls: Controls  # at the stream's learning rate
    crossed: Controls  # the key has the learning rate in place of sigma: (stream, method, lr, strength)
    forms: Controls = field(default_factory=dict)  # of decay_forms.py

    @cached_property
    def levels(self) -> dict[tuple[str, str], Ratio]:
        """(stream, built-in method) -> the leaderboard's level, where it is known."""
        return {
            (stream.name, row.method): row.columns[0]
            for stream in self.scores.streams
            for row in stream.rows
            if row.cell.config.method.source == "builtin" and not np.isnan(row.score.point)
        }

    @property
    def streams(self) -> list[str]:
        """Names of the leaderboard's streams."""
        return [stream.name for stream in self.scores.streams]


def read_controls(path: Path) -> tuple[dict[tuple[str, str, str, str], Ratio], ...]:
    """Reads the file of ``syre_controls.py``: ``Results.controls`` and ``Results.crossed``.

    Raises InputError if it lacks the columns of levels.
    """
    with path.open() as file:
        reader = csv.DictReader(file)
        if not {*LEVEL_COLUMNS} <= {*(reader.fieldnames or ())}:
            raise InputError(f"{path} has no levels; make it again: python benchmarks/syre_controls.py")
        rows = list(reader)
    return (
        _levels((row for row in rows if not row["lr"]), "strength", "sigma"),
        _levels((row for row in rows if row["lr"]), "lr", "strength"),
    )


def read_forms(path: Path) -> dict[tuple[str, str, str, str], Ratio]:
    """Reads the file of ``decay_forms.py``: (stream, method, strength, decoupled) -> level."""
    with path.open() as file:
        return _levels(csv.DictReader(file), "strength", "decoupled")


def _levels(
    rows: Iterable[Mapping[str, str]], third: str, fourth: str
) -> dict[tuple[str, str, str, str], Ratio]:
    """(stream, method, column ``third``, column ``fourth``) -> level of all seeds."""
    found: dict[tuple[str, str, str, str], list[Mapping[str, str]]] = {}
    for row in rows:
        found.setdefault((row["stream"], row["method"], row[third], row[fourth]), []).append(row)
    return {key: _level(own) for key, own in found.items()}


def _level(rows: Sequence[Mapping[str, str]]) -> Ratio:
    above, below = (np.array([float(row[name]) for row in rows]) for name in LEVEL_COLUMNS)
    return Ratio(tuple(int(row["seed"]) for row in rows), above, below)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
