"""The leaderboard's rows. What its columns are called stands here and nowhere else."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from docs.generate.markdown import code, estimate, table
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.settings import split_parts, split_settings
from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.scoring.ranking import FEW_SEEDS, LEVEL
from plasticity_bench.stats.bootstrap import Interval
from plasticity_bench.terminal import number, p_text

ROOT = Path(__file__).resolve().parents[2]
LEADERBOARD = ROOT / "leaderboard"
#: Metric -> title of its column, apart from the level and the retention, which have intervals.
SHOWN = {
    "fresh_level": "fresh level",
    "average_performance": "average",
    "cost": "cost",
}


@dataclass(frozen=True)
class Row:
    """A method on a stream, with default settings or tuned."""

    stream: str  # with its version: "bit-flip-v1"
    tuned: bool
    rank: str  # empty without a rank
    range: str  # 95% range of its place: "2-5", empty without a rank
    method: str  # its name, without settings
    settings: tuple[str, ...]  # those that differ from the defaults, as "strength=0.01"
    seeds: int
    metrics: Mapping[str, Interval]
    p_loss: float  # of no plasticity loss, nan if unknown
    to_none: Interval  # difference of the level to that of `none`
    p_none: float  # of that difference, nan if there is none
    to_reset: Interval  # the same for `reset`
    p_reset: float


@lru_cache(maxsize=1)
def rows() -> tuple[Row, ...]:
    """All rows of leaderboard.csv, in its order: by stream, tuned ones first, then by rank."""
    with (LEADERBOARD / "leaderboard.csv").open(newline="") as file:
        return tuple(map(_row, csv.DictReader(file)))


def _row(line: Mapping[str, str]) -> Row:
    name, settings = _split(line["configuration"])
    return Row(
        stream=line["stream"],
        tuned=line["tuned"] == "True",
        rank=line["rank"],
        range=_range(line["rank_low"], line["rank_high"]),
        method=name,
        settings=settings,
        seeds=int(line["seeds"]),
        metrics={metric: _interval(line, metric) for metric in METRICS},
        p_loss=_float(line["p_loss"]),
        to_none=_interval(line, "difference_to_none"),
        p_none=_float(line["p_none"]),
        to_reset=_interval(line, "difference_to_reset"),
        p_reset=_float(line["p_reset"]),
    )


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low}-{high}"


def _split(configuration: str) -> tuple[str, tuple[str, ...]]:
    """The name of a method, or of a composition, and its settings."""
    parts = [split_settings(part) for part in split_parts(configuration)]
    given = tuple(f"{key}={value}" for _, settings in parts for key, value in settings.items())
    return "+".join(name for name, _ in parts), given


def _interval(line: Mapping[str, str], column: str) -> Interval:
    return Interval(*(_float(line[column + end]) for end in ("", "_low", "_high")))


def _float(text: str) -> float:
    return float(text) if text else float("nan")


def group(stream: str, tuned: bool) -> list[Row]:
    """The rows that compete with each other."""
    return [row for row in rows() if row.stream == stream and row.tuned == tuned]


def none_on(stream: str) -> Row | None:
    """Plain training with default settings on a stream; None if it is not recorded."""
    return next((row for row in group(stream, False) if row.method == "none"), None)


def loss_of_none(stream: str) -> str:
    """Whether plain training loses plasticity on a stream, with the loss; empty if it is not recorded."""
    none = none_on(stream)
    if none is None:
        return ""
    loss = none.metrics["plasticity_loss"]
    if none.p_loss != none.p_loss:
        return "unknown"
    shown = none.p_loss <= LEVEL and loss.point > 0
    return f"{'yes' if shown else 'not shown'}: plasticity loss {estimate(loss)}, p {p_text(none.p_loss)}"


HEAD = (
    *("level [95% CI]", "retention [95% CI]", "p loss", "difference to `none` [95% CI]", "p"),
    *("difference to `reset` [95% CI]", "p", *SHOWN.values()),
)


def numbers(row: Row) -> list[str]:
    """The cells under ``HEAD``."""
    cells = [estimate(row.metrics["level"]), estimate(row.metrics["retention"]), _p(row.p_loss)]
    cells += [estimate(row.to_none), _p(row.p_none), estimate(row.to_reset), _p(row.p_reset)]
    for metric in SHOWN:
        value = row.metrics[metric].point
        cells.append("" if value != value else f"{value:.2f}x" if metric == "cost" else number(value))
    return cells


def _p(value: float) -> str:
    """A p-value, bold if it is significant."""
    return f"**{p_text(value)}**" if value <= LEVEL else p_text(value)


def settings_cell(row: Row) -> str:
    """The settings of a row: "defaults", or those that were chosen."""
    return " ".join(map(code, row.settings)) or "defaults"


def of_method(name: str) -> str:
    """The table of a method's page: one row for every stream and kind of settings."""
    found = [row for row in rows() if row.method == name]
    if not found:
        return "Nothing is recorded on the leaderboard.\n"
    lines = []
    for row in found:
        field = sum(bool(other.rank) for other in group(row.stream, row.tuned))
        lines.append(
            [
                stream_link(row.stream, "../streams/"),
                "tuned" if row.tuned else "default",
                f"{row.rank} of {field}".replace(" ", "&nbsp;") if row.rank else "-",
                row.range,
                str(row.seeds),
                *numbers(row),
                settings_cell(row),
            ]
        )
    return table(("stream", "row", "rank", "range", "n", *HEAD, "settings"), lines)


def of_stream(stream: str, tuned: bool) -> str:
    """The table of a stream's page: its methods in the order of their ranks."""
    lines = [
        [row.rank or "-", row.range, method_link(row.method), str(row.seeds), *numbers(row)]
        + ([settings_cell(row)] if tuned else [])
        for row in group(stream, tuned)
    ]
    return table(("rank", "range", "method", "n", *HEAD, *(["settings chosen"] if tuned else [])), lines)


def method_link(name: str, folder: str = "../methods/") -> str:
    """A link to the page of a method; of a composition to those of its parts."""
    parts = name.split("+")
    return " + ".join(f"[`{part}`]({folder}{part}.md)" if part in METHODS else code(part) for part in parts)


def stream_link(name: str, folder: str) -> str:
    """A link to the page of a stream, whose name has its version at the end."""
    return f"[`{name}`]({folder}{name.rpartition('-v')[0]}.md)"


def explanation(leaderboard: str, concepts: str) -> str:
    """What the columns mean, for below a table."""
    return (
        f"These are rows of [the leaderboard]({leaderboard}), which has more columns. {_glossary(concepts)} "
        "Differences are in levels, on the same seeds, for tuned rows to the tuned reference. Their p is "
        "corrected for all pairs of methods on the stream; p loss is of no plasticity loss. p is bold if it "
        f"is at most {LEVEL:g}. Rows with tuned and with default settings are ranked separately. The rank is "
        "1 + the number of rows significantly above, the range that of 95% of the row's places when seeds "
        f"are resampled. A row without a rank is a reference, has fewer than {FEW_SEEDS} seeds or no level.\n"
    )


def _glossary(concepts: str) -> str:
    named: Sequence[str] = ("level", "retention", "plasticity loss", "fresh level", "cost")
    links = [f"[{name}]({concepts}#{name.replace(' ', '-')})" for name in named]
    return f"The glossary explains {', '.join(links[:-1])} and {links[-1]}."
