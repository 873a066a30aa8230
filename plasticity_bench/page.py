"""The leaderboard as one web page: ``index.html``, which asks nothing of any server and opens from disk.

``page_data`` turns scores into plain data; ``write_page`` puts them with the page's own files
(``page_assets/``) into one file. Whatever the data hold cannot act: they lie in a JSON script element in
which no character can end it, the page's code writes them as text only, and the page's policy
(Content-Security-Policy) runs no script but its own and lets no request leave.

The chart is drawn by uPlot 1.6.32 (MIT): of the well-kept plotting libraries the smallest (51 KB, no
dependency; Chart.js has four times that), with bands, a cursor and canvas drawing fast enough for this.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from plasticity_bench.bibtex import citations
from plasticity_bench.families import FAMILIES, family_of
from plasticity_bench.files import write_text
from plasticity_bench.page_curves import finite, grids
from plasticity_bench.registry import SUITES
from plasticity_bench.report import ties
from plasticity_bench.scoring import (
    AggregateRow,
    CellScores,
    Scores,
    StreamScores,
    aggregate_difference,
    aggregate_streams,
    loses_plasticity,
    verdict,
)
from plasticity_bench.seed_metrics import METRICS
from plasticity_bench.stats import Difference, Interval

SCHEMA = 1
#: Name of the page in a leaderboard's folder.
PAGE = "index.html"
ASSETS = "page_assets"
SCRIPTS = ("format.js", "table.js", "chart.js", "detail.js", "page.js")
STYLES = ("uPlot.min.css", "page.css")
LIBRARY = "uPlot.iife.min.js"


@dataclass(frozen=True)
class Extra:
    """What a submission adds to its method's panel; everything may come from strangers."""

    code: str = ""  # the source text of the method
    code_name: str = ""  # its file's name
    link: str = ""  # of the submission; only http, https and relative links become links
    submitter: str = ""


def page_data(
    scores: Scores,
    out: Path | None = None,
    extras: Mapping[str, Extra] | None = None,
    curves: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that the page shows, as JSON holds it (None for nan).

    ``out``: the folder that the page is for, to which links to records are relative; without it there are
    none. ``extras``: method's label -> what its submission adds. Streams without a recorded seed are left
    out. Curves are means with pointwise 95% intervals; see ``page_curves.grids`` for their coding.
    ``curves``: stream -> its grids, where these are at hand.
    """
    streams = [stream for stream in scores.streams if stream.rows]
    first = {row.method: row for stream in reversed(streams) for row in reversed(stream.rows)}
    labels = sorted(first)
    places = {label: index for index, label in enumerate(labels)}
    suites = recorded_suites(streams)
    costs = {label: _cost(label, streams) for label in labels}
    return {
        "schema": SCHEMA,
        "metrics": dict(METRICS),
        "families": [*FAMILIES, "combinations", "other"],
        "methods": [_method(first[label], (extras or {}).get(label, Extra())) for label in labels],
        "suites": {
            name: {"summary": SUITES[name].summary, "streams": members} for name, members in suites.items()
        },
        "streams": [_stream(stream, first, places, out, curves or {}) for stream in streams],
        "overall": _overall(scores.aggregate, scores.notes, streams, places, costs),
        "by_suite": {
            name: _overall(*aggregate_streams([streams[i] for i in members]), streams, places, costs)
            for name, members in suites.items()
        },
    }


def write_page(data: Mapping[str, Any], path: Path) -> None:
    """Writes the page of ``data`` (from ``page_data``), whole or not at all; equal data give equal bytes.

    Raises InputError where ``path`` cannot be written.
    """
    write_text(path, page_text(data))


def page_text(data: Mapping[str, Any]) -> str:
    """The page as text."""
    style = "\n".join(asset(name) for name in STYLES)
    script = "(() => {\n'use strict';\n" + "\n".join(asset(name) for name in SCRIPTS) + "})();\n"
    library = asset(LIBRARY)
    policy = (
        f"default-src 'none'; script-src {_digest(library)} {_digest(script)}; style-src {_digest(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    text = asset("template.html")
    # The data come last, so that nothing in them is taken for a place to fill.
    for name, value in {
        "policy": policy,
        "style": style,
        "library": library,
        "script": script,
        "data": script_json(data),
    }.items():
        head, place, tail = text.partition(f"[[{name}]]")
        if not place:
            raise ValueError(f"template.html has no place for {name}")
        text = head + value + tail
    return text


def script_json(data: Any) -> str:
    """``data`` as JSON that may stand in a script element: no <, > or & can end it or begin a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    # A lone surrogate cannot be written as UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()


def asset(name: str) -> str:
    """The text of one of the page's own files."""
    return files("plasticity_bench").joinpath(ASSETS, name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """What a policy calls an inline element by: the base64 of the SHA-256 of its text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def recorded_suites(streams: Sequence[StreamScores]) -> dict[str, list[int]]:
    """Suite -> indices of its streams that are recorded; suites without one are left out."""
    labels = [_sorted_label(str(stream.rows[0].cell.config["stream"]["label"])) for stream in streams]
    found = {}
    for name, suite in SUITES.items():
        wanted = {_sorted_label(label) for label in suite.streams}
        if members := [index for index, label in enumerate(labels) if label in wanted]:
            found[name] = members
    return found


def _sorted_label(label: str) -> tuple[str, ...]:
    name, _, settings = label.partition(":")
    return (name, *sorted(filter(None, settings.split(","))))


def _method(row: CellScores, extra: Extra) -> dict[str, Any]:
    method = row.cell.config["method"]
    return {
        "label": row.method,
        "name": method["name"],
        "family": family_of(method["name"]),
        "summary": method["summary"],
        "told": bool(method["task_boundaries"]),
        "version": method.get("version", 1),
        "source": method["source"],
        "settings": _settings(method),
        "cited": [{"text": c.text, "url": c.url, "bibtex": c.bibtex} for c in citations(method["paper"])],
        "extra": {name: value for name, value in vars(extra).items() if value},
    }


def _settings(method: Mapping[str, Any]) -> dict[str, Any]:
    """A learning rate of null is the stream's own."""
    return {name: value for name, value in method["settings"].items() if not (name == "lr" and value is None)}


def _stream(
    stream: StreamScores,
    first: Mapping[str, CellScores],
    places: Mapping[str, int],
    out: Path | None,
    curves: Mapping[str, Any],
) -> dict[str, Any]:
    config, none = stream.rows[0].cell.config["stream"], stream.row("none")
    unit = config.get("unit", "performance")
    return {
        "name": stream.name,
        "summary": config["summary"],
        "source": config["source"],
        "unit": {"R2": "R²"}.get(unit, unit),
        "score": config["score"],
        "tasks": config["tasks"],
        "chance": finite(float(config["chance"])),
        "settings": config["settings"],
        "loses": loses_plasticity(none) if none else None,
        "notes": list(stream.notes),
        "grids": curves.get(stream.name) or grids(stream.rows),
        "rows": [
            _row(row, index, above, first, places, out)
            for index, (row, above) in enumerate(zip(stream.rows, ties(stream.rows), strict=True), start=1)
        ],
    }


def _row(
    row: CellScores,
    rank: int,
    above: tuple[Difference, int] | None,
    first: Mapping[str, CellScores],
    places: Mapping[str, int],
    out: Path | None,
) -> dict[str, Any]:
    own, usual = (_settings(cell.cell.config["method"]) for cell in (row, first[row.method]))
    return {
        "method": places[row.method],
        "rank": _rank(rank, row.summary["retained_plasticity"]),
        "tied": _tied(above),
        "seeds": list(row.seeds),
        "summary": {name: _bounds(row.summary[name]) for name in METRICS},
        "values": {name: _per_seed(row, name) for name in METRICS},
        **({"settings": own} if own != usual else {}),
        **({"records": _link(row.cell.path, out)} if out else {}),
    }


def _per_seed(row: CellScores, metric: str) -> list[float | None]:
    values = np.where(row.defined[metric], row.values[metric], np.nan)
    return [finite(value, 4) for value in values.tolist()]


def _overall(
    rows: Sequence[AggregateRow],
    notes: Sequence[str],
    streams: Sequence[StreamScores],
    places: Mapping[str, int],
    costs: Mapping[str, float | None],
) -> dict[str, Any]:
    names = {stream.name: index for index, stream in enumerate(streams)}
    found = []
    for index, row in enumerate(rows):
        above = aggregate_difference(row, rows[index - 1]) if index else None
        found.append(
            {
                "method": places[row.method],
                "rank": _rank(index + 1, row.summary),
                "tied": _tied(above),
                "streams": [names[name] for name in row.streams],
                "seeds": list(row.seeds),
                "summary": {"retained_plasticity": _bounds(row.summary), "cost": costs[row.method]},
            }
        )
    return {"rows": found, "notes": list(notes)}


def _cost(label: str, streams: Sequence[StreamScores]) -> float | None:
    """The median over streams of the method's cost, None where it is nowhere known."""
    rows = [row for stream in streams if (row := stream.row(label))]
    known = [cost for row in rows if not np.isnan(cost := row.summary["cost"].point)]
    return finite(float(np.median(known))) if known else None


def _rank(rank: int, retained: Interval) -> int | None:
    return None if np.isnan(retained.point) else rank


def _tied(above: tuple[Difference, int] | None) -> bool:
    return above is not None and verdict(above[0]) == "tied"


def _bounds(interval: Interval) -> list[float | None]:
    return [finite(value) for value in interval]


def _link(path: Path, out: Path) -> str:
    return quote(Path(os.path.relpath(path.resolve(), out.resolve())).as_posix())
