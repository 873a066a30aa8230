"""The leaderboard, or a report of somebody's own runs, as one web page, which asks nothing of any server.

``page_data`` turns scores into plain data; ``write_page`` puts them with the page's own files
(``assets/``) into one file. Whatever the data hold cannot act: they lie in a JSON script element in
which no character can end it, the page's code writes them as text only, and the page's policy
(Content-Security-Policy) runs no script but its own and lets no request leave.

The chart is drawn by uPlot 1.6.32 (MIT): of the well-kept plotting libraries the smallest (51 KB, no
dependency; Chart.js has four times that), with bands, a cursor and canvas drawing fast enough for this.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from plasticity_bench.errors import InputError
from plasticity_bench.page.curves import finite, grids
from plasticity_bench.page.packing import packed
from plasticity_bench.page.rows import Extra, bounds, link, method_data, place_data, stream_data
from plasticity_bench.registry.catalog import SUITES
from plasticity_bench.registry.families import FAMILIES
from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.scoring.ranking import FEW_SEEDS, LEVEL, Group
from plasticity_bench.scoring.scores import AggregateRow, Scores, StreamScores
from plasticity_bench.scoring.suites import SuiteScores, suite_scores
from plasticity_bench.storage.files import write_text

#: 2: curves and seeds' values are packed, rows say which settings a sweep chose.
SCHEMA = 2
#: Name of the page in a leaderboard's folder.
PAGE = "index.html"
ASSETS = "assets"
SCRIPTS = ("format.js", "table.js", "chart.js", "tuning.js", "detail.js", "page.js")
STYLES = ("uPlot.min.css", "page.css")
#: What a page says in its head, by which it is known again.
GENERATOR = '<meta name="generator" content="plasticity_bench">'
LIBRARY = "uPlot.iife.min.js"


@dataclass(frozen=True)
class Words:
    """What a page says of itself before its data, as HTML."""

    title: str
    heading: str
    lead: str
    without_script: str


RETAINED = (
    "<b>Retained plasticity</b>, {role}, is what a method still learns per task at the end of a "
    "stream over what a plain network learned at its start: at 1, nothing was lost."
)
LEADERBOARD = Words(
    "Loss of plasticity: leaderboard",
    "Loss of plasticity",
    "How much of its ability to learn does a network keep when it is trained on one task after another? "
    + RETAINED.format(role="the ranking column"),
    'The same numbers: <a href="README.md">README.md</a>, <a href="leaderboard.csv">leaderboard.csv</a>.',
)
REPORT = Words(
    "Loss of plasticity: report of runs",
    "Report of runs",
    RETAINED.format(role="by which methods are ordered"),
    "The same numbers in a terminal: <code>python -m plasticity_bench score</code>.",
)


@dataclass(frozen=True)
class Runs:
    """What a report is of: somebody's own records."""

    folder: str  # as the user named it
    unfinished: Sequence[tuple[str, str]] = ()  # (stream, method) without a finished seed


def page_data(
    scores: Scores,
    out: Path | None = None,
    extras: Mapping[str, Extra] | None = None,
    runs: Runs | None = None,
    curves: Mapping[str, Any] | None = None,
    suites: Mapping[str, SuiteScores] | None = None,
) -> dict[str, Any]:
    """Everything that the page shows, as JSON holds it (None for nan).

    ``out``: the folder that the page is for, to which links to records are relative; without it there are
    none. ``extras``: method's label -> what its submission adds. ``runs``: for a report instead of a
    leaderboard. Streams without a recorded seed are left out. Curves are means with pointwise 95% intervals;
    see ``page_curves.grids`` and ``page_packing`` for their coding. ``curves``: stream -> its grids, and
    ``suites``: ``suite_scores``, where these are at hand. Raises InputError where a sweep's table is damaged.
    """
    streams = [stream for stream in scores.streams if stream.rows]
    first = {row.method: row for stream in reversed(streams) for row in reversed(stream.rows)}
    labels = sorted(first)
    places = {label: index for index, label in enumerate(labels)}
    suites = suite_scores(scores) if suites is None else suites
    costs = {label: _cost(label, streams) for label in labels}
    overall = _overall(scores.groups, scores.notes, streams, places, costs)

    return {
        "schema": SCHEMA,
        "runs": _runs(runs, streams, out) if runs else None,
        "metrics": dict(METRICS),
        "level": LEVEL,
        "few_seeds": FEW_SEEDS,
        "families": [*FAMILIES],
        "methods": [method_data(first[label], (extras or {}).get(label, Extra())) for label in labels],
        "suites": {
            name: {"summary": SUITES[name].summary, "streams": list(suite.members)}
            for name, suite in suites.items()
        },
        "streams": [
            stream_data(stream, first, places, out, (curves or {}).get(stream.name) or grids(stream.in_order))
            for stream in streams
        ],
        "overall": overall,
        "by_suite": {
            name: _overall(suite.groups, suite.notes, streams, places, costs)
            for name, suite in suites.items()
        },
    }


def write_page(data: Mapping[str, Any], path: Path) -> None:
    """Writes the page of ``data`` (from ``page_data``), whole or not at all; equal data give equal bytes.

    Raises InputError where ``path`` cannot be written.
    """
    write_text(path, page_text(data))


def is_page(path: Path) -> bool:
    """Whether the file is a page that ``write_page`` wrote. Raises InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return GENERATOR.encode() in file.read(4000)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def page_text(data: Mapping[str, Any]) -> str:
    """The page as text."""
    words = REPORT if data["runs"] else LEADERBOARD
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
        "generator": GENERATOR,
        "title": words.title,
        "style": style,
        "heading": words.heading,
        "lead": words.lead,
        "without_script": words.without_script,
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
    return files("plasticity_bench.page").joinpath(ASSETS, name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """What a policy calls an inline element by: the base64 of the SHA-256 of its text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _runs(runs: Runs, streams: Sequence[StreamScores], out: Path | None) -> dict[str, Any]:
    seeds = [len(row.seeds) for stream in streams for row in stream.rows]
    return {
        "folder": runs.folder,
        "link": link(Path(runs.folder), out) if out else None,
        "cells": len(seeds),
        "seeds": sum(seeds),
        "unfinished": [{"stream": stream, "method": method} for stream, method in runs.unfinished],
    }


def _overall(
    compared: Sequence[Group[AggregateRow]],
    notes: Sequence[str],
    streams: Sequence[StreamScores],
    places: Mapping[str, int],
    costs: Mapping[str, float | None],
) -> dict[str, Any]:
    names = {stream.name: index for index, stream in enumerate(streams)}
    found = []
    for group in compared:
        for row, place in zip(group.rows, group.places, strict=True):
            lowest, value = row.lowest
            found.append(
                {
                    "method": places[row.method],
                    **place_data(place, places),
                    "streams": [names[name] for name in row.streams],
                    "seeds": packed([row.seeds])[0],
                    "summary": {"retained_plasticity": bounds(row.summary), "cost": costs[row.method]},
                    "pooled": bounds(row.pooled),
                    "lowest": [names[lowest], finite(value)],
                }
            )
    return {"rows": found, "notes": list(notes)}


def _cost(label: str, streams: Sequence[StreamScores]) -> float | None:
    """The median over streams of the method's cost, None where it is nowhere known."""
    rows = [row for stream in streams if (row := stream.row(label))]
    known = [cost for row in rows if not np.isnan(cost := row.summary["cost"].point)]
    return finite(float(np.median(known))) if known else None
