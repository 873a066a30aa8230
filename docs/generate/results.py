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
#: Metric -> title of its column, apart from retained plasticity.
SHOWN = {
    "plasticity_loss": "loss",
    "average_performance": "average",
    "fresh_gap": "fresh gap",
    "cost": "cost",
}


@dataclass(frozen=True)
class Row:
    """A method on a stream, with default settings or tuned."""

    stream: str  # with its version: "bit-flip-v1"
    tuned: bool
    rank: str  # "3=", empty without a rank
    method: str  # its name, without settings
    settings: tuple[str, ...]  # those that differ from the defaults, as "strength=0.01"
    seeds: int
    metrics: Mapping[str, Interval]
    to_none: Interval  # difference of retained plasticity to that of `none`
    p: float  # of that difference, nan if there is none


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
        rank=line["rank"] + ("=" if line["rank_shared"] == "True" else ""),
        method=name,
        settings=settings,
        seeds=int(line["seeds"]),
        metrics={metric: _interval(line, metric) for metric in METRICS},
        to_none=_interval(line, "difference_to_none"),
        p=_float(line["p_none"]),
    )


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
    return f"{'yes' if loss.low > 0 else 'not shown'}: loss {estimate(loss)}"


HEAD = ("retained plasticity [95% CI]", "difference to `none` [95% CI]", "p", *SHOWN.values())


def numbers(row: Row) -> list[str]:
    """The cells under ``HEAD``."""
    p = p_text(row.p)
    cells = [estimate(row.metrics["retained_plasticity"]), estimate(row.to_none)]
    cells.append(f"**{p}**" if row.p <= LEVEL else p)
    for metric in SHOWN:
        value = row.metrics[metric].point
        cells.append("" if value != value else f"{value:.2f}x" if metric == "cost" else number(value))
    return cells


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
                str(row.seeds),
                *numbers(row),
                settings_cell(row),
            ]
        )
    return table(("stream", "row", "rank", "n", *HEAD, "settings"), lines)


def of_stream(stream: str, tuned: bool) -> str:
    """The table of a stream's page: its methods in the order of their ranks."""
    lines = [
        [row.rank or "-", method_link(row.method), str(row.seeds), *numbers(row)]
        + ([settings_cell(row)] if tuned else [])
        for row in group(stream, tuned)
    ]
    return table(("rank", "method", "n", *HEAD, *(["settings chosen"] if tuned else [])), lines)


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
        "The difference is in retained plasticity, on the same seeds. Its p is corrected for all pairs of "
        f"methods on the stream, and bold if it is at most {LEVEL:g}. Rows with tuned and with default "
        "settings are ranked separately. Ranks with = are shared. A row without a rank has fewer than "
        f"{FEW_SEEDS} seeds, or `none` does not start above chance.\n"
    )


def _glossary(concepts: str) -> str:
    named: Sequence[str] = ("retained plasticity", "loss", "fresh gap", "cost")
    links = [f"[{name}]({concepts}#{name.replace(' ', '-')})" for name in named]
    return f"The glossary explains {', '.join(links[:-1])} and {links[-1]}."
