"""Scatter plots of rows: retention against the diagnostics, and the level against the cost of training.

For each, one function takes from the scores what is shown, and another draws it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from plasticity_bench.figures.panels import Room, explain_markers, grid_of_panels, pack_panels
from plasticity_bench.figures.styles import (
    DIAGNOSTIC_TITLES,
    GREY,
    WELL_KNOWN_COLOURS,
    Style,
    base_label,
    one_each,
    without_version,
)
from plasticity_bench.scoring.references import REFERENCES
from plasticity_bench.scoring.scores import RANKED_BY, CellScores, StreamScores
from plasticity_bench.stats.bootstrap import average_ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Methods whose points always have a name; of the other methods, only the points on the front have one.
NAMED = (*REFERENCES, *WELL_KNOWN_COLOURS)


class ScatterPoint(NamedTuple):
    """A row in a scatter plot."""

    method: str
    style: Style
    x: float
    y: float


def diagnostics_of(
    streams: Sequence[StreamScores], styles: Mapping[str, Style]
) -> dict[str, dict[str, list[ScatterPoint]]]:
    """Stream -> diagnostic -> points: x is the diagnostic in the last window, y the retention."""
    known = [
        name for name in DIAGNOSTIC_TITLES if all(name in row.summary for s in streams for row in s.rows)
    ]
    return {
        without_version(stream.name): {
            name: _points(stream.rows, name, "retention", styles) for name in known
        }
        for stream in streams
    }


def diagnostics(streams: Mapping[str, Mapping[str, Sequence[ScatterPoint]]]) -> Figure:
    """Retention against each diagnostic in the last window, with Spearman's rank correlation.

    A line of panels per stream.
    """
    from matplotlib.ticker import MaxNLocator

    names = list(next(iter(streams.values())))
    filled = {p.style.filled for panels in streams.values() for points in panels.values() for p in points}
    mixed = filled == {True, False}
    room = Room(left=0.65, top=0.26, bottom=0.48)
    figure, lines = grid_of_panels(len(streams), len(names), (2.5, 1.75), room, head=0.25 * mixed)
    if mixed:
        explain_markers(figure)
    for line, (stream, panels) in zip(lines, streams.items(), strict=True):
        for axes, (name, points) in zip(line, panels.items(), strict=True):
            _scatter(axes, points)
            for point in points:
                if point.method in REFERENCES:
                    place = (point.x, point.y)
                    axes.annotate(point.method, place, (4, 3), textcoords="offset points", fontsize=8)
            x, y = [point.x for point in points], [point.y for point in points]
            rho = ""
            if len(points) > 2 and len(set(x)) > 1 and len(set(y)) > 1:
                rho = f"ρ = {spearman(x, y):.2f}"
            if x and min(x) > 0 and max(x) > 30 * min(x) and name == "weight_norm":
                axes.set_xscale("log")
            else:
                axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.set_xlabel(DIAGNOSTIC_TITLES[name], fontsize=9)
            axes.set_title(f"{stream}   {rho}" if axes is line[0] else rho, fontsize=9, pad=3)
            if axes is line[0]:
                axes.set_ylabel("retention", fontsize=9)
    return figure


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation; neither x nor y is constant."""
    return float(np.corrcoef(average_ranks(np.array(x)), average_ranks(np.array(y)))[0, 1])


def costs_of(streams: Sequence[StreamScores], styles: Mapping[str, Style]) -> dict[str, list[ScatterPoint]]:
    """Stream -> points: x is the cost, y the level; if a method has two rows, the tuned one."""
    found = {without_version(s.name): _points(one_each(s.rows), "cost", RANKED_BY, styles) for s in streams}
    return {name: points for name, points in found.items() if points}


def pareto(streams: Mapping[str, Sequence[ScatterPoint]]) -> Figure:
    """The level against the cost of training.

    The line joins the Pareto front: the methods for which no other one is both better and cheaper.
    """
    from matplotlib.ticker import MaxNLocator

    mixed = {point.style.filled for points in streams.values() for point in points} == {True, False}
    figure, panels = pack_panels([3.0] * len(streams), 3.7, Room(left=0.7, right=0.45), head=0.25 * mixed)
    if mixed:
        explain_markers(figure)
    for axes, (stream, points) in zip(panels, streams.items(), strict=True):
        front: list[ScatterPoint] = []
        for point in sorted(points, key=lambda p: (p.x, -p.y)):
            if not front or point.y > front[-1].y:
                front.append(point)
        named = [point for point in points if base_label(point.method) in NAMED or point in front]
        _scatter(axes, [point for point in points if point not in named], GREY)
        _scatter(axes, named)
        axes.plot([p.x for p in front], [p.y for p in front], color="0.6", linewidth=1, zorder=1)
        axes.axhline(1, color="0.4", linewidth=0.8, linestyle=":", zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        _annotate(axes, sorted(named, key=lambda p: (p not in front, -p.y)))
        axes.set(xlabel="cost (training time over that of none)", ylabel="level")
        axes.set_title(stream, weight="bold")
    return figure


def _points(
    rows: Sequence[CellScores], across: str, up: str, styles: Mapping[str, Style]
) -> list[ScatterPoint]:
    """A point per row: ``across`` and ``up`` are metrics. Rows that lack one of them are left out."""
    found = [
        ScatterPoint(row.method, styles[row.method], row.summary[across].point, row.summary[up].point)
        for row in rows
    ]
    return [point for point in found if not np.isnan([point.x, point.y]).any()]


def _scatter(axes: Axes, points: Sequence[ScatterPoint], color: str | None = None) -> None:
    if points:
        axes.scatter(
            [point.x for point in points],
            [point.y for point in points],
            s=18,
            c=[color or point.style.face for point in points],
            edgecolors=[color or point.style.color for point in points],
            linewidths=1.0,
            zorder=2 if color else 3,
        )


def _annotate(axes: Axes, points: Sequence[ScatterPoint]) -> None:
    """Writes names right or left of the points, unless they would cover another name or point."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    places = [((point.x - x0) / (x1 - x0), (point.y - y0) / (y1 - y0)) for point in points]
    taken = [(x - 0.01, x + 0.01, y) for x, y in places]
    for index, (point, (x, y)) in enumerate(zip(points, places, strict=True)):
        # The marker already shows whether the settings are tuned.
        name = base_label(point.method)
        length = 0.024 * len(name) + 0.02
        others = [*taken[:index], *taken[index + 1 :]]
        for side, (left, right) in (("left", (x + 0.012, x + length)), ("right", (x - length, x - 0.012))):
            if left > 0 and all(
                abs(y - high) > 0.042 or left > end or right < start for start, end, high in others
            ):
                shift = 5 if side == "left" else -5
                axes.annotate(
                    name,
                    (point.x, point.y),
                    (shift, -3),
                    textcoords="offset points",
                    ha=side,
                    fontsize=8,
                    zorder=4,
                )
                taken.append((left, right, y))
                break
