"""Figures with a line per method.

Level and retention by stream, the score over streams, and the scores of all configurations of a sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from plasticity_bench.figures.panels import Room, explain_markers, label_width, pack_panels
from plasticity_bench.figures.styles import Style, base_label, by_method, without_version, wrapped
from plasticity_bench.records.names import TUNED_MARK
from plasticity_bench.scoring.scores import AggregateRow, StreamScores
from plasticity_bench.stats.bootstrap import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches between two methods, and the width of a panel in inches.
LINE_HEIGHT, PANEL_WIDTH = 0.205, 3.1
#: A panel is at least as high as for this many methods.
MIN_LINES = 6
#: Configurations with a lower score are drawn at the edge: some end far below chance.
LOWEST_SCORE = -0.5
#: Measure -> what its axis shows.
MEASURE_AXES = {"level": "level (1: as good as starting anew)", "retention": "retention (1: nothing lost)"}
AGGREGATE_AXIS = "score: mean over streams of min(level, 1)"
#: An axis reaches at most so many interquartile ranges of the points beyond their quartiles.
AXIS_REACH = 4.0
#: Distance between a label and its panel, in points.
LABEL_PAD = 3.5
#: Characters in a line of a title.
TITLE_WIDTH = 40


class Line(NamedTuple):
    """A method's label and its intervals, each with how it is drawn."""

    method: str
    intervals: list[tuple[Interval, Style]]


class Swept(NamedTuple):
    """A sweep of a method on a stream: the score of every configuration, nan if it failed.

    ``default``, ``chosen``: indices of the default configuration, if it was tried, and of the chosen one.
    """

    method: str
    scores: np.ndarray
    default: int | None
    chosen: int


def lines_of(
    streams: Sequence[StreamScores], styles: Mapping[str, Style], measure: str
) -> dict[str, list[Line]]:
    """A panel per stream: every method's ``measure`` with its 95% interval, in the order of the ranking."""
    return {
        without_version(stream.name): [
            Line(method, [(row.summary[measure], styles[row.method]) for row in rows])
            for method, rows in by_method(stream.rows).items()
        ]
        for stream in streams
    }


def aggregate(groups: Sequence[Sequence[AggregateRow]], styles: Mapping[str, Style]) -> dict[str, list[Line]]:
    """The same over streams; each group of rows that cover the same streams has a panel."""
    return {
        ", ".join(map(without_version, rows[0].streams)): [
            Line(method, [(row.score, styles[row.method]) for row in members])
            for method, members in by_method(rows).items()
        ]
        for rows in groups
    }


def sensitivity(streams: Mapping[str, Sequence[Swept]], styles: Mapping[str, Style]) -> Figure:
    """A panel per stream: the scores of all configurations of its sweeps, the best chosen one at the top."""
    names = [swept.method for rows in streams.values() for swept in rows]
    room = Room(left=label_width(list(map(wrapped, names))), top=0.55)
    heights = [LINE_HEIGHT * max(len(rows), MIN_LINES) for rows in streams.values()]
    figure, panels = pack_panels(heights, 4.0, room)
    for axes, (name, rows) in zip(panels, streams.items(), strict=True):
        known = np.concatenate([swept.scores for swept in rows])
        for depth, swept in enumerate(rows):
            color = styles[f"{swept.method}{TUNED_MARK}"].color
            failed = ~(swept.scores >= LOWEST_SCORE)
            x = np.where(failed, LOWEST_SCORE, swept.scores)
            y = np.full(len(x), -depth)
            axes.scatter(x[~failed], y[~failed], s=16, color=color, alpha=0.4, linewidths=0, zorder=2)
            axes.scatter(x[failed], y[failed], s=16, color=color, marker="x", linewidths=0.8, zorder=2)
            if swept.default is not None:
                axes.scatter(
                    x[swept.default],
                    -depth,
                    s=42,
                    marker="D",
                    facecolors="white",
                    edgecolors=color,
                    linewidths=1.2,
                    zorder=3,
                )
            axes.scatter(x[swept.chosen], -depth, s=34, color=color, linewidths=0, zorder=4)
        _lines(axes, [swept.method for swept in rows])
        axes.set_xlabel("mean performance in the last window, as level")
        axes.set_title(without_version(name), weight="bold", pad=18)
        edge = f"; ×: below {LOWEST_SCORE:g} or nan" if (~(known >= LOWEST_SCORE)).any() else ""
        axes.text(
            0,
            1,
            f"● chosen  ◇ default  • other configurations{edge}",
            transform=axes.transAxes,
            va="bottom",
            fontsize=8,
            color="0.35",
        )
    return figure


def swept_of(stream: StreamScores) -> list[Swept]:
    """The sweeps of a stream's tuned rows, the best chosen configuration first.

    A configuration's score is its mean performance in the last window over the tuning seeds. Here it is
    converted to a level: (score - chance) / (mean of the fresh twins of `none` - chance), where the mean is
    over its recorded seeds. Empty if there are no such twins, or they are not above chance.
    """
    first = stream.rows[0]
    room, chance = first.plasticity.room, first.cell.config.stream.chance
    if not room > 0:
        return []
    found = []
    for row in stream.rows:
        if row.cell.tuning:
            tried = row.cell.tuning.configurations
            scores = np.array([np.nan if t.score is None else t.score for t in tried])
            default = next((i for i, t in enumerate(tried) if not t.settings), None)
            found.append(
                Swept(base_label(row.method), (scores - chance) / room, default, row.cell.tuning.chosen)
            )
    return sorted(found, key=lambda swept: (-swept.scores[swept.chosen], swept.method))


def draw_lines(panels: Mapping[str, Sequence[Line]], label: str) -> Figure:
    """The figure of ``panels``, title -> lines; ``label``: what the horizontal axes show."""
    lines = [line for rows in panels.values() for line in rows]
    titles = [fill(title, TITLE_WIDTH) for title in panels]
    top = 0.15 + 0.17 * max(title.count("\n") + 1 for title in titles)
    room = Room(left=label_width([wrapped(line.method) for line in lines]), top=top)
    mixed = {style.filled for line in lines for _, style in line.intervals} == {True, False}
    figure, axes_of = pack_panels(
        [LINE_HEIGHT * max(len(rows), MIN_LINES) for rows in panels.values()],
        PANEL_WIDTH,
        room,
        head=0.25 * mixed,
    )
    for axes, title, rows in zip(axes_of, titles, panels.values(), strict=True):
        flat = [
            (depth, interval, style) for depth, line in enumerate(rows) for interval, style in line.intervals
        ]
        for tuned in (False, True):
            # One above the other if a method has both, so that neither hides the other.
            these = [entry for entry in flat if entry[2].filled is tuned]
            y = [
                -depth + (0.14 if tuned else -0.14) * (len(rows[depth].intervals) > 1) for depth, *_ in these
            ]
            if these:
                colors = [style.color for *_, style in these]
                points = np.array([interval for _, interval, _ in these])
                axes.hlines(y, points[:, 1], points[:, 2], colors=colors, linewidth=1.5, zorder=2)
                faces = [style.face for *_, style in these]
                axes.scatter(points[:, 0], y, s=20, c=faces, edgecolors=colors, linewidths=1.1, zorder=3)
        _cut_axis(axes, flat)
        _lines(axes, [line.method for line in rows])
        axes.set_xlabel(label)
        # With a given position, matplotlib does not search for one that avoids all labels, which is slow.
        axes.set_title(title, weight="bold", y=1)
    if mixed:
        explain_markers(figure)
    return figure


def _cut_axis(axes: Axes, drawn: Sequence[tuple[int, Interval, Style]]) -> None:
    """Leaves the part of the axis where most points are; an arrow at the edge marks points beyond it.

    A retention has a huge interval if the fresh twins are hardly above chance.
    """
    points = np.array([interval.point for _, interval, _ in drawn if np.isfinite(interval.point)])
    if len(points) < MIN_LINES:
        return
    first, third = np.percentile(points, [25, 75])
    reach = AXIS_REACH * max(third - first, 0.1)
    low, high = max(axes.get_xlim()[0], first - reach), min(axes.get_xlim()[1], third + reach)
    axes.set_xlim(low, high)
    for depth, interval, style in drawn:
        if interval.point < low or interval.point > high:
            x, marker = (high, ">") if interval.point > high else (low, "<")
            axes.scatter(x, -depth, s=26, marker=marker, color=style.color, clip_on=False, zorder=4)


def _lines(axes: Axes, methods: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.axvline(1, color="0.4", linewidth=0.9, linestyle="--", zorder=1)
    axes.set_yticks([])
    axes.set_ylim(0.4 - max(len(methods), 2), 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    # These look like ticks without marks, in a third of the time.
    outside, va, ha = axes.get_yaxis_text1_transform(LABEL_PAD)
    for depth, method in enumerate(methods):
        axes.text(0, -depth, wrapped(method), transform=outside, va=va, ha=ha, fontsize=9, color="0.15")
    across, depths = np.tile([0, 1, np.nan], len(methods)), np.repeat(-np.arange(len(methods)), 3)
    inside = axes.get_yaxis_transform()
    axes.plot(across, depths, transform=inside, color="0.92", linewidth=0.8, zorder=0.5)
