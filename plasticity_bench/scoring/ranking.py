"""Ranks in a table, and comparisons of a row with the references `none` and `reset`.

Tuned rows compete with tuned rows, and the others with each other. A row's rank is 1 + the number of ranked
rows significantly above it: those with a higher score whose paired difference, corrected for all pairs of the
table, is significant. The references have no rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from plasticity_bench.records.names import TUNED_MARK
from plasticity_bench.scoring.references import REFERENCES, is_reference
from plasticity_bench.stats.bootstrap import Difference, Interval
from plasticity_bench.stats.inference import (
    capped_p_values,
    holm,
    pairwise_p_values,
    probability_of_improvement,
)
from plasticity_bench.stats.ratios import Ratio, by_seed, place_ranges, ratio_difference

#: A row needs this many seeds on each of its streams for a rank. With fewer, the percentile bootstrap's
#: intervals are clearly too narrow, and with 5 seeds no p-value can be below 2 / 2^5 = 0.06.
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
        """What rows are ordered by: ``ratios.mean_of_ratios`` of ``columns``."""

    @property
    def columns(self) -> tuple[Ratio, ...]:
        """The level on each of its streams, over the seeds for which it is defined."""

    @property
    def coverage(self) -> tuple[str, ...]:
        """Its streams. Rows that cover different streams are not compared."""


@dataclass(frozen=True)
class Comparison:
    """A row against another, over the seeds of both on each stream."""

    other: str
    difference: Difference  # of the scores
    seeds: int  # on the stream that has the fewest
    p: float  # two-sided, corrected for all pairs of the table (max-T); nan if unknown
    holm: float  # of this pair alone, Holm-corrected for the comparisons of its column
    improvement: Interval  # probability that a run of the row scores above one of the other

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at ``LEVEL``."""
        return self.p <= LEVEL


@dataclass(frozen=True)
class Place:
    """A row's place among the rows it competes with. ``rank`` None: it has none, for the reason ``why``.

    ``low``, ``high``: the 95% range of its place by score among the ranked rows, over bootstrap resamples.
    """

    rank: int | None
    low: int | None = None
    high: int | None = None
    why: str = ""
    none: Comparison | None = None  # to `none`: to its tuned row if the row is tuned
    reset: Comparison | None = None  # to `reset`, in the same way

    @property
    def text(self) -> str:
        """``3``; ``-`` without a rank."""
        return "-" if self.rank is None else str(self.rank)

    @property
    def range_text(self) -> str:
        """``2-5``; ``2`` if both ends are equal; empty without a rank."""
        if self.rank is None:
            return ""
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


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


def groups(rows: Sequence[AnyRankedRow], cap: float = np.inf) -> tuple[Group[AnyRankedRow], ...]:
    """The tuned rows, then the others, each group with its places; an empty group is left out.

    ``rows`` come best first. For a rank, a row has to cover every stream that any row covers. ``cap``: the
    most that a stream can add to a score, see ``ratios.mean_of_ratios``.
    """
    covered = {name for row in rows for name in row.coverage}
    return tuple(
        Group(tuned, own, _places(own, covered, TUNED_MARK if tuned else "", cap))
        for tuned, own in competing(rows).items()
    )


def competing(rows: Sequence[AnyRankedRow]) -> dict[bool, tuple[AnyRankedRow, ...]]:
    """Whether tuned -> the rows that compete with each other, in their order; tuned first, no empty entry."""
    found = {
        tuned: tuple(r for r in rows if r.method.endswith(TUNED_MARK) == tuned) for tuned in (True, False)
    }
    return {tuned: own for tuned, own in found.items() if own}


def significant_ranks(scores: Sequence[float], p_values: np.ndarray, level: float = LEVEL) -> list[int]:
    """For every row 1 + the number of rows with a higher score from which it differs significantly.

    ``p_values``: of all pairs, (rows, rows); nan is not significant.
    """
    values = np.asarray(scores)
    return (1 + ((values[None] > values[:, None]) & (p_values <= level)).sum(axis=1)).tolist()


def _places(rows: Sequence[AnyRankedRow], covered: set[str], mark: str, cap: float) -> tuple[Place, ...]:
    whys = [_why_not(row, covered) for row in rows]
    at = [i for i, why in enumerate(whys) if not why]  # the rows that are compared
    compared = [rows[i] for i in at]
    raw, adjusted = p_values([row.columns for row in compared], cap)
    to = {reference: _against(compared, f"{reference}{mark}", raw, adjusted, cap) for reference in REFERENCES}
    in_ranking = [k for k, row in enumerate(compared) if not is_reference(row.method)]
    scores = [compared[k].score.point for k in in_ranking]
    ranks = significant_ranks(scores, adjusted[np.ix_(in_ranking, in_ranking)])
    ranges = place_ranges([compared[k].columns for k in in_ranking], cap)
    placed = {k: (rank, *ends) for k, rank, ends in zip(in_ranking, ranks, ranges, strict=True)}
    found = {}
    for k, i in enumerate(at):
        rank, low, high = placed.get(k, (None, None, None))
        why = "" if rank else "reference"
        found[i] = Place(rank, low, high, why, to["none"].get(k), to["reset"].get(k))
    return tuple(found.get(i, Place(None, why=why)) for i, why in enumerate(whys))


def _against(
    rows: Sequence[AnyRankedRow], label: str, raw: np.ndarray, adjusted: np.ndarray, cap: float
) -> dict[int, Comparison]:
    """Index of a row -> its comparison with the row of this label; empty if there is none."""
    other = next((k for k, row in enumerate(rows) if row.method == label), None)
    if other is None:
        return {}
    others = [k for k in range(len(rows)) if k != other]
    corrected = holm([float(raw[k, other]) for k in others])
    return {
        k: compare(rows[k], rows[other], cap, float(adjusted[k, other]), value)
        for k, value in zip(others, corrected, strict=True)
    }


def p_values(rows: Sequence[Sequence[Ratio]], cap: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """p-values of all pairs of rows, uncorrected and corrected for all pairs (max-T): (rows, rows) each.

    On one stream without a cap a difference of levels is a mean of the seeds' differences, whose denominators
    are the same for both. Over streams the capped means are computed again for every pattern of signs.
    """
    if cap == np.inf and all(len(columns) == 1 for columns in rows):
        only = [columns[0] for columns in rows]
        seeds = sorted({seed for column in only for seed in column.seeds})
        return pairwise_p_values(by_seed([column.numerator for column in only], only, seeds))
    return capped_p_values(rows, cap)


def compare(
    a: AnyRankedRow, b: AnyRankedRow, cap: float, p: float = np.nan, corrected: float = np.nan
) -> Comparison:
    """a - b over the seeds of both, which must cover the same streams.

    ``cap``: as in ``groups``. ``p``, ``corrected``: the p-value for all pairs, and Holm's, if they are known.
    """
    pairs = [left.common(right) for left, right in zip(a.columns, b.columns, strict=True)]
    x, y = ([pair[side].contributions for pair in pairs] for side in (0, 1))
    return Comparison(
        b.method,
        ratio_difference(a.columns, b.columns, cap),
        min(map(len, x)),
        p,
        corrected,
        probability_of_improvement(x, y),
    )


def _why_not(row: RankedRow, covered: set[str]) -> str:
    """Why the row is not compared with others; empty if it is."""
    if np.isnan(row.score.point):
        return "its level is unknown"
    if set(row.coverage) != covered:
        return f"covers {len(row.coverage)} of {len(covered)} streams"
    seeds = min(len(column.seeds) for column in row.columns)
    return f"{seeds} of the {FEW_SEEDS} seeds that a rank needs" if seeds < FEW_SEEDS else ""
