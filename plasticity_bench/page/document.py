"""The leaderboard, or a report of a user's own runs, as one web page that needs no server.

``page_data`` turns scores into plain data; ``write_page`` combines them with the files in ``assets/`` into
one file. Nothing in the data is executed: they are in a JSON script element that no character in them can
end, the page's scripts write them as text only, and the page's policy (Content-Security-Policy) allows no
script but its own and no request.

The chart is drawn by uPlot 1.6.32 (MIT). It is the smallest of the maintained plotting libraries (51 KB, no
dependency; Chart.js has four times that), and has bands, a cursor and fast drawing on a canvas.
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
from plasticity_bench.page.links import link
from plasticity_bench.page.rows import SubmissionDetails, bounds, method_data, place_data, stream_data
from plasticity_bench.registry.catalog import SUITES
from plasticity_bench.registry.families import FAMILIES
from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.scoring.ranking import FEW_SEEDS, LEVEL, Group
from plasticity_bench.scoring.scores import AggregateRow, Scores, StreamScores
from plasticity_bench.scoring.suites import SuiteScores, suite_scores
from plasticity_bench.storage.files import write_text

#: Version of the page's data. 4: levels, retention, ranges of places and comparisons with `reset`.
PAGE_SCHEMA = 4
#: Name of the page in a leaderboard's folder.
PAGE = "index.html"
ASSETS = "assets"
#: In the order in which the page runs them.
SCRIPTS = (
    *("format.js", "state.js", "table.js", "chart.js", "tuning.js", "detail.js"),
    *("ranking.js", "page.js"),
)
STYLE_SHEETS = ("uPlot.min.css", "page.css")
#: An element of the page's head by which ``is_page`` recognises it.
GENERATOR = '<meta name="generator" content="plasticity_bench">'
CHART_LIBRARY = "uPlot.iife.min.js"


@dataclass(frozen=True)
class PageText:
    """The text at the top of a page, as HTML."""

    title: str
    heading: str
    lead: str
    without_script: str


LEVEL_SENTENCE = (
    "The <b>level</b>, {role}, is what a learner reaches on the last tasks of a stream, over what a new "
    "network with plain training reaches on them. <b>Retention</b> is the same over the method\u2019s own "
    "fresh twins: at 1, it lost none of its ability to learn."
)
LEADERBOARD_TEXT = PageText(
    "Loss of plasticity: leaderboard",
    "Loss of plasticity",
    "How well does a network still learn a new task after it was trained on many others? "
    + LEVEL_SENTENCE.format(role="the ranking column"),
    'The same numbers: <a href="README.md">README.md</a>, <a href="leaderboard.csv">leaderboard.csv</a>.',
)
REPORT_TEXT = PageText(
    "Loss of plasticity: report of runs",
    "Report of runs",
    LEVEL_SENTENCE.format(role="by which methods are ordered"),
    "The same numbers in a terminal: <code>python -m plasticity_bench score</code>.",
)


@dataclass(frozen=True)
class ReportedRuns:
    """The records that a report shows."""

    folder: str  # as the user named it
    unfinished: Sequence[tuple[str, str]] = ()  # (stream, method) without a finished seed


def page_data(
    scores: Scores,
    out: Path | None = None,
    extras: Mapping[str, SubmissionDetails] | None = None,
    runs: ReportedRuns | None = None,
    curves: Mapping[str, Any] | None = None,
    suites: Mapping[str, SuiteScores] | None = None,
) -> dict[str, Any]:
    """Everything that the page shows, as JSON holds it (None for nan).

    ``out``: the folder of the page, to which links to records are relative; without it there are no links.
    ``extras``: method's label -> what its submission adds. ``runs``: makes it a report instead of a
    leaderboard. ``curves``: stream -> its ``grids``, and ``suites``: ``suite_scores``; both are computed if
    they are not given. Streams without a recorded seed are left out. Curves are means with pointwise 95%
    intervals; see ``curves.grids`` and ``packing`` for their encoding. The data's types are in
    ``assets/types.d.ts``. Raises InputError if a sweep's table is damaged.
    """
    streams = [stream for stream in scores.streams if stream.rows]
    first = {row.method: row for stream in reversed(streams) for row in reversed(stream.rows)}
    labels = sorted(first)
    places = {label: index for index, label in enumerate(labels)}
    suites = suite_scores(scores) if suites is None else suites
    costs = {label: _cost(label, streams) for label in labels}
    overall = _overall(scores.groups, scores.notes, streams, places, costs)

    return {
        "schema": PAGE_SCHEMA,
        "runs": _runs(runs, streams, out) if runs else None,
        "metrics": dict(METRICS),
        "level": LEVEL,
        "few_seeds": FEW_SEEDS,
        "families": [*FAMILIES],
        "methods": [
            method_data(first[label], (extras or {}).get(label, SubmissionDetails())) for label in labels
        ],
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
    """Writes the page of ``data`` (from ``page_data``), whole or not at all. Equal data give equal bytes.

    Raises InputError if ``path`` cannot be written.
    """
    write_text(path, page_text(data))


def is_page(path: Path) -> bool:
    """Whether the file is a page that ``write_page`` wrote. Raises InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return GENERATOR.encode() in file.read(4000)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def page_text(data: Mapping[str, Any]) -> str:
    """The HTML of the page of ``data``."""
    text_of_page = REPORT_TEXT if data["runs"] else LEADERBOARD_TEXT
    style = "\n".join(asset(name) for name in STYLE_SHEETS)
    script = "(() => {\n'use strict';\n" + "\n".join(asset(name) for name in SCRIPTS) + "})();\n"
    library = asset(CHART_LIBRARY)
    policy = (
        f"default-src 'none'; script-src {_digest(library)} {_digest(script)}; style-src {_digest(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    text = asset("template.html")
    # The data come last, so that nothing in them is mistaken for a place to fill.
    for name, value in {
        "policy": policy,
        "generator": GENERATOR,
        "title": text_of_page.title,
        "style": style,
        "heading": text_of_page.heading,
        "lead": text_of_page.lead,
        "without_script": text_of_page.without_script,
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
    """``data`` as JSON for a script element: no <, > or & in it can end the element or begin a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    # A lone surrogate cannot be written as UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()


def asset(name: str) -> str:
    """The text of a file in ``assets/``."""
    return files("plasticity_bench.page").joinpath(ASSETS, name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """How a policy names an inline element: the base64 of the SHA-256 of its text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _runs(runs: ReportedRuns, streams: Sequence[StreamScores], out: Path | None) -> dict[str, Any]:
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
                    "seeds": row.fewest_seeds,
                    "summary": {
                        "level": bounds(row.score),
                        "retention": bounds(row.retention),
                        "cost": costs[row.method],
                    },
                    "uncapped": bounds(row.uncapped),
                    "p_loss": finite(row.p_loss, 4),
                    "lowest": [names[lowest], finite(value)],
                }
            )
    return {"rows": found, "notes": list(notes)}


def _cost(label: str, streams: Sequence[StreamScores]) -> float | None:
    """The median over streams of the method's cost, None if it is known on no stream."""
    rows = [row for stream in streams if (row := stream.row(label))]
    known = [cost for row in rows if not np.isnan(cost := row.summary["cost"].point)]
    return finite(float(np.median(known))) if known else None
