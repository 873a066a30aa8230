"""Scores as one flat table: a row per stream and method, as in leaderboard.csv and in ``Results.scores``."""

from __future__ import annotations

from collections.abc import Iterator

from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.scoring.ranking import Comparison, Place
from plasticity_bench.scoring.scores import CellScores, Scores

#: Ends of the column names of a point estimate and of its interval's bounds.
BOUND_SUFFIXES = ("", "_low", "_high")


def _comparison_columns(other: str) -> list[str]:
    return [
        *(f"difference_to_{other}{end}" for end in BOUND_SUFFIXES),
        *(f"p_{other}", f"p_holm_{other}"),
        *(f"probability_above_{other}{end}" for end in BOUND_SUFFIXES),
    ]


SUMMARY_COLUMNS = (
    *("stream", "tuned", "rank", "rank_low", "rank_high", "method", "configuration", "seeds"),
    "uses_task_boundaries",
    *(f"{metric}{end}" for metric in METRICS for end in BOUND_SUFFIXES),
    "p_loss",
    *_comparison_columns("none"),
    *_comparison_columns("reset"),
    *("configurations_tried", "tuning_seeds", "source"),
)


def summary_rows(scores: Scores) -> Iterator[tuple[CellScores, list[object]]]:
    """For each row, in the order of the tables: the row, and its values of ``SUMMARY_COLUMNS``.

    A value that does not exist is None; one that is not known is nan.
    """
    for stream in scores.streams:
        for group in stream.groups:
            for row, place in zip(group.rows, group.places, strict=True):
                yield row, [stream.name, group.tuned, *_values(row, place)]


def _values(row: CellScores, place: Place) -> Iterator[object]:
    method, tuning = row.cell.config.method, row.cell.tuning
    yield from (place.rank, place.low, place.high, row.method, row.cell.configuration, len(row.seeds))
    yield method.task_boundaries
    for metric in METRICS:
        yield from row.summary[metric]
    yield row.p_loss
    for found in (place.none, place.reset):
        yield from _comparison(found)
    yield from (len(tuning.configurations), len(tuning.seeds)) if tuning else (None, None)
    yield method.source


def _comparison(found: Comparison | None) -> list[object]:
    return [*found.difference[:3], found.p, found.holm, *found.improvement] if found else [None] * 8
