"""Plasticity loss over the tasks of a stream: 1 - R(k), from a learner and its fresh twin at task k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from plasticity_bench.figures.styles import GREY, Style, split
from plasticity_bench.scoring.plasticity import LossCurve
from plasticity_bench.scoring.scores import StreamScores
from plasticity_bench.stats.ratios import ratio_band

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Size of the figure in inches.
LOSSES_SIZE = (11.5, 4.9)
#: Curves are drawn between these values: a ratio can be far outside if fresh twins hardly learn.
LOWEST_LOSS, HIGHEST_LOSS = -1.0, 1.5


class Loss(NamedTuple):
    """A row's curve. ``style`` is None for rows in grey, which have no band."""

    method: str
    style: Style | None
    curve: LossCurve


def losses_of(stream: StreamScores, styles: Mapping[str, Style]) -> list[Loss]:
    """The rows with fresh twins: coloured ones first, and each kind best first."""
    shown, rest = split([row for row in stream.rows if row.plasticity.curve])
    rows = [(row, styles[row.method]) for row in shown] + [(row, None) for row in rest]
    return [Loss(row.method, style, row.plasticity.curve) for row, style in rows if row.plasticity.curve]


def loss_curves(name: str, losses: Sequence[Loss]) -> Figure:
    """Lines are ratios of sums over seeds, bands their pointwise 95% bootstrap intervals.

    A line has a gap at tasks whose fresh twins are not significantly above chance.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=LOSSES_SIZE, layout="constrained")
    axes = figure.add_subplot()
    ends = []
    for depth, (method, style, curve) in enumerate(reversed(losses)):
        point, low, high = ratio_band(curve.lost, curve.fresh)
        tasks = np.array(curve.tasks) + 1
        ends += [low, high] if style and np.isfinite(low).any() else [point]
        if style is None:
            axes.plot(tasks, point, color=GREY, linewidth=0.9, zorder=1)
            continue
        color, line, _ = style
        axes.plot(
            tasks, point, color=color, linestyle=line, linewidth=1.6, label=method, zorder=4 + depth / 100
        )
        axes.fill_between(tasks, low, high, color=color, alpha=0.15, linewidth=0, zorder=3)
    grey = sum(loss.style is None for loss in losses)
    if grey:
        axes.plot([], [], color=GREY, linewidth=0.9, label=f"{grey} more row{'s' * (grey > 1)}")
    axes.axhline(0, color="0.4", linewidth=0.9, linestyle="--", zorder=0)
    values = np.concatenate(ends)
    values = np.clip(values[np.isfinite(values)], LOWEST_LOSS, HIGHEST_LOSS)
    if len(values):
        room = 0.04 * float(values.max() - values.min() or 1)
        axes.set_ylim(min(0, values.min()) - room, max(0, values.max()) + room)
    axes.set(xlabel="task", ylabel="plasticity loss, 1 - R (0: nothing lost)")
    counts = sorted({len(loss.curve.lost) for loss in losses})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    axes.set_title(f"{name}: plasticity loss over tasks, {seeds} seeds and 95% interval")
    handles, labels = axes.get_legend_handles_labels()
    order = [*reversed(range(len(labels) - bool(grey))), *([len(labels) - 1] if grey else [])]
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
    )
    return figure
