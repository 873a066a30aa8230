"""The tables of docs/statistics.md: other aggregates, shares of variance, and power, from the leaderboard."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from docs.generate.markdown import code, table
from docs.generate.results import LEADERBOARD, ROOT
from plasticity_bench.figures.styles import is_tuned
from plasticity_bench.records.configuration import stream_folder
from plasticity_bench.registry.catalog import SUITES
from plasticity_bench.registry.choices import choose_stream
from plasticity_bench.scoring.alternatives import ALTERNATIVES, LevelTable, taus, variance_shares
from plasticity_bench.scoring.power import ASKED, power_of
from plasticity_bench.scoring.ranking import FEW_SEEDS
from plasticity_bench.scoring.references import is_reference
from plasticity_bench.scoring.scores import CAP
from plasticity_bench.terminal import number

PAGE = "statistics.md"
#: metric -> stream -> label -> seed -> value
Seeds = dict[str, dict[str, dict[str, dict[int, float]]]]
GROUPS = {True: "tuned", False: "default"}


@lru_cache(maxsize=1)
def _seeds() -> Seeds:
    """The contributions of seeds to level and retention that are known, from scores-per-seed.csv."""
    found: Seeds = {"level": {}, "retention": {}}
    with (LEADERBOARD / "scores-per-seed.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            for metric, streams in found.items():
                if line[metric]:
                    own = streams.setdefault(line["stream"], {}).setdefault(line["method"], {})
                    own[int(line["seed"])] = float(line[metric])
    return found


def _compared() -> dict[str, LevelTable]:
    """Title -> table, for every suite of several streams on which two ranked methods are recorded."""
    found = {}
    for name, suite in SUITES.items():
        streams = tuple(stream_folder(choose_stream(label)) for label in suite.streams)
        for tuned, title in GROUPS.items():
            methods = _methods(streams, tuned)
            if len(streams) > 1 and len(methods) > 2:
                found[f"{name}, {title}"] = _table(methods, streams)
    return found


def _methods(streams: tuple[str, ...], tuned: bool) -> tuple[str, ...]:
    """The ranked methods of the group that have a level on all streams."""
    levels = [_seeds()["level"].get(stream, {}) for stream in streams]
    labels = sorted(set.intersection(*map(set, levels)))
    return tuple(
        label
        for label in labels
        if is_tuned(label) is tuned
        and not is_reference(label)
        and min(len(level[label]) for level in levels) >= FEW_SEEDS
    )


def _table(methods: tuple[str, ...], streams: tuple[str, ...]) -> LevelTable:
    levels, retentions = (_means(metric, methods, streams) for metric in ("level", "retention"))
    known = _seeds()["level"]
    runs = tuple(
        tuple(np.array(list(known[stream][method].values())) for stream in streams) for method in methods
    )
    return LevelTable(methods, streams, levels, retentions, runs)


def _means(metric: str, methods: tuple[str, ...], streams: tuple[str, ...]) -> np.ndarray:
    """(methods, streams): means over seeds of the contributions; nan if none is known."""
    known = _seeds()[metric]

    def mean(values: Mapping[int, float]) -> float:
        return float(np.mean(list(values.values()))) if values else float("nan")

    return np.array(
        [[mean(known.get(stream, {}).get(method, {})) for stream in streams] for method in methods]
    )


def other_aggregates() -> str:
    """Kendall's tau between the leaderboard's order and that of other aggregates, by suite and group."""
    tables = _compared()
    found = {title: taus(each, CAP) for title, each in tables.items()}
    lines = [
        ["methods", *(str(len(each.methods)) for each in tables.values())],
        *([name, *(number(values[name]) for values in found.values())] for name in ALTERNATIVES),
    ]
    return table(("aggregate", *found), lines) if found else "No suite is recorded with levels yet.\n"


def shares_of_variance() -> str:
    """What share of the variance of the score between methods each stream holds, by suite and group."""
    tables = _compared()
    if not tables:
        return "No suite is recorded with levels yet.\n"
    shares = {title: variance_shares(each, CAP) for title, each in tables.items()}
    streams = list(dict.fromkeys(stream for own in shares.values() for stream in own))
    lines = [
        [code(stream), *(f"{own[stream]:.0%}" if stream in own else "" for own in shares.values())]
        for stream in streams
    ]
    return table(("stream", *shares), lines)


def power() -> str:
    """What differences the seeds of every stream can detect."""
    lines = []
    for stream, levels in _seeds()["level"].items():
        for tuned, title in GROUPS.items():
            found = power_of({label: own for label, own in levels.items() if is_tuned(label) is tuned})
            if found:
                cells = [number(found.deviation), number(found.detectable), str(found.needed)]
                lines.append([code(stream), title, str(found.rows), str(found.seeds), *cells])
    head = ("stream", "rows", "compared", "seeds", "deviation", "detects", f"seeds for {ASKED:g}")
    return table(head, lines) if lines else "No levels are recorded yet.\n"


TABLES = {"aggregates": other_aggregates, "variance": shares_of_variance, "power": power}
BLOCK = re.compile(rf"(<!-- ({'|'.join(TABLES)}) -->\n).*?(<!-- end -->)", re.DOTALL)


def page() -> tuple[str, str]:
    """Path within docs/ and text of the page, with the tables as they are now."""
    text = (ROOT / "docs" / PAGE).read_text()
    found, count = BLOCK.subn(lambda match: match[1] + TABLES[match[2]]() + match[3], text)
    if count != len(TABLES):
        raise SystemExit(f"docs/{PAGE} does not have a block <!-- NAME --> ... <!-- end --> for every table")
    return PAGE, found
