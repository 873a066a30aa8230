"""Ranks in a table, and comparisons of a row with the one above it and with `none`.

Tuned rows compete with tuned rows, and the others with each other. A row has a rank if it has a score and at
least FEW_SEEDS seeds. Rows share a rank if a paired test, corrected for all pairs of the table, finds no
significant difference from the first row of that rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from plasticity_bench.records.cells import TUNED_MARK
from plasticity_bench.stats.bootstrap import Difference, Interval, MeanOfStreams, paired_bootstrap
from plasticity_bench.stats.inference import holm, pairwise_p_values, probability_of_improvement

#: A row needs this many seeds for a rank. With fewer, the percentile bootstrap's intervals are clearly too
#: narrow, and with 5 seeds no p-value can be below 2 / 2^5 = 0.06.
FEW_SEEDS = 6
#: The chance of any false difference in a table.
LEVEL = 0.05


class RankedRow(Protocol):
    """A line of a table."""

    @property
    def method(self) -> str:
        """The method's label."""

    @property
    def score(self) -> Interval:
        """Retained plasticity."""

    @property
    def runs(self) -> tuple[tuple[int, ...], tuple[np.ndarray, ...]]:
        """Seeds for which retained plasticity is defined, and its values: one array per stream."""

    @property
    def coverage(self) -> tuple[str, ...]:
        """The streams that the row covers. Rows that cover different streams are not compared."""


@dataclass(frozen=True)
class Comparison:
    """A row against another, over the seeds of both."""

    other: str
    difference: Difference  # of the scores
    seeds: int
    p: float  # two-sided, corrected for all pairs of the table (max-T); nan if unknown
    holm: float  # of this pair alone, Holm-corrected for the comparisons of its column
    improvement: Interval  # probability that a run of the row scores above one of the other

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at ``LEVEL``."""
        return self.p <= LEVEL


@dataclass(frozen=True)
class Place:
    """A row's place among the rows it competes with. ``rank`` None: it has none, for the reason ``why``."""

    rank: int | None
    shared: bool = False  # another row has the same rank
    why: str = ""
    above: Comparison | None = None  # to the row above
    none: Comparison | None = None  # to `none`: to its tuned row if the row is tuned

    @property
    def text(self) -> str:
        """``3``; ``3=`` if the rank is shared; ``-`` without a rank."""
        return "-" if self.rank is None else f"{self.rank}{'=' if self.shared else ''}"


AnyRankedRow = TypeVar("AnyRankedRow", bound=RankedRow)


@dataclass(frozen=True, eq=False)
class Group(Generic[AnyRankedRow]):
    """Rows that compete, best first, each with its place."""

    tuned: bool
    rows: tuple[AnyRankedRow, ...]
    places: tuple[Place, ...]

    @property
    def title(self) -> str:
        """What the rows have in common."""
        return "tuned" if self.tuned else "not tuned"


def groups(rows: Sequence[AnyRankedRow]) -> tuple[Group[AnyRankedRow], ...]:
    """The tuned rows, then the others, each group with its places; an empty group is left out.

    ``rows`` come best first. For a rank, a row has to cover every stream that any row covers.
    """
    covered = {name for row in rows for name in row.coverage}
    return tuple(
        Group(tuned, own, _places(own, covered, TUNED_MARK if tuned else ""))
        for tuned, own in competing(rows).items()
    )


def competing(rows: Sequence[AnyRankedRow]) -> dict[bool, tuple[AnyRankedRow, ...]]:
    """Whether tuned -> the rows that compete with each other, in their order; tuned first, no empty entry."""
    found = {
        tuned: tuple(r for r in rows if r.method.endswith(TUNED_MARK) == tuned) for tuned in (True, False)
    }
    return {tuned: own for tuned, own in found.items() if own}


def _places(rows: Sequence[AnyRankedRow], covered: set[str], mark: str) -> tuple[Place, ...]:
    whys = [_why_not(row, covered) for row in rows]
    ranked = [i for i, why in enumerate(whys) if not why]
    raw, adjusted = pairwise_p_values(_by_seed([rows[i] for i in ranked]))
    above = [(ranked[k], ranked[k - 1], float(raw[k, k - 1])) for k in range(1, len(ranked))]
    reference = next((k for k, i in enumerate(ranked) if rows[i].method == f"none{mark}"), None)
    none = [
        (i, ranked[reference], float(raw[k, reference]))
        for k, i in enumerate(ranked)
        if reference is not None and k != reference
    ]
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
    placed = {
        i: Place(rank, ranks.count(rank) > 1, above=to_above.get(i), none=to_none.get(i))
        for i, rank in zip(ranked, ranks, strict=True)
    }
    return tuple(placed.get(i, Place(None, why=why)) for i, why in enumerate(whys))


def compare(a: AnyRankedRow, b: AnyRankedRow, p: float = np.nan, corrected: float = np.nan) -> Comparison:
    """a - b over the seeds of both, which must cover the same streams.

    ``p``, ``corrected``: the p-value for all pairs, and Holm's, if they are known.
    """
    (seeds, left), (others, right) = a.runs, b.runs
    common = sorted(set(seeds) & set(others))
    kept, kept_others = np.isin(seeds, common), np.isin(others, common)
    x = [column[kept] for column in left]
    y = [column[kept_others] for column in right]
    difference = paired_bootstrap(x, y, MeanOfStreams(len(x)))
    return Comparison(b.method, difference, len(common), p, corrected, probability_of_improvement(x, y))


def _why_not(row: RankedRow, covered: set[str]) -> str:
    """Why the row has no rank; empty if it has one."""
    if np.isnan(row.score.point):
        return "its score is unknown"
    if set(row.coverage) != covered:
        return f"covers {len(row.coverage)} of {len(covered)} streams"
    seeds = len(row.runs[0])
    return f"{seeds} of the {FEW_SEEDS} seeds that a rank needs" if seeds < FEW_SEEDS else ""


def _by_seed(rows: Sequence[RankedRow]) -> np.ndarray:
    """(rows, seeds): every seed's mean over the streams, nan if a row lacks the seed."""
    seeds = sorted({seed for row in rows for seed in row.runs[0]})
    table = np.full((len(rows), len(seeds)), np.nan)
    for line, row in zip(table, rows, strict=True):
        own, columns = row.runs
        line[np.searchsorted(seeds, own)] = np.mean(columns, axis=0)
    return table
