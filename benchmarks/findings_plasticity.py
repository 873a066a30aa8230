"""The tables of docs/findings.md that say what is lost, and what is better than starting again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from findings_data import Results, table

from plasticity_bench.records.names import TUNED_MARK
from plasticity_bench.scoring.ranking import LEVEL, Group
from plasticity_bench.scoring.references import is_reference
from plasticity_bench.scoring.scores import CellScores
from plasticity_bench.scoring.suites import suite_scores
from plasticity_bench.stats.inference import holm
from plasticity_bench.terminal import interval_text, p_text


def losses(results: Results) -> str:
    """Retention of plain training and of `reset` on every stream, with the p-value of a loss."""
    rows = []
    for stream in results.scores.streams:
        none, reset = stream.row("none"), stream.row("reset")
        if none:
            own = [interval_text(none.summary["retention"]), p_text(none.p_loss), _verdict(none)]
            other = [interval_text(reset.summary["retention"]), p_text(reset.p_loss)] if reset else ["", ""]
            rows.append([stream.name, str(len(none.seeds)), *own, *other])
    head = ["stream", "n", "retention of `none`", "p", "loses plasticity", "retention of `reset`", "p"]
    return table(head, rows)


def _verdict(row: CellScores) -> str:
    """Whether the row loses plasticity, in a word."""
    retention = row.summary["retention"]
    if retention.point != retention.point:
        return "unknown"
    if not row.p_loss <= LEVEL:
        return "not shown"
    return "yes" if retention.point < 1 else "no, it gains"


def losing(results: Results) -> str:
    """How many rows of a stream lose plasticity, lose nothing significant, or end above their twins.

    p-values are Holm-corrected for the rows of a line.
    """
    rows = []
    for stream in results.scores.streams:
        for group in stream.groups:
            known = [
                row
                for row in group.rows
                if not is_reference(row.method) and row.p_loss == row.p_loss and len(row.seeds) > 5
            ]
            corrected = holm([row.p_loss for row in known])
            lost: list[CellScores] = []
            same: list[CellScores] = []
            gained: list[CellScores] = []
            for row, p in zip(known, corrected, strict=True):
                above = row.summary["retention"].point > 1
                (same if not p <= LEVEL else gained if above else lost).append(row)
            if known:
                counts = [str(len(found)) for found in (known, lost, same, gained)]
                rows.append([stream.name, group.title, *counts, _names(gained)])
    head = ["stream", "settings", "methods", "lose", "no significant change", "end above their twins"]
    return table([*head, "which end above"], rows)


def against_reset(results: Results) -> str:
    """How many ranked rows are significantly above or below `reset`, by stream and over streams."""
    rows = []
    for stream in results.scores.streams:
        for group in stream.groups:
            rows += _against_reset(stream.name, group)
    for name, suite in suite_scores(results.scores).items():
        for found in suite.groups:
            rows += _against_reset(f"suite {name}", found)
    head = ["on", "settings", "methods", "above `reset`", "not significantly different", "below"]
    return table([*head, "which are above"], rows)


def _against_reset(name: str, group: Group[Any]) -> list[list[str]]:
    compared = [
        (row, place.reset)
        for row, place in zip(group.rows, group.places, strict=True)
        if place.rank and place.reset
    ]
    if not compared:
        return []
    above = [row for row, found in compared if found.significant and found.difference.point > 0]
    below = [row for row, found in compared if found.significant and found.difference.point < 0]
    counts = [len(compared), len(above), len(compared) - len(above) - len(below), len(below)]
    return [[name, group.title, *map(str, counts), _names(above)]]


def _names(rows: Sequence[Any]) -> str:
    names = [f"`{row.method.removesuffix(TUNED_MARK)}`" for row in rows]
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:11])} and {len(names) - 11} more"
