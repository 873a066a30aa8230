"""Places in a table: shared ranks, and what separates a row from the one above and from `none`.

Rows compete with their like: tuned with tuned, the others with the others. A rank is given to a row with a
score and at least FEW_SEEDS seeds. It is shared with every row below that does not differ significantly from
the first of that rank, in a test that holds for all pairs of the table at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from plasticity_bench.records.cells import TUNED_MARK
from plasticity_bench.stats.bootstrap import Difference, Interval, MeanOfStreams, paired_bootstrap
from plasticity_bench.stats.inference import holm, pairwise_p_values, probability_of_improvement

#: Below this many seeds the percentile bootstrap's intervals are clearly too narrow, and no rank is given:
#: 2 of the 2^5 sign patterns of 5 seeds are the first that can be significant.
FEW_SEEDS = 6
#: The chance of any false difference in a table.
LEVEL = 0.05


class Row(Protocol):
    """A line of a table."""

    @property
    def method(self) -> str:
        """The method's label."""

    @property
    def score(self) -> Interval:
        """Retained plasticity."""

    @property
    def runs(self) -> tuple[tuple[int, ...], tuple[np.ndarray, ...]]:
        """Seeds for which it is defined, and its values: one array of these seeds per stream."""

    @property
    def coverage(self) -> tuple[str, ...]:
        """The streams that it covers; rows that cover others do not compare."""


@dataclass(frozen=True)
class Comparison:
    """A row against another, over the seeds of both."""

    other: str
    difference: Difference  # of the scores
    seeds: int
    p: float  # two-sided, valid for all pairs of the table at once (max-T); nan where not to be had
    holm: float  # of this pair by itself, Holm-corrected for all comparisons of its column
    improvement: Interval  # probability that a run of the row scores above one of the other

    @property
    def significant(self) -> bool:
        """Whether the two are told apart."""
        return self.p <= LEVEL


@dataclass(frozen=True)
class Place:
    """Where a row stands among its like. ``rank`` None: not ranked, for the reason ``why``."""

    rank: int | None
    shared: bool = False  # another row has the same rank
    why: str = ""
    above: Comparison | None = None  # to the row above
    none: Comparison | None = None  # to `none`, tuned or not as the row is

    @property
    def text(self) -> str:
        """``3``, ``3=`` where the rank is shared, ``-`` without one."""
        return "-" if self.rank is None else f"{self.rank}{'=' if self.shared else ''}"


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, eq=False)
class Group(Generic[R]):
    """Rows that compete, best first, each with its place."""

    tuned: bool
    rows: tuple[R, ...]
    places: tuple[Place, ...]

    @property
    def title(self) -> str:
        """What the rows have in common."""
        return "tuned" if self.tuned else "not tuned"


def groups(rows: Sequence[R], whole: Sequence[str] | None = None) -> tuple[Group[R], ...]:
    """Tuned rows, then the others, as far as there are any; ``rows`` come best first.

    ``whole``: the streams that a row has to cover for a rank; all that any row covers where None.
    """
    covered = {name for row in rows for name in row.coverage} if whole is None else set(whole)
    return tuple(
        Group(tuned, own, _places(own, covered, TUNED_MARK if tuned else ""))
        for tuned, own in competing(rows).items()
    )


def competing(rows: Sequence[R]) -> dict[bool, tuple[R, ...]]:
    """The rows that compete with each other, by whether they are tuned, as far as there are any; tuned first.
    Rows stay in their order."""
    found = {
        tuned: tuple(r for r in rows if r.method.endswith(TUNED_MARK) == tuned) for tuned in (True, False)
    }
    return {tuned: own for tuned, own in found.items() if own}


def _places(rows: Sequence[R], covered: set[str], mark: str) -> tuple[Place, ...]:
    whys = [_why_not(row, covered) for row in rows]
    ranked = [i for i, why in enumerate(whys) if not why]
    raw, adjusted = pairwise_p_values(_by_seed([rows[i] for i in ranked]))
    above = [(ranked[k], ranked[k - 1], float(raw[k, k - 1])) for k in range(1, len(ranked))]
    reference = next((k for k, i in enumerate(ranked) if rows[i].method == f"none{mark}"), None)
    none = (
        []
        if reference is None
        else [
            (i, ranked[reference], float(raw[k, reference])) for k, i in enumerate(ranked) if k != reference
        ]
    )
    at = {i: k for k, i in enumerate(ranked)}

    def compared(pairs: list[tuple[int, int, float]]) -> dict[int, Comparison]:
        corrected = holm([p for _, _, p in pairs])
        return {
            i: compare(rows[i], rows[j], float(adjusted[at[i], at[j]]), value)
            for (i, j, _), value in zip(pairs, corrected, strict=True)
        }

    to_above, to_none = compared(above), compared(none)
    ranks: list[int] = []
    first = 0
    for k in range(len(ranked)):
        if adjusted[first, k] <= LEVEL:
            first = k
        ranks.append(first + 1)
    return tuple(
        Place(None, why=whys[i])
        if whys[i]
        else Place(
            ranks[at[i]],
            ranks.count(ranks[at[i]]) > 1,
            "",
            to_above.get(i),
            to_none.get(i),
        )
        for i in range(len(rows))
    )


def compare(a: R, b: R, p: float = np.nan, corrected: float = np.nan) -> Comparison:
    """a - b over the seeds of both, which must cover the same streams."""
    (seeds, left), (others, right) = a.runs, b.runs
    common = sorted(set(seeds) & set(others))
    kept, kept_others = np.isin(seeds, common), np.isin(others, common)
    x = [column[kept] for column in left]
    y = [column[kept_others] for column in right]
    difference = paired_bootstrap(x, y, MeanOfStreams(len(x)))
    return Comparison(b.method, difference, len(common), p, corrected, probability_of_improvement(x, y))


def _why_not(row: Row, covered: set[str]) -> str:
    """Why the row has no rank; empty where it has one."""
    if np.isnan(row.score.point):
        return "its score is unknown"
    if set(row.coverage) != covered:
        return f"covers {len(row.coverage)} of {len(covered)} streams"
    seeds = len(row.runs[0])
    return f"{seeds} of the {FEW_SEEDS} seeds that a rank needs" if seeds < FEW_SEEDS else ""


def _by_seed(rows: Sequence[Row]) -> np.ndarray:
    """(rows, seeds): every seed's mean over the streams, nan where a row lacks the seed."""
    seeds = sorted({seed for row in rows for seed in row.runs[0]})
    table = np.full((len(rows), len(seeds)), np.nan)
    for line, row in zip(table, rows, strict=True):
        own, columns = row.runs
        line[np.searchsorted(seeds, own)] = np.mean(columns, axis=0)
    return table
