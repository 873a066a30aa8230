"""The leaderboard as Markdown: tables per suite and per stream, for tuned and for default settings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from plasticity_bench.figures.drawing import streams_with_scores
from plasticity_bench.page.document import PAGE
from plasticity_bench.page.links import link, relative_path
from plasticity_bench.page.rows import SubmissionDetails
from plasticity_bench.records.cells import TUNED_MARK
from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.scoring.ranking import FEW_SEEDS, LEVEL, Comparison, Group
from plasticity_bench.scoring.scores import AggregateRow, CellScores, Scores, StreamScores
from plasticity_bench.scoring.suites import SuiteScores
from plasticity_bench.terminal import interval_text, metric_text, number, p_text

INTRODUCTION = f"""\
# Leaderboard

How much of its ability to learn does a network keep when it is trained on one task after another? Every
stream below is a fixed sequence of tasks with a fixed network, optimizer and training length; the
method is all that changes. Ranked by **retained plasticity**, the interquartile mean over seeds with its 95%
bootstrap interval. Differences are paired: both methods saw the same tasks, batches and initial weights.

**Tuned** rows have settings that a sweep chose, learning rate included. The sweep tried the same number of
configurations for every method, on seeds that no score uses. Tuned rows compete with each other, and so do
the rows with default settings.

Methods share a rank (**3=**) if a paired test, corrected for all comparisons of the table, finds no
significant difference from the rank's first method. A difference is significant, and its **p** is bold, if p
is at most {LEVEL:g} (sign flips of whole seeds, Westfall and Young's max-T). A shared rank does not prove
that methods are equal. A row with fewer than {FEW_SEEDS} seeds has no rank. Intervals describe the spread
over seeds only, and are not corrected for their number.
"""
#: Characters with a meaning in Markdown or HTML.
ACTIVE = re.compile(r"[\\`*<>|~@$#{}]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|](?=[(\[:])|(?<=!)\[")
#: How to submit: written by hand, and linked if the folder has it.
GUIDE = "SUBMITTING.md"
OTHER_METRICS = [name for name in METRICS if name != "retained_plasticity"]
GROUP_TITLES = {True: "Tuned, the same number of configurations for every method", False: "Default settings"}


def readme(
    scores: Scores,
    suites: Mapping[str, SuiteScores],
    source: Path,
    details: Mapping[str, SubmissionDetails],
    out: Path,
    streams: Sequence[str],
    figures: Sequence[str],
) -> str:
    """The text of README.md.

    Args:
        scores: of the records in ``source``.
        suites: their aggregates by suite.
        source: folder of the records or submissions.
        details: method's label -> what its submission adds.
        out: folder of README.md.
        streams: the streams to which the leaderboard is limited; all if empty.
        figures: names of the drawn figures.
    """
    here = out.resolve()
    option = "--submissions" if details else "--runs"
    command = ["python -m plasticity_bench leaderboard", f"{option} {relative_path(source, here.parent)}"]
    command += [f"--out {here.name}", *(f"--stream {name}" for name in streams)]
    parts = [
        INTRODUCTION,
        f"Generated: do not edit. In the folder above this one: `{' '.join(command)}`. The same numbers for "
        "programs: [leaderboard.csv](leaderboard.csv), and for every seed "
        f"[scores-per-seed.csv](scores-per-seed.csv). To sort, filter and overlay: [{PAGE}]({PAGE}).\n",
    ]
    if (out / GUIDE).exists():
        parts.append(f"To add a method, or to check what is here: [{GUIDE}]({GUIDE}).\n")
    if streams_with_scores(scores.streams):
        parts.append("![Retained plasticity by stream](figures/retained-plasticity.png)\n")
    if scores.aggregate:
        parts.append("![Retained plasticity, methods by streams](figures/heat-map.png)\n")
    shown = ("retained-plasticity", "heat-map", "learning-curves-", "returns-")
    links = [
        f"[{name.replace('-', ' ')}](figures/{name}.png)" for name in figures if not name.startswith(shown)
    ]
    if links:
        parts.append(f"More figures: {', '.join(links)}.\n")
    if scores.aggregate:
        parts += _suite_sections(scores, suites)
    parts += [_stream_section(stream, out) for stream in scores.streams if stream.rows]
    parts.append(_methods_section(scores, details))
    parts.append("## Columns\n")
    parts += [
        "- **n**: seeds recorded. **uses task boundaries**: the method is notified when the task changes. "
        "**tuned by**: configurations x tuning seeds of the sweep.",
        "- **difference**: of retained plasticity, on the seeds of both rows, with its 95% interval; "
        "**p** as above. **P(better than `none`)**: probability that a run scores above one of `none` "
        "(the tuned one for tuned rows), Mann-Whitney, as rliable defines it.",
    ]
    parts += [f"- **{name.replace('_', ' ')}**: {text}" for name, text in METRICS.items()]
    parts.append("\nWindow: the first or last 10% of the tasks. chance: the score of guessing, by stream.\n")
    return "\n".join(parts)


def _suite_sections(scores: Scores, suites: Mapping[str, SuiteScores]) -> list[str]:
    """The aggregate of every suite that is recorded as a whole, and of all streams."""
    parts, seen = [], set()
    for name, suite in suites.items():
        if suite.whole and len(suite.members) > 1:
            parts += _aggregate_section(suite.groups, suite.notes, f"Suite {name}")
            seen.add(frozenset(suite.members))
    if frozenset(range(sum(bool(stream.rows) for stream in scores.streams))) not in seen:
        parts += _aggregate_section(scores.groups, scores.notes, "All streams")
    return parts


def _aggregate_section(groups: Sequence[Group[AggregateRow]], notes: Sequence[str], title: str) -> list[str]:
    rows = [row for group in groups for row in group.rows]
    covered = {name for row in rows for name in row.coverage}
    left_out = sum(len(row.streams) < len(covered) for row in rows)
    if left_out == len(rows):
        return []
    parts = [
        f"## {title}\n",
        f"{', '.join(sorted(covered))}: the mean over these streams of the interquartile mean over seeds. "
        "IQM: the interquartile mean of all their runs together, as rliable computes it; it leaves out the "
        "lowest and the highest quarter of the runs, and can so hide what happens on single streams.\n",
    ]
    for group in groups:
        lines = []
        for row, place in zip(group.rows, group.places, strict=True):
            if len(row.streams) < len(covered):
                continue
            stream, lowest = row.lowest
            lines.append(
                [
                    place.text,
                    code(row.method),
                    str(len(row.seeds)),
                    interval_text(row.summary),
                    *_compared(place.above, place.none),
                    interval_text(row.pooled),
                    f"{number(lowest)} on {stream}",
                ]
            )
        head = [
            "#",
            "method",
            "n",
            "retained plasticity [95% CI]",
            *COMPARED,
            "IQM [95% CI]",
            "lowest stream",
        ]
        if lines:
            parts.append(f"### {title}: {GROUP_TITLES[group.tuned].lower()}\n\n{_markdown(head, lines)}")
    more = [f"{left_out} methods do not cover all of these streams"] if left_out else []
    parts.append(_notes([*(note for note in notes if "no rank" not in note), *more]))
    return parts


COMPARED = ["difference to the row above", "p", "difference to `none`", "p", "P(better than `none`)"]


def _compared(above: Comparison | None, none: Comparison | None) -> list[str]:
    """The columns of ``COMPARED``."""
    return [
        *(_difference(above), _p(above), _difference(none), _p(none)),
        interval_text(none.improvement) if none else "",
    ]


def _difference(found: Comparison | None) -> str:
    return interval_text(found.difference) if found else ""


def _p(found: Comparison | None) -> str:
    if found is None or math.isnan(found.p):
        return ""
    return f"**{p_text(found.p)}**" if found.significant else p_text(found.p)


def _stream_section(stream: StreamScores, out: Path) -> str:
    config = stream.rows[0].cell.config.stream
    settings = ", ".join(inert(f"{name} {value}") for name, value in config.settings.items())
    about = f"{inert(_sentence(config.summary))} Data: {inert(_sentence(config.source))} "
    about += f"{config.tasks} tasks; {config.unit}, "
    about += f"chance {number(config.chance)}" + (f"; {settings}." if settings else ".")
    parts = [f"## {stream.name}\n", about + "\n"]
    for group in stream.groups:
        parts.append(f"### {stream.name}: {GROUP_TITLES[group.tuned].lower()}\n\n{_stream_table(group, out)}")
    figure = f"![Learning curves on {stream.name}](figures/{quote(f'learning-curves-{stream.name}.png')})\n"
    return "\n".join([*parts, _notes(stream.notes), figure])


def _stream_table(group: Group[CellScores], out: Path) -> str:
    rows = []
    for row, place in zip(group.rows, group.places, strict=True):
        method = row.cell.config.method
        rows.append(
            [
                place.text,
                code(row.method),
                str(len(row.seeds)),
                interval_text(row.score),
                *_compared(place.above, place.none),
                *(metric_text(row, metric) for metric in OTHER_METRICS),
                "yes" if method.task_boundaries else "no",
                *_tuning(row),
                f"[records]({link(row.cell.path, out)})",
            ]
        )
    head = ["#", "method", "n", "retained plasticity [95% CI]", *COMPARED]
    head += [*(name.replace("_", " ") for name in OTHER_METRICS), "uses task boundaries"]
    head += [*(("settings chosen", "tuned by") if group.tuned else ()), "evidence"]
    return _markdown(head, rows)


def _tuning(row: CellScores) -> list[str]:
    """What the sweep chose, and its size; empty for a row that is not tuned."""
    tuning = row.cell.tuning
    if not tuning:
        return []
    chosen = row.cell.configuration.partition(":")[2]
    return [
        code(chosen) if chosen else "defaults",
        f"{len(tuning.configurations)} x {len(tuning.seeds)}",
    ]


def _methods_section(scores: Scores, details: Mapping[str, SubmissionDetails]) -> str:
    found = {
        row.cell.tuning.method if row.cell.tuning else row.method: row.cell.config.method
        for stream in scores.streams
        for row in stream.rows
    }
    lines = ["## Methods\n"]
    for label, method in sorted(found.items()):
        source = "" if method.source == "builtin" else f" Source: {inert(method.source)}."
        about = " ".join(inert(_sentence(text)) for text in (method.summary, method.paper))
        own = (details.get(key, SubmissionDetails()) for key in (label, f"{label}{TUNED_MARK}"))
        by = next((each for each in own if each.submitter or each.link), SubmissionDetails())
        lines.append(f"- {code(label)}: {about}{source}{_submitted(by)}")
    return "\n".join(lines) + "\n"


def _submitted(by: SubmissionDetails) -> str:
    """Who submitted a method, and their link; only a plain https address becomes a link."""
    plain = re.fullmatch(r"https://[A-Za-z0-9.-]+(/[A-Za-z0-9/._~%+-]*)?", by.link)
    address = f"[link]({by.link})" if plain else inert(by.link)
    words = " ".join(part for part in (inert(by.submitter), address) if part)
    return f" Submitted by {words}." if words else ""


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _notes(notes: Sequence[str]) -> str:
    return "".join(f"- {inert(note)}\n" for note in notes)


def _sentence(text: str) -> str:
    return text if text.endswith(".") or not text else f"{text}."


def inert(text: str) -> str:
    """``text`` of strangers as Markdown that only shows it: no markup, HTML, link, mention or formula.

    Every character with a meaning becomes a character reference, which Markdown treats as text.
    """
    line = "".join(char if char.isprintable() else " " for char in text)
    safe = ACTIVE.sub(lambda match: f"&#{ord(match[0])};", line)
    return re.sub(r"(?i)\bwww\.", "www&#46;", safe.replace("://", "&#58;//"))


def code(text: str) -> str:
    """A method's label as code, or as plain text if one of its characters could end the code."""
    return f"`{text}`" if re.fullmatch(r"[\w .:,;=+()/-]+", text) else inert(text)
