"""Notes for readers of a stream's scores: what is missing, failed, or too small a sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from plasticity_bench.records.names import seeds_text
from plasticity_bench.scoring.ranking import FEW_SEEDS, LEVEL

if TYPE_CHECKING:
    from plasticity_bench.scoring.scores import CellScores

#: Most further tasks at which seeds diverged that a note lists.
MOST_LISTED = 4
#: Measure -> what a seed needs for it.
NEEDS = {"level": "fresh twins of none", "retention": "fresh twins"}


def divergence(not_finite: Mapping[int, int]) -> str:
    """What to say of seeds that diverged; empty if there are none.

    Args:
        not_finite: Seed -> the task from which on its network is not finite.

    Example:
        >>> divergence({3: 26})
        'not finite from task 26 on (seed 3): counted as chance from there on, diagnostics unknown'
    """
    if not not_finite:
        return ""
    by_task: dict[int, list[int]] = {}
    for seed, task in sorted(not_finite.items()):
        by_task.setdefault(task, []).append(seed)
    first, *later = (f"from task {task} on ({seeds_text(seeds)})" for task, seeds in sorted(by_task.items()))
    if len(later) >= MOST_LISTED:
        later = [f"later on {len(not_finite) - len(by_task[min(by_task)])} other seeds"]
    where = ", ".join((first, *later))
    return f"not finite {where}: counted as chance from there on, diagnostics unknown"


def loses_plasticity(none: CellScores) -> bool | None:
    """Whether `none` loses plasticity: its loss is above 0, and significantly so.

    None if that is unknown (no fresh twins, a single seed, or a performance of nan).
    """
    if np.isnan(none.p_loss):
        return None
    return none.p_loss <= LEVEL and none.summary["plasticity_loss"].point > 0


def notes_on(rows: Sequence[CellScores], unfinished: Sequence[str]) -> Iterable[str]:
    """Notes on a stream's rows, and on the ``unfinished`` methods: those without a finished seed."""
    none = next((row for row in rows if row.method == "none"), None)
    if none:
        yield from _on_loss(none)
    elif rows:
        yield "cost unknown: needs none (run it on this stream)"
    for measure in NEEDS:
        yield from _on_measure(rows, measure)
    for row in rows:
        if said := divergence(row.not_finite):
            yield f"{row.method}: {said}"
        if lost := sum(row.twins_not_finite.values()):
            yield f"{row.method}: {lost} of its fresh twins are not finite: counted as chance"
        failed = np.isnan(row.curves["performance"]).any(axis=1)
        if failed.any():
            yield f"{row.method}: performance is nan for {failed.sum()} of {len(row.seeds)} seeds"
        below = row.plasticity.ratios["retention"].denominator
        if np.isnan(below).any():
            yield f"{row.method}: performance of fresh twins is nan for {np.isnan(below).sum()} seeds"
        if none and (lacking := (~row.defined["cost"]).sum()):
            yield f"{row.method}: cost without {lacking} seeds: none has no such stack size and device"
    if few := [row.method for row in rows if len(row.seeds) < FEW_SEEDS]:
        whom = _all(few, rows)
        yield f"fewer than {FEW_SEEDS} seeds, so no rank, and intervals too narrow or missing: {whom}"
    if unfinished:
        yield f"no finished seed yet: {', '.join(unfinished)}"


def _on_loss(none: CellScores) -> Iterator[str]:
    """Whether plain training loses plasticity."""
    loss = "{:.3f} [{:.3f}, {:.3f}]".format(*none.summary["plasticity_loss"])
    match loses_plasticity(none):
        case True:
            yield f"none loses plasticity here: plasticity loss {loss}, p {none.p_loss:.2g}"
        case False:
            yield f"none shows no significant loss of plasticity here: loss {loss}, p {none.p_loss:.2g}"


def _on_measure(rows: Sequence[CellScores], measure: str) -> Iterator[str]:
    """For which rows the measure is not defined and why, and which rows lack some seeds."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if reason := row.plasticity.undefined.get(measure):
            by_reason.setdefault(reason, []).append(row.method)
        elif lacking := (~row.defined[measure]).sum():
            yield f"{row.method}: {measure} without {lacking} of its seeds, which lack {NEEDS[measure]}"
    for reason, methods in by_reason.items():
        yield f"{measure} unknown ({reason}): {_all(methods, rows)}"


def _all(methods: Sequence[str], rows: Sequence[CellScores]) -> str:
    return "all methods" if len(methods) == len(rows) else ", ".join(methods)
