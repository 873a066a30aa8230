"""Returns over the steps of training, for control streams: what happens within the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from plasticity_bench.records.cells import Cell
from plasticity_bench.scoring.scores import CellScores
from plasticity_bench.stats.bootstrap import mean_band

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Points of a curve per task. Each is the mean over the episodes that ended since the point before.
POINTS_PER_TASK = 12


def returns_over_steps(cell: Cell) -> tuple[np.ndarray, np.ndarray] | None:
    """(steps, returns) of shapes (points,) and (seeds, points); None if rollouts were not recorded.

    A return is the mean over the episodes that ended since the point before, nan if none ended.
    """
    tables = [cell.rollouts(seed) for seed in cell.seeds()]
    found = [table for table in tables if table is not None]
    if not found or len(found) < len(tables):
        return None
    per_task = len(found[0]["task"]) // cell.tasks
    size = max(1, per_task // POINTS_PER_TASK)
    starts = np.array(
        [task * per_task + i for task in range(cell.tasks) for i in range(0, per_task - size + 1, size)]
    )
    ends = np.append(starts[1:], len(found[0]["task"])) - 1
    curves = []
    for table in found:
        number, mean = table["episodes"], np.nan_to_num(table["return"])
        total = np.add.reduceat(number * mean, starts)
        count = np.add.reduceat(number, starts)
        curves.append(np.divide(total, count, out=np.full(len(starts), np.nan), where=count > 0))
    return found[0]["steps"][ends], np.array(curves)


def draw_returns(
    name: str, rows: Sequence[tuple[CellScores, tuple[np.ndarray, np.ndarray]]], styles: Mapping[str, Any]
) -> Figure:
    """Means over seeds and their pointwise 95% bootstrap intervals; dotted lines mark the ends of tasks."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(11.5, 4.9), layout="constrained")
    axes = figure.add_subplot()
    for row, (steps, curves) in rows:
        style = styles[row.method]
        known = np.where(np.isnan(curves), np.nanmean(curves, 0, keepdims=True), curves)
        mean, low, high = mean_band(known)
        axes.plot(steps, mean, color=style.color, linestyle=style.linestyle, label=row.method, linewidth=1.4)
        if len(curves) > 1:
            axes.fill_between(steps, low, high, color=style.color, alpha=0.15, linewidth=0)
    stream = rows[0][0].cell.config.stream
    per_task = stream.steps
    if stream.tasks <= 60:
        for task in range(1, stream.tasks):
            axes.axvline(task * per_task, color="0.85", linewidth=0.7, linestyle=":", zorder=0)
    axes.set_xlim(0, stream.tasks * per_task)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    counts = sorted({len(curves) for _, (_, curves) in rows})
    seeds = f"mean over {counts[0] if len(counts) == 1 else f'{counts[0]} to {counts[-1]}'} seeds"
    axes.set(xlabel="steps in the environments of one seed", ylabel="return of the episodes that ended")
    axes.set_title(f"{name}: {seeds} and 95% interval; dotted: the task changes", loc="left")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure
