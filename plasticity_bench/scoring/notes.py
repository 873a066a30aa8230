"""Notes for readers of a stream's scores: what is missing, failed, or too small a sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from plasticity_bench.scoring.ranking import FEW_SEEDS
from plasticity_bench.scoring.references import REFERENCE_OF

if TYPE_CHECKING:
    from plasticity_bench.scoring.scores import CellScores


def loses_plasticity(none: CellScores) -> bool | None:
    """Whether `none` ends its stream worse than it began: the interval of its loss lies above 0.

    None if there is no interval (a single seed, or a performance of nan).
    """
    interval = none.summary["plasticity_loss"]
    return None if np.isnan(interval.low) else interval.low > 0


def notes_on(rows: Sequence[CellScores], unfinished: Sequence[str]) -> Iterable[str]:
    """Notes on a stream's rows, and on the ``unfinished`` methods: those without a finished seed."""
    methods = {row.method: row for row in rows}
    if none := methods.get("none"):
        loss = "{:.3f} [{:.3f}, {:.3f}]".format(*none.summary["plasticity_loss"])
        match loses_plasticity(none):
            case True:
                yield f"none loses plasticity here: loss {loss}"
            case False:
                yield f"none shows no loss of plasticity here (loss {loss}): the ranking says little"
    for metric, reference in REFERENCE_OF.items():
        title = metric.replace("_", " ")
        if rows and reference not in methods:
            also = " and cost" if reference == "none" else ""
            yield f"{title}{also} unknown: needs {reference} (run it on this stream with the same seeds)"
            continue
        for row in rows:
            if lacking := (~row.defined[metric]).sum():
                yield f"{row.method}: {title} without the {lacking} of its seeds that {reference} lacks"
    for row in rows:
        failed = np.isnan(row.curves["performance"]).any(axis=1)
        if failed.any():
            yield f"{row.method}: performance is nan for {failed.sum()} of {len(row.seeds)} seeds"
        no_ratio = np.isnan(row.values["retained_plasticity"]) & row.defined["retained_plasticity"] & ~failed
        if no_ratio.any():
            yield f"{row.method}: none is nan or not above chance at the start for {no_ratio.sum()} seeds"
        if none and (lacking := (~row.defined["cost"]).sum()):
            yield f"{row.method}: cost without {lacking} seeds: none has no such stack size and device"
    if few := [row.method for row in rows if len(row.seeds) < FEW_SEEDS]:
        whom = "all methods" if len(few) == len(rows) else ", ".join(few)
        yield f"fewer than {FEW_SEEDS} seeds, so no rank, and intervals too narrow or missing: {whom}"
    if unfinished:
        yield f"no finished seed yet: {', '.join(unfinished)}"
