"""The leaderboard: a folder with README.md, tables as CSV, every seed's scores, and figures.

Equal records give equal files: nothing in them depends on the clock.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from plasticity_bench.figures import ranked, save_all
from plasticity_bench.files import write_text
from plasticity_bench.page import PAGE, page_data, recorded_suites, write_page
from plasticity_bench.page_curves import grids
from plasticity_bench.parallel import Workers
from plasticity_bench.records import find_cells
from plasticity_bench.registry import SUITES
from plasticity_bench.report import interval_text, metric_text, number, rank_text, ties
from plasticity_bench.scoring import (
    CellScores,
    Scores,
    StreamScores,
    aggregate_difference,
    aggregate_streams,
    difference,
    measure_cells,
    of_streams,
    score_measured,
    verdict,
)
from plasticity_bench.seed_metrics import METRICS
from plasticity_bench.stats import Difference
from plasticity_bench.submission import Submitter, in_own_words, read_submitters

INTRODUCTION = """\
# Leaderboard

How much of its ability to learn does a network keep when it is trained on one task after another? Every
stream below is a fixed sequence of tasks with a fixed network, optimizer and training length; the
method is all that changes. Ranked by **retained plasticity**, the interquartile mean over seeds with its 95%
bootstrap interval. Differences are paired: both methods saw the same tasks, batches and initial weights.

A row marked **tied** is not separated from the row above: the interval of their paired difference
includes 0. Ties do not add up: a row tied with the one above can still differ from the one two above.
Intervals describe the spread over seeds only; they are not corrected for the number of comparisons.
"""
#: Characters that mean something to Markdown or HTML.
ACTIVE = re.compile(r"[\\`*<>|~@$#{}]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|](?=[(\[:])|(?<=!)\[")
#: How to submit; written by hand, and linked where the folder has it.
GUIDE = "SUBMITTING.md"
OTHER_METRICS = [name for name in METRICS if name != "retained_plasticity"]


def build(
    source: Path,
    out: Path,
    streams: Sequence[str] = (),
    announce: Callable[[str], None] = lambda text: None,
    workers: Workers | None = None,
) -> list[Path]:
    """Writes the leaderboard of all records in ``source`` (or of these ``streams``) to ``out``.

    ``source`` is a folder of runs, or of submissions that have been verified. ``workers``: who shares the
    work. Returns the files written.
    Raises InputError where there are no records, or damaged ones, or where ``out`` cannot be written.
    """
    submitters = read_submitters(source)
    found = find_cells(source)
    cells = [in_own_words(cell) for cell in found] if submitters else found
    workers = workers or Workers(1)
    measured = measure_cells(of_streams(cells, streams), workers)
    announce(f"read {sum(len(entry.seeds) for entry in measured)} tables of {len(measured)} cells")
    scores = score_measured(measured, workers)
    announce(f"scored {len(scores.streams)} streams")
    recorded = [stream for stream in scores.streams if stream.rows]
    curves = workers.map(grids, [stream.rows for stream in recorded])
    written = save_all(scores, out / "figures", [".png"], announce, workers)
    texts = {
        "leaderboard.csv": _csv(_summary_rows(scores, out)),
        "scores-per-seed.csv": _csv(_seed_rows(scores, out)),
        "README.md": _readme(scores, source, submitters, out, streams),
    }
    for name, text in texts.items():
        write_text(out / name, text)
        announce(f"wrote {out / name}")
    of_page = dict(zip((stream.name for stream in recorded), curves, strict=True))
    write_page(page_data(scores, out, curves=of_page), out / PAGE)
    announce(f"wrote {out / PAGE}")
    return [*written, *(out / name for name in texts), out / PAGE]


def _readme(
    scores: Scores, source: Path, submitters: Mapping[str, Submitter], out: Path, streams: Sequence[str]
) -> str:
    here = out.resolve()
    option = "--submissions" if submitters else "--runs"
    command = ["python -m plasticity_bench leaderboard", f"{option} {_relative(source, here.parent)}"]
    command += [f"--out {here.name}", *(f"--stream {name}" for name in streams)]
    parts = [
        INTRODUCTION,
        f"Generated: do not edit. In the folder above this one: `{' '.join(command)}`. The same numbers for "
        "programs: [leaderboard.csv](leaderboard.csv), and for every seed "
        f"[scores-per-seed.csv](scores-per-seed.csv). To sort, filter and overlay: [{PAGE}]({PAGE}).\n",
    ]
    if (out / GUIDE).exists():
        parts.append(f"To add a method, or to check what is here: [{GUIDE}]({GUIDE}).\n")
    if ranked(scores.streams):
        parts.append("![Retained plasticity by stream](figures/retained-plasticity.png)\n")
    if scores.aggregate:
        parts.append("![Retained plasticity, methods by streams](figures/heat-map.png)\n")
        names = ("performance-profiles", "ranks-over-tasks", "diagnostics", "score-and-cost")
        links = [f"[{name.replace('-', ' ')}](figures/{name}.png)" for name in names]
        parts.append(f"More figures: {', '.join(links)}.\n")
        parts.append(_aggregate_section(scores, "Over all streams"))
        parts += _suite_sections(scores)
    parts += [_stream_section(stream, out) for stream in scores.streams if stream.rows]
    parts.append(_methods_section(scores, submitters))
    parts.append("## Columns\n")
    parts.append("- **n**: seeds recorded. **told**: the method is told when the task changes.")
    parts += [f"- **{name.replace('_', ' ')}**: {text}" for name, text in METRICS.items()]
    parts.append("\nWindow: the first or last 10% of the tasks. chance: what guessing scores, by stream.\n")
    return "\n".join(parts)


def _suite_sections(scores: Scores) -> list[str]:
    """The aggregate of every suite that is recorded and not all there is, of methods that cover it."""
    parts = []
    for name, members in recorded_suites(scores.streams).items():
        streams = tuple(scores.streams[i] for i in members)
        if len(streams) == len(SUITES[name].streams) and 1 < len(streams) < len(scores.streams):
            rows, _ = aggregate_streams(streams)
            whole = tuple(row for row in rows if len(row.streams) == len(streams))
            if whole:
                parts.append(_aggregate_section(Scores(streams, whole, ()), f"Suite {name}"))
    return parts


def _aggregate_section(scores: Scores, title: str) -> str:
    rows = []
    for index, row in enumerate(scores.aggregate):
        above = aggregate_difference(row, scores.aggregate[index - 1]) if index else None
        rows.append(
            [
                rank_text(index + 1, row.summary),
                code(row.method),
                ", ".join(row.streams),
                str(len(row.seeds)),
                interval_text(row.summary),
                _difference_text(above),
            ]
        )
    head = ["#", "method", "streams", "n", "retained plasticity [95% CI]", "difference to the row above"]
    text = f"## {title}\n\nThe interquartile mean over all seeds of all streams together.\n\n"
    return text + _markdown(head, rows) + _notes(scores.notes)


def _stream_section(stream: StreamScores, out: Path) -> str:
    config = stream.rows[0].cell.config["stream"]
    none = stream.row("none")
    rows = []
    for rank, (row, above) in enumerate(zip(stream.rows, ties(stream.rows), strict=True), start=1):
        method = row.cell.config["method"]
        rows.append(
            [
                rank_text(rank, row.summary["retained_plasticity"]),
                code(row.method),
                str(len(row.seeds)),
                interval_text(row.summary["retained_plasticity"]),
                _difference_text(above),
                _difference_text(_to_none(row, none)),
                *(metric_text(row, metric) for metric in OTHER_METRICS),
                "yes" if method["task_boundaries"] else "no",
                f"[records]({_link(row, out)})",
            ]
        )
    head = ["#", "method", "n", "retained plasticity [95% CI]", "difference to the row above"]
    head += ["difference to `none`", *(name.replace("_", " ") for name in OTHER_METRICS), "told", "evidence"]
    settings = ", ".join(inert(f"{name} {value}") for name, value in config["settings"].items())
    about = f"{inert(_sentence(config['summary']))} Data: {inert(_sentence(config['source']))} "
    about += f"{config['tasks']} tasks; {config['unit']}, "
    about += f"chance {number(float(config['chance']))}" + (f"; {settings}." if settings else ".")
    figure = f"![Learning curves on {stream.name}](figures/{quote(f'learning-curves-{stream.name}.png')})\n"
    parts = [f"## {stream.name}\n", about + "\n", _markdown(head, rows) + _notes(stream.notes), figure]
    return "\n".join(parts)


def _methods_section(scores: Scores, submitters: Mapping[str, Submitter]) -> str:
    methods = {row.method: row.cell.config["method"] for stream in scores.streams for row in stream.rows}
    lines = ["## Methods\n"]
    for label, method in sorted(methods.items()):
        source = "" if method["source"] == "builtin" else f" Source: {inert(method['source'])}."
        about = " ".join(inert(_sentence(method[part])) for part in ("summary", "paper"))
        lines.append(f"- {code(label)}: {about}{source}{_submitted(submitters.get(label, Submitter()))}")
    return "\n".join(lines) + "\n"


def _submitted(by: Submitter) -> str:
    """Who submitted a method, and where they say more; only a plain https address becomes a link."""
    plain = re.fullmatch(r"https://[A-Za-z0-9.-]+(/[A-Za-z0-9/._~%+-]*)?", by.link)
    link = f"[link]({by.link})" if plain else inert(by.link)
    words = " ".join(part for part in (inert(by.name), link) if part)
    return f" Submitted by {words}." if words else ""


def _to_none(row: CellScores, none: CellScores | None) -> tuple[Difference, int] | None:
    return difference(row, none, "retained_plasticity") if none and row is not none else None


def _difference_text(found: tuple[Difference, int] | None) -> str:
    if found is None:
        return ""
    size, _ = found
    return f"{interval_text(size)}{' **tied**' if verdict(size) == 'tied' else ''}"


def _summary_rows(scores: Scores, out: Path) -> Iterable[list[object]]:
    bounds = ("", "_low", "_high")
    head: list[object] = ["stream", "rank", "method", "seeds", "tied_with_row_above", "told_task_boundaries"]
    head += [f"{metric}{bound}" for metric in METRICS for bound in bounds]
    differences = ("difference_to_row_above", "difference_to_none")
    yield [*head, *(f"{name}{bound}" for name in differences for bound in bounds), "source", "evidence"]
    for stream in scores.streams:
        none = stream.row("none")
        for rank, (row, above) in enumerate(zip(stream.rows, ties(stream.rows), strict=True), start=1):
            method = row.cell.config["method"]
            place = rank_text(rank, row.summary["retained_plasticity"])
            tied = above is not None and verdict(above[0]) == "tied"
            line: list[object] = [stream.name, place, row.method, len(row.seeds), tied]
            line.append(method["task_boundaries"])
            for metric in METRICS:
                line += row.summary[metric]
            for found in (above, _to_none(row, none)):
                line += found[0][:3] if found else ("", "", "")
            yield [*line, method["source"], _relative(row.cell.path, out)]


def _seed_rows(scores: Scores, out: Path) -> Iterable[list[object]]:
    yield ["stream", "method", "seed", *METRICS, "evidence"]
    for stream in scores.streams:
        for row in stream.rows:
            evidence = _relative(row.cell.path, out)
            for index, seed in enumerate(row.seeds):
                values = [float(row.values[metric][index]) for metric in METRICS]
                yield [stream.name, row.method, seed, *values, evidence]


def _csv(rows: Iterable[Sequence[object]]) -> str:
    """CSV with floats to nine digits, enough to draw and compare from; empty for nan."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_field(value) for value in row])
    return text.getvalue()


def _field(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.9g}"
    return str(value)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _notes(notes: Sequence[str]) -> str:
    return "".join(f"\n- {inert(note)}" for note in notes) + "\n" if notes else ""


def _sentence(text: str) -> str:
    return text if text.endswith(".") or not text else f"{text}."


def _link(row: CellScores, out: Path) -> str:
    return quote(_relative(row.cell.path, out))


def inert(text: str) -> str:
    """``text`` that somebody else wrote, as Markdown that shows it and does nothing: no markup, HTML, link,
    mention or formula. Character references are text to Markdown, whatever they stand for."""
    line = "".join(char if char.isprintable() else " " for char in text)
    safe = ACTIVE.sub(lambda match: f"&#{ord(match[0])};", line)
    return re.sub(r"(?i)\bwww\.", "www&#46;", safe.replace("://", "&#58;//"))


def code(text: str) -> str:
    """A method's label as code; one with characters that could end the code is shown as plain text."""
    return f"`{text}`" if re.fullmatch(r"[\w .:,;=+()/-]+", text) else inert(text)


def _relative(path: Path, start: Path) -> str:
    return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()
