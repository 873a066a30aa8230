"""Scatter plots of rows: what diagnostics tell, and what a score costs. For each a function that takes from
the scores what is shown, and one that draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from plasticity_bench.figures.panels import Room, explain_markers, grid, packed
from plasticity_bench.figures.styles import GREY, KNOWN, PANELS, REFERENCES, Style, one_each, plain, short
from plasticity_bench.scoring.scores import RANKED_BY, CellScores, StreamScores
from plasticity_bench.stats.bootstrap import average_ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Methods whose points are named in every scatter plot; in others only those on the front are.
NAMED = (*REFERENCES, *KNOWN)


class Point(NamedTuple):
    """A row in a scatter plot."""

    method: str
    style: Style
    x: float
    y: float


def diagnostics_of(
    streams: Sequence[StreamScores], styles: Mapping[str, Style]
) -> dict[str, dict[str, list[Point]]]:
    """Stream -> diagnostic -> points: retained plasticity over the diagnostic at the end."""
    known = [name for name in PANELS if all(name in row.summary for s in streams for row in s.rows)]
    return {
        short(stream.name): {name: _points(stream.rows, name, styles) for name in known} for stream in streams
    }


def diagnostics(streams: Mapping[str, Mapping[str, Sequence[Point]]]) -> Figure:
    """What diagnostics at the end tell: each against retained plasticity, a row of panels per stream,
    with Spearman's rank correlation over rows."""
    from matplotlib.ticker import MaxNLocator

    names = list(next(iter(streams.values())))
    filled = {p.style.filled for panels in streams.values() for points in panels.values() for p in points}
    mixed = filled == {True, False}
    room = Room(left=0.65, top=0.26, bottom=0.48)
    figure, lines = grid(len(streams), len(names), (2.5, 1.75), room, head=0.25 * mixed)
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
            axes.set_xlabel(PANELS[name], fontsize=9)
            axes.set_title(f"{stream}   {rho}" if axes is line[0] else rho, fontsize=9, pad=3)
            if axes is line[0]:
                axes.set_ylabel("retained plasticity", fontsize=9)
    return figure


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation; x and y each hold different values."""
    return float(np.corrcoef(average_ranks(np.array(x)), average_ranks(np.array(y)))[0, 1])


def costs_of(streams: Sequence[StreamScores], styles: Mapping[str, Style]) -> dict[str, list[Point]]:
    """Stream -> retained plasticity over cost; of a method with two rows the tuned one."""
    found = {short(s.name): _points(one_each(s.rows), "cost", styles) for s in streams}
    return {name: points for name, points in found.items() if points}


def pareto(streams: Mapping[str, Sequence[Point]]) -> Figure:
    """Retained plasticity against the cost of training; the line joins what nothing beats in both."""
    from matplotlib.ticker import MaxNLocator

    mixed = {point.style.filled for points in streams.values() for point in points} == {True, False}
    figure, panels = packed([3.0] * len(streams), 3.7, Room(left=0.7, right=0.45), head=0.25 * mixed)
    if mixed:
        explain_markers(figure)
    for axes, (stream, points) in zip(panels, streams.items(), strict=True):
        front: list[Point] = []
        for point in sorted(points, key=lambda p: (p.x, -p.y)):
            if not front or point.y > front[-1].y:
                front.append(point)
        named = [point for point in points if plain(point.method) in NAMED or point in front]
        _scatter(axes, [point for point in points if point not in named], GREY)
        _scatter(axes, named)
        axes.plot([p.x for p in front], [p.y for p in front], color="0.6", linewidth=1, zorder=1)
        axes.axhline(1, color="0.4", linewidth=0.8, linestyle=":", zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        _annotate(axes, sorted(named, key=lambda p: (p not in front, -p.y)))
        axes.set(xlabel="cost (training time over that of none)", ylabel="retained plasticity")
        axes.set_title(stream, weight="bold")
    return figure


def _points(rows: Sequence[CellScores], name: str, styles: Mapping[str, Style]) -> list[Point]:
    found = [
        Point(row.method, styles[row.method], row.summary[name].point, row.summary[RANKED_BY].point)
        for row in rows
    ]
    return [point for point in found if not np.isnan([point.x, point.y]).any()]


def _scatter(axes: Axes, points: Sequence[Point], color: str | None = None) -> None:
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


def _annotate(axes: Axes, points: Sequence[Point]) -> None:
    """Names right or left of the points, left out where another name or point would be covered."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    places = [((point.x - x0) / (x1 - x0), (point.y - y0) / (y1 - y0)) for point in points]
    taken = [(x - 0.01, x + 0.01, y) for x, y in places]
    for index, (point, (x, y)) in enumerate(zip(points, places, strict=True)):
        # A hollow point says that the settings are not tuned.
        name = plain(point.method)
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
