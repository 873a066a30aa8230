"""Scores as tables in the terminal and as JSON."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from plasticity_bench.consoles import plain_console
from plasticity_bench.records.cells import Cell
from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.scoring.notes import loses_plasticity
from plasticity_bench.scoring.ranking import Comparison, Group, Place
from plasticity_bench.scoring.references import is_reference
from plasticity_bench.scoring.scores import CAP, AggregateRow, CellScores, Scores, StreamScores
from plasticity_bench.scoring.scoring import score
from plasticity_bench.stats.bootstrap import Difference, Interval

#: Metric -> heading of its column, for those that are shown without an interval.
HEADINGS = {
    "fresh_level": "fresh\nlevel",
    "trend": "trend\n/100",
    "average_performance": "average",
    "dormant_fraction": "dormant",
    "effective_rank": "eff.\nrank",
    "cost": "cost",
}
LEVEL_HEADING, RETENTION_HEADING = "level\n[95% CI]", "retention\n[95% CI]"
SCORE_HEADING = "score\n[95% CI]"
#: Metrics that only a terminal of more than this width shows, and those that a narrow one leaves out.
WIDE_ONLY, NOT_NARROW = (
    ("trend", "average_performance", "effective_rank"),
    ("fresh_level", "dormant_fraction"),
)
WIDE_TERMINAL = 130
TERMINAL_WIDTH = 100


def make_console() -> Console:
    """The console for results; if stdout is not a terminal, it is plain and 100 columns wide."""
    width = None if sys.stdout.isatty() else TERMINAL_WIDTH
    return plain_console(width=width, highlight=False)


def print_scores(cells: Iterable[Cell], console: Console) -> None:
    """Scores ``cells`` and prints the tables. The references must be among the cells."""
    print_tables(score(cells), console)


def print_tables(scores: Scores, console: Console) -> None:
    """Prints a ranked table per stream, and the aggregate over streams if there is one."""
    for stream in scores.streams:
        table = partial(_stream_table, metrics=_metrics_that_fit(console))
        _print_tables(_title(stream), stream.groups, table, stream.notes, console)
    if scores.aggregate:
        title = f"score over streams: mean over streams of the level, of which at most {CAP:g} counts"
        _print_tables(title, scores.groups, _aggregate_table, scores.notes, console)
    legend = (
        "level: how well the last tasks are learned, over the fresh twins of none; retention: over its own\n"
        "fresh twins; 95% bootstrap intervals. #: 1 + number of rows significantly above (paired test,\n"
        "corrected for all pairs); range: 95% of its places when seeds are resampled"
    )
    console.print(Text(legend, style="dim"))


def make_table(*columns: str) -> Table:
    """A compact table: names are left-aligned and may wrap, all other columns are right-aligned."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0, header_style="bold")
    for column in columns:
        is_name = column in ("method", "metric")
        table.add_column(
            column,
            justify="left" if is_name else "right",
            no_wrap=not is_name,
            overflow="fold" if is_name else "ellipsis",
        )
    return table


def number(value: float) -> str:
    """Three decimals for small numbers, fewer for large ones, "-" for nan."""
    if math.isnan(value):
        return "-"
    size = abs(value)
    text = f"{value:.{3 if size < 10 else 1 if size < 1000 else 0}f}"
    return text.lstrip("-") if float(text) == 0 else text


def interval_text(interval: Interval | Difference) -> str:
    """``0.812 [0.790, 0.833]``; without the brackets if there is no interval."""
    if math.isnan(interval.low):
        return number(interval.point)
    return f"{number(interval.point)} [{number(interval.low)}, {number(interval.high)}]"


def p_text(p: float) -> str:
    """``0.012``, ``<0.001``; empty if it is nan."""
    return "" if math.isnan(p) else f"{p:.3f}" if p >= 0.001 else "<0.001"


def metric_text(row: CellScores, metric: str) -> str:
    """A metric's point estimate: three decimals; one for the effective rank, two and an x for the cost."""
    value = row.summary[metric].point
    if math.isnan(value) or metric not in ("effective_rank", "cost"):
        return number(value)
    return f"{value:.1f}" if metric == "effective_rank" else f"{value:.2f}x"


def to_json(scores: Scores) -> dict[str, Any]:
    """Everything in ``scores``, with every seed's values, as JSON holds it (null for nan)."""
    return {
        "streams": [_stream_json(stream) for stream in scores.streams],
        "aggregate": [
            {
                "method": row.method,
                "streams": list(row.streams),
                "seeds": {
                    stream: list(column.seeds)
                    for stream, column in zip(row.streams, row.columns, strict=True)
                },
                "score": interval_json(row.score),
                "uncapped": interval_json(row.uncapped),
                "retention": interval_json(row.retention),
                "p_loss": _or_none(row.p_loss),
                **_place_json(place),
            }
            for group in scores.groups
            for row, place in zip(group.rows, group.places, strict=True)
        ],
        "notes": list(scores.notes),
        "metrics": dict(METRICS),
    }


def interval_json(interval: Interval | Difference) -> dict[str, float | None]:
    """Field name -> value, null for nan."""
    return {name: _or_none(value) for name, value in interval._asdict().items()}


def _stream_json(stream: StreamScores) -> dict[str, Any]:
    none = stream.row("none")
    return {
        "stream": stream.name,
        "config": stream.rows[0].cell.config.stream.as_json() if stream.rows else None,
        "none_loses_plasticity": loses_plasticity(none) if none else None,
        "methods": [
            {**_row_json(row), **_place_json(place)}
            for group in stream.groups
            for row, place in zip(group.rows, group.places, strict=True)
        ],
        "notes": list(stream.notes),
    }


def _row_json(row: CellScores) -> dict[str, Any]:
    return {
        "method": row.method,
        "cell": str(row.cell.path),
        "seeds": list(row.seeds),
        "p_loss": _or_none(row.p_loss),
        "undefined": dict(row.plasticity.undefined),
        "not_finite_from": {str(seed): task for seed, task in row.not_finite.items()},
        "metrics": {
            metric: {
                **interval_json(row.summary[metric]),
                "n": int(row.defined[metric].sum()),
                "per_seed": {str(seed): _or_none(value) for seed, value in row.by_seed(metric).items()},
            }
            for metric in METRICS
        },
    }


def _place_json(place: Place) -> dict[str, Any]:
    return {
        "rank": place.rank,
        "rank_low": place.low,
        "rank_high": place.high,
        "to_none": comparison_json(place.none),
        "to_reset": comparison_json(place.reset),
    }


def comparison_json(found: Comparison | None) -> dict[str, Any] | None:
    """A comparison as field name -> value, null for nan; null if there is none."""
    if found is None:
        return None
    return {
        "other": found.other,
        "difference": interval_json(found.difference),
        "seeds": found.seeds,
        "p": _or_none(found.p),
        "p_holm": _or_none(found.holm),
        "probability_of_improvement": interval_json(found.improvement),
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _title(stream: StreamScores) -> str:
    if not stream.rows:
        return stream.name
    config = stream.rows[0].cell.config.stream
    return f"{stream.name}: {config.tasks} tasks, {config.unit}, chance {number(config.chance)}"


def _metrics_that_fit(console: Console) -> list[str]:
    """Columns that would not leave room for the methods' names are left out."""
    hidden = () if console.width >= WIDE_TERMINAL else WIDE_ONLY
    if console.width < TERMINAL_WIDTH:
        hidden = (*hidden, *NOT_NARROW)
    return [name for name in HEADINGS if name not in hidden]


def _stream_table(group: Group[CellScores], metrics: Sequence[str]) -> Table:
    head = ("#", "range", "method", "n", LEVEL_HEADING, RETENTION_HEADING, "p loss")
    table = make_table(*head, *(HEADINGS[metric] for metric in metrics))
    for row, place in zip(group.rows, group.places, strict=True):
        table.add_row(
            place.text,
            place.range_text,
            Text(row.method, style="bold" if is_reference(row.method) else ""),
            str(len(row.seeds)),
            interval_text(row.score),
            interval_text(row.summary["retention"]),
            p_text(row.p_loss),
            *(metric_text(row, metric) for metric in metrics),
        )
    return table


def _aggregate_table(group: Group[AggregateRow]) -> Table:
    head = ("#", "range", "method", "n", SCORE_HEADING, "uncapped", "retention", "p loss")
    table = make_table(*head, "streams", "lowest level")
    for row, place in zip(group.rows, group.places, strict=True):
        stream, lowest = row.lowest
        table.add_row(
            place.text,
            place.range_text,
            Text(row.method, style="bold" if is_reference(row.method) else ""),
            str(row.fewest_seeds),
            interval_text(row.score),
            number(row.uncapped.point),
            number(row.retention.point),
            p_text(row.p_loss),
            str(len(row.streams)),
            f"{number(lowest)} {stream}",
        )
    return table


def _print_tables(
    title: str,
    groups: Sequence[Group[Any]],
    make: Callable[[Group[Any]], Table],
    notes: Sequence[str],
    console: Console,
) -> None:
    console.print(Text(title, style="bold"))
    for group in groups:
        if len(groups) > 1:
            console.print(Text(group.title))
        console.print(make(group))
    for note in notes:
        console.print(Text(f"note: {note}"))
    console.print()
