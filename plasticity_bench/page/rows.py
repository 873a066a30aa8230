"""The page's data on methods, on streams, and on a method on a stream, as JSON holds them.

Their types for the page's scripts are in ``assets/types.d.ts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plasticity_bench.page.citations import citations
from plasticity_bench.page.curves import finite
from plasticity_bench.page.links import link
from plasticity_bench.page.packing import pack_curves, pack_rows, pack_values
from plasticity_bench.records.documents import MethodRecord, SweepTable
from plasticity_bench.registry.families import family_of
from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.scoring.notes import loses_plasticity
from plasticity_bench.scoring.ranking import Comparison, Place
from plasticity_bench.scoring.scores import CellScores, StreamScores
from plasticity_bench.stats.bootstrap import Difference, Interval

#: Significant digits of scores; leaderboard.csv has more.
SHOWN_DIGITS = 6


@dataclass(frozen=True)
class SubmissionDetails:
    """What a submission adds to its method's panel. All of it may come from strangers."""

    code: str = ""  # the source text of the method
    code_name: str = ""  # its file's name
    link: str = ""  # of the submission; only http, https and relative links become links
    submitter: str = ""


def method_data(row: CellScores, details: SubmissionDetails) -> dict[str, Any]:
    """A method's panel; ``base``: its label without "(tuned)", which tuned and default rows share."""
    method, tuning = row.cell.config.method, row.cell.tuning
    return {
        "label": row.method,
        "base": tuning.method if tuning else row.method,
        "tuned": tuning is not None,
        "name": method.name,
        "family": family_of(method.name),
        "summary": method.summary,
        "task_boundaries": method.task_boundaries,
        "version": method.version,
        "source": method.source,
        "settings": _settings(method),
        "cited": [vars(c) for c in citations(method.name, method.source, method.paper)],
        "extra": {name: value for name, value in vars(details).items() if value},
    }


def stream_data(
    stream: StreamScores,
    first: Mapping[str, CellScores],
    places: Mapping[str, int],
    out: Path | None,
    curves: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """A stream with its curves and rows.

    ``first``: method's label -> the row whose settings its panel shows. ``places``: label -> the method's
    index. ``out``: the folder that links to records are relative to. ``curves``: its ``curves.grids``.
    """
    config, none = stream.rows[0].cell.config.stream, stream.row("none")
    return {
        "name": stream.name,
        "summary": config.summary,
        "source": config.source,
        "unit": {"R2": "R²"}.get(config.unit, config.unit),
        "score": config.score,
        "tasks": config.tasks,
        "chance": finite(config.chance),
        "settings": config.settings,
        "loses": loses_plasticity(none) if none else None,
        "notes": list(stream.notes),
        "grids": pack_curves(curves),
        "rows": [
            _row(row, place, first, places, out)
            for group in stream.groups
            for row, place in zip(group.rows, group.places, strict=True)
        ],
    }


def bounds(interval: Interval | Difference) -> list[float | None]:
    """[point, low, high], with more digits than the page shows."""
    return [finite(value, SHOWN_DIGITS) for value in interval[:3]]


def place_data(place: Place, places: Mapping[str, int]) -> dict[str, Any]:
    """A row's rank and the range of its place, or why it has none; its comparisons with the references."""
    return {
        "rank": place.rank,
        **({"range": [place.low, place.high]} if place.rank else {}),
        **({"why": place.why} if place.why else {}),
        **({"none": _comparison(place.none, places)} if place.none else {}),
        **({"reset": _comparison(place.reset, places)} if place.reset else {}),
    }


def _comparison(found: Comparison, places: Mapping[str, int]) -> dict[str, Any]:
    return {
        "other": places[found.other],
        "difference": bounds(found.difference),
        "seeds": found.seeds,
        "p": finite(found.p, 4),
        "holm": finite(found.holm, 4),
        "improvement": [finite(value, 4) for value in found.improvement],
    }


def _settings(method: MethodRecord) -> dict[str, Any]:
    """The method's settings, without a learning rate of null: that is the stream's own."""
    return {name: value for name, value in method.settings.items() if not (name == "lr" and value is None)}


def _row(
    row: CellScores,
    place: Place,
    first: Mapping[str, CellScores],
    places: Mapping[str, int],
    out: Path | None,
) -> dict[str, Any]:
    """A method on a stream; ``summary`` and ``values`` have an entry per metric, in the order of METRICS."""
    own, usual = (_settings(cell.cell.config.method) for cell in (row, first[row.method]))
    values = [np.where(row.defined[name], row.values[name], np.nan) for name in METRICS]
    return {
        "method": places[row.method],
        **place_data(place, places),
        "seeds": pack_rows([row.seeds])[0],
        "summary": [bounds(row.summary[name]) for name in METRICS],
        "p_loss": finite(row.p_loss, 4),
        "values": pack_values(values),
        **({"settings": own} if own != usual else {}),
        **({"records": link(row.cell.path, out)} if out else {}),
        **({"tuning": _tuning(row.cell.tuning)} if row.cell.tuning else {}),
    }


def _tuning(tuning: SweepTable) -> dict[str, Any]:
    """The sweep that chose a cell's settings; what ``tuning.json`` says of every configuration."""
    tried = tuning.configurations
    names = sorted({name for entry in tried for name in entry.settings})
    return {
        "seeds": tuning.seeds,
        "objective": tuning.objective,
        "names": names,
        "chosen": tuning.chosen,
        "settings": [[entry.settings.get(name) for name in names] for entry in tried],
        "scores": [_number(entry.score) for entry in tried],
        "per_seed": [[_number(value) for value in entry.per_seed] for entry in tried],
        "seconds": [_number(entry.seconds) for entry in tried],
    }


def _number(value: Any) -> float | None:
    return None if value is None else finite(float(value), 4)
