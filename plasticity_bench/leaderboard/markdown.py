"""The leaderboard as Markdown: tables per suite and per stream, for tuned and for default settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from plasticity_bench.figures.drawing import streams_with
from plasticity_bench.page.document import PAGE
from plasticity_bench.page.links import link, relative_path
from plasticity_bench.page.rows import SubmissionDetails
from plasticity_bench.records.names import TUNED_MARK
from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.scoring.ranking import FEW_SEEDS, LEVEL, Comparison, Group, Place
from plasticity_bench.scoring.scores import CAP, AggregateRow, CellScores, Scores, StreamScores
from plasticity_bench.scoring.suites import SuiteScores
from plasticity_bench.terminal import interval_text, metric_text, number, p_text

INTRODUCTION = f"""\
# Leaderboard

How well does a network still learn a new task after it was trained on many others? Every stream below is a
fixed sequence of tasks with a fixed network, optimizer and training length; the method is all that changes.

Rows are ranked by their **level**: what the learner reaches on the last tasks, over what a new network with
plain training reaches on the same tasks (its fresh twin). 1 is as good as starting anew. **Retention** is the
same over the method's own fresh twins: how much of its own ability to learn it kept. 1 is nothing lost, and
1 - retention is the **plasticity loss**. A method can keep all of a low ability, so both are shown. Over
streams, the **score** is the mean of the levels, of which at most {CAP:g} counts on each stream. Intervals
are 95% bootstrap intervals over seeds. Differences are paired: both methods saw the same tasks, batches and
initial weights.

**Tuned** rows have settings that a sweep chose, learning rate included. The sweep tried the same number of
configurations for every method, on seeds that no score uses. Tuned rows compete with each other, and so do
the rows with default settings.

A row's rank is 1 + the number of rows significantly above it. A difference is significant, and its **p** is
bold, if p is at most {LEVEL:g} in a paired test that is corrected for all comparisons of the table (sign
flips of whole seeds, Westfall and Young's max-T). Equal ranks do not prove that methods are equal. **range**
is the 95% range of a row's place when seeds are resampled. `none` and `reset` are references and have no
rank; a row with fewer than {FEW_SEEDS} seeds has none either. Intervals describe the spread over seeds only,
and are not corrected for their number.
"""
#: Characters with a meaning in Markdown or HTML.
ACTIVE = re.compile(r"[\\`*<>|~@$#{}]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|](?=[(\[:])|(?<=!)\[")
#: How to submit: written by hand, and linked if the folder has it.
GUIDE = "SUBMITTING.md"
#: Metrics with a column of their own form; the others show their estimate only.
WITH_INTERVAL = ("level", "retention")
OTHER_METRICS = [name for name in METRICS if name not in WITH_INTERVAL]
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
    for metric in WITH_INTERVAL:
        if streams_with(scores.streams, metric):
            parts.append(f"![{metric.capitalize()} by stream](figures/{metric}.png)\n")
    if scores.aggregate:
        parts.append("![Level, methods by streams](figures/heat-map.png)\n")
    shown = (*WITH_INTERVAL, "heat-map", "learning-curves-", "plasticity-loss-", "returns-")
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
        "- **difference**: of levels (of scores over streams) to `none` and to `reset`, for tuned rows to "
        "the tuned ones, on the seeds of both rows, with its 95% interval; **p** as above.",
        "- **P(better than `none`)**: probability that a run scores above one of `none`, Mann-Whitney, as "
        "rliable defines it.",
        "- **p loss**: of the hypothesis that the method loses no plasticity, by sign flips of seeds between "
        "the learner and its fresh twins; two-sided, and not corrected for the number of rows.",
    ]
    parts += [f"- **{name.replace('_', ' ')}**: {text}" for name, text in METRICS.items()]
    parts.append(
        "\nFresh twin: the same learner, started from scratch at a task and trained on that task alone. Late "
        "tasks: the last tenth, at least 5 of a stream with 20 tasks or more. Window: the last 10% of the "
        "tasks. chance: the score of guessing, by stream.\n"
    )
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
        f"{', '.join(sorted(covered))}: the score is the mean over these streams of min(level, {CAP:g}). "
        "uncapped: the mean of the levels. retention: the mean of the retentions.\n",
    ]
    for group in groups:
        lines = []
        for row, place in zip(group.rows, group.places, strict=True):
            if len(row.streams) < len(covered):
                continue
            stream, lowest = row.lowest
            lines.append(
                [
                    *_place(place),
                    code(row.method),
                    str(row.fewest_seeds),
                    interval_text(row.score),
                    interval_text(row.uncapped),
                    interval_text(row.retention),
                    _bold_p(row.p_loss),
                    *_compared(place),
                    f"{number(lowest)} on {stream}",
                ]
            )
        head = ["#", "range", "method", "n", "score [95% CI]", "uncapped", "retention", "p loss"]
        head += [*COMPARED, "lowest level"]
        if lines:
            parts.append(f"### {title}: {GROUP_TITLES[group.tuned].lower()}\n\n{_markdown(head, lines)}")
    more = [f"{left_out} methods do not cover all of these streams"] if left_out else []
    parts.append(_notes([*(note for note in notes if "no rank" not in note), *more]))
    return parts


COMPARED = ["difference to `none`", "p", "difference to `reset`", "p", "P(better than `none`)"]


def _compared(place: Place) -> list[str]:
    """The columns of ``COMPARED``."""
    return [
        *(_difference(place.none), _p(place.none), _difference(place.reset), _p(place.reset)),
        interval_text(place.none.improvement) if place.none else "",
    ]


def _place(place: Place) -> list[str]:
    """The columns # and range."""
    return [place.text, place.range_text]


def _difference(found: Comparison | None) -> str:
    return interval_text(found.difference) if found else ""


def _p(found: Comparison | None) -> str:
    return _bold_p(found.p) if found else ""


def _bold_p(p: float) -> str:
    """A p-value, bold if it is significant; empty if it is nan."""
    return f"**{p_text(p)}**" if p <= LEVEL else p_text(p)


def _stream_section(stream: StreamScores, out: Path) -> str:
    config = stream.rows[0].cell.config.stream
    settings = ", ".join(inert(f"{name} {value}") for name, value in config.settings.items())
    about = f"{inert(_sentence(config.summary))} Data: {inert(_sentence(config.source))} "
    about += f"{config.tasks} tasks; {config.unit}, "
    about += f"chance {number(config.chance)}" + (f"; {settings}." if settings else ".")
    parts = [f"## {stream.name}\n", about + "\n"]
    for group in stream.groups:
        parts.append(f"### {stream.name}: {GROUP_TITLES[group.tuned].lower()}\n\n{_stream_table(group, out)}")
    figures = [_figure("Learning curves", "learning-curves", stream.name)]
    if any(row.plasticity.curve for row in stream.rows):
        figures.append(_figure("Plasticity loss over tasks", "plasticity-loss", stream.name))
    return "\n".join([*parts, _notes(stream.notes), *figures])


def _figure(title: str, kind: str, stream: str) -> str:
    return f"![{title} on {stream}](figures/{quote(f'{kind}-{stream}.png')})\n"


def _stream_table(group: Group[CellScores], out: Path) -> str:
    rows = []
    for row, place in zip(group.rows, group.places, strict=True):
        method = row.cell.config.method
        rows.append(
            [
                *_place(place),
                code(row.method),
                str(len(row.seeds)),
                interval_text(row.score),
                interval_text(row.summary["retention"]),
                _bold_p(row.p_loss),
                *_compared(place),
                *(metric_text(row, metric) for metric in OTHER_METRICS),
                "yes" if method.task_boundaries else "no",
                *_tuning(row),
                f"[records]({link(row.cell.path, out)})",
            ]
        )
    head = ["#", "range", "method", "n", "level [95% CI]", "retention [95% CI]", "p loss", *COMPARED]
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
