"""Learning curves reduced for the web page: few points per curve, as whole numbers on a common scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from plasticity_bench.scoring.scores import CellScores
from plasticity_bench.stats.bootstrap import mean_band
from plasticity_bench.stats.ratios import ratio_band

#: Curves of more tasks than this are averaged over neighbouring tasks.
MAX_CURVE_POINTS = 120
#: A quantity's range on a stream is divided into this many steps.
QUANTITY_STEPS = 9999


def finite(value: float, digits: int = 9) -> float | None:
    """``value`` to ``digits`` significant digits; None if it is not finite, which JSON cannot hold."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def grids(rows: Sequence[CellScores]) -> dict[str, dict[str, Any]]:
    """Quantity -> {"width", "tasks", "low", "step", "curves"}, for the quantities measured on this stream.

    The quantities are those of ``CellScores.curves``, and "plasticity_loss" if there are fresh twins.

    ``tasks``: the mean number (from 1) of the ``width`` tasks that a point averages. ``curves``: one per row;
    None if nothing was measured, else [mean, below, above], lists of whole numbers and None. The mean over
    seeds is low + step * mean. Its 95% interval begins ``below`` steps under it and ends ``above`` steps over
    it.
    """
    found = {}
    for name in rows[0].curves:
        measured = [_measured(row, name) for row in rows]
        tasks = np.flatnonzero(np.any(measured, axis=0))
        if not len(tasks):
            continue
        width = -(-len(tasks) // MAX_CURVE_POINTS)
        bins = np.split(tasks, np.arange(width, len(tasks), width))
        bands = [
            _band(row.curves[name], bins, own) if own.any() else None
            for row, own in zip(rows, measured, strict=True)
        ]
        found[name] = {
            "width": width,
            "tasks": [finite(float(group.mean()) + 1) for group in bins],
            **_coded(bands),
        }
    return found | _losses(rows)


def _losses(rows: Sequence[CellScores]) -> dict[str, dict[str, Any]]:
    """The plasticity loss at the tasks of fresh twins; empty if no row has fresh twins."""
    curves = [row.plasticity.curve for row in rows]
    tasks = next((curve.tasks for curve in curves if curve), ())
    if not tasks:
        return {}
    bands = [np.array(ratio_band(curve.lost, curve.fresh)) if curve else None for curve in curves]
    return {"plasticity_loss": {"width": 1, "tasks": [task + 1 for task in tasks], **_coded(bands)}}


def _measured(row: CellScores, name: str) -> np.ndarray:
    """At which tasks the row has a value, bool (tasks,).

    A performance of nan counts as a value: it is a failure, shown as a gap. Diagnostics are measured at some
    tasks only.
    """
    if name == "performance":
        return np.ones(row.cell.tasks, dtype=bool)
    return ~np.isnan(row.curves[name]).any(axis=0)


def _band(curves: np.ndarray, bins: Sequence[np.ndarray], measured: np.ndarray) -> np.ndarray:
    """Mean and bounds (3, points) of ``curves`` (seeds, tasks); nan if nothing was measured in a bin."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.array(mean_band(_averaged(curves, bins, measured)))


def _averaged(curves: np.ndarray, bins: Sequence[np.ndarray], measured: np.ndarray) -> np.ndarray:
    """Means over the measured tasks of each bin, (seeds, points)."""
    if measured[np.concatenate(bins)].all():
        # All bins but the last have the same width: one mean for all of them, ten times as fast.
        *whole, last = bins
        parts = [curves[:, np.array(whole)].mean(axis=2)] if whole else []
        return np.concatenate([*parts, curves[:, last].mean(axis=1, keepdims=True)], axis=1)
    kept = [group[measured[group]] for group in bins]
    points = [curves[:, group].mean(axis=1) if len(group) else np.full(len(curves), np.nan) for group in kept]
    return np.stack(points, axis=1)


def _coded(bands: Sequence[np.ndarray | None]) -> dict[str, Any]:
    values = np.concatenate([band.ravel() for band in bands if band is not None])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    step = float(f"{high / QUANTITY_STEPS - low / QUANTITY_STEPS:.6g}") or 1.0
    low = float(f"{low:.12g}")
    return {
        "low": low,
        "step": step,
        "curves": [band if band is None else _whole(band, low, step) for band in bands],
    }


def _whole(band: np.ndarray, low: float, step: float) -> list[list[int | None]]:
    mean, below, above = np.round((band - low) / step)
    return [
        [int(v) if math.isfinite(v) else None for v in line] for line in (mean, mean - below, above - mean)
    ]
