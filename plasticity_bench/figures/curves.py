"""Learning curves of a stream: performance per task, and next to it the diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plasticity_bench.figures.styles import DIAGNOSTIC_TITLES, GREY, Style, split, wrapped
from plasticity_bench.records.documents import StreamRecord
from plasticity_bench.scoring.scores import CellScores, StreamScores
from plasticity_bench.stats.bootstrap import mean_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Curves are smoothed to about this many independent points.
INDEPENDENT_POINTS = 30
#: A diagnostic whose largest value is more than this factor above its smallest has a logarithmic axis.
LOGARITHMIC_FROM = 30
#: Size of the figure in inches; bottom and top of the panels as shares of its height.
CURVES_SIZE, CURVES_BOTTOM, CURVES_TOP = (11.5, 4.9), 0.12, 0.86


@dataclass(frozen=True, eq=False)
class Curve:
    """A quantity of a row at the tasks (numbers from 1) at which it is measured.

    ``values``: (seeds, tasks); for rows in grey, which have no band, the mean over seeds: (1, tasks).
    ``style`` is None for rows in grey.
    """

    method: str
    style: Style | None
    tasks: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class StreamCurves:
    """All that the figure of a stream shows.

    ``curves``: quantity -> curves, coloured ones first, and each kind best first. ``seeds``: the different
    numbers of seeds. ``grey``: how many rows are grey.
    """

    name: str
    config: StreamRecord
    curves: Mapping[str, Sequence[Curve]]
    seeds: tuple[int, ...]
    grey: int


def curves_of(stream: StreamScores, styles: Mapping[str, Style]) -> StreamCurves:
    """Takes from the scores what the figure of a stream shows."""
    shown, rest = split(stream.rows)
    rows = [(row, styles[row.method]) for row in shown] + [(row, None) for row in rest]
    names = ["performance", *DIAGNOSTIC_TITLES]
    found = {name: [curve for row, style in rows if (curve := _curve(row, name, style))] for name in names}
    return StreamCurves(
        stream.name,
        stream.rows[0].cell.config.stream,
        {name: curves for name, curves in found.items() if curves},
        tuple(sorted({len(row.seeds) for row in stream.rows})),
        len(rest),
    )


def learning_curves(stream: StreamCurves) -> Figure:
    """Performance per task with the methods' names at the curves' ends; next to it the diagnostics.

    Lines are means over seeds, bands their pointwise 95% bootstrap intervals.
    """
    from matplotlib.figure import Figure

    panels = [name for name in DIAGNOSTIC_TITLES if name in stream.curves]
    figure = Figure(figsize=CURVES_SIZE)
    right = 0.53 if panels else 0.75
    main = figure.add_axes((0.065, CURVES_BOTTOM, right - 0.065, CURVES_TOP - CURVES_BOTTOM))
    _draw(main, stream.curves["performance"])
    config = stream.config
    smoothing = _smoothing(config.tasks)
    detail = f", mean over {smoothing} tasks" if smoothing > 1 else ""
    main.set(xlabel="task", ylabel=f"{config.score.replace('_', ' ')} ({_unit(config)}{detail})")
    low, high = main.get_ylim()
    if low <= config.chance <= high:
        main.axhline(config.chance, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    _label_ends(main, [curve for curve in stream.curves["performance"] if curve.style])
    height = (CURVES_TOP - CURVES_BOTTOM + 0.11) / len(panels) - 0.11 if panels else 0.0
    for index, name in enumerate(panels):
        axes = figure.add_axes((0.79, CURVES_TOP - height - index * (height + 0.11), 0.195, height))
        _draw(axes, stream.curves[name])
        means = np.concatenate([curve.values.mean(axis=0) for curve in stream.curves[name]])
        if len(means) and means.min() > 0 and means.max() > LOGARITHMIC_FROM * means.min():
            axes.set_yscale("log")
        axes.set_title(DIAGNOSTIC_TITLES[name], fontsize=9.5, pad=3)
        if name == panels[-1]:
            axes.set_xlabel("task")
        else:
            axes.tick_params(labelbottom=False)
    for axes in figure.axes:
        axes.set_xlim(0, config.tasks)
    _head(figure, stream)
    return figure


def _head(figure: Figure, stream: StreamCurves) -> None:
    ends = " to ".join(map(str, sorted({stream.seeds[0], stream.seeds[-1]})))
    about = f"mean over {ends} seeds and its 95% interval"
    if stream.seeds == (1,):
        about = "a single seed, no interval"
    others = f"; grey: {stream.grey} more row{'s' * (stream.grey > 1)}" if stream.grey else ""
    figure.text(0.065, 0.955, stream.name, fontsize=13, weight="bold", va="center")
    text = f"{about}; chance {stream.config.chance:.3g}{others}"
    figure.text(0.065, 0.9, text, color="0.35", va="center")


def _curve(row: CellScores, name: str, style: Style | None) -> Curve | None:
    values = row.curves.get(name)
    if values is None:
        return None
    # A performance of nan leaves a gap; diagnostics are measured at some tasks only.
    kept = np.ones(row.cell.tasks, dtype=bool) if name == "performance" else ~np.isnan(values).any(axis=0)
    if not kept.any():
        return None
    values = values[:, kept]
    if style is None:
        values = values.mean(axis=0, keepdims=True)
    return Curve(row.method, style, np.flatnonzero(kept) + 1, values)


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import MaxNLocator

    grey = [np.column_stack([_smooth(c.tasks[None])[0], _smooth(c.values)[0]]) for c in curves if not c.style]
    if grey:
        axes.add_collection(LineCollection(grey, colors=GREY, linewidths=0.9, zorder=1))
    for depth, curve in enumerate(reversed([curve for curve in curves if curve.style])):
        color, line, _ = curve.style or Style(GREY, "-")
        x, smooth = _smooth(curve.tasks[None])[0], _smooth(curve.values)
        mean, low, high = mean_band(smooth)
        axes.plot(x, mean, color=color, linestyle=line, linewidth=1.6, zorder=4 + depth / 100)
        if len(smooth) > 1:
            axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0, zorder=3)
    axes.autoscale_view()
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _smooth(values: np.ndarray) -> np.ndarray:
    """Means over neighbouring points, along the last axis."""
    windows = np.lib.stride_tricks.sliding_window_view(values, _smoothing(values.shape[-1]), axis=-1)
    return np.asarray(windows.mean(axis=-1))


def _unit(config: StreamRecord) -> str:
    return {"R2": "R²"}.get(config.unit, config.unit)


def _smoothing(points: int) -> int:
    return max(1, points // INDEPENDENT_POINTS)


def _label_ends(axes: Axes, curves: Sequence[Curve]) -> None:
    """Writes every method's name at the end of its curve; names that would overlap are moved apart."""
    low, high = axes.get_ylim()
    ends = [float(curve.values[:, -_smoothing(curve.values.shape[1]) :].mean()) for curve in curves]
    wanted = np.array([(end - low) / (high - low) if np.isfinite(end) else 0.0 for end in ends])
    lines = np.array([wrapped(curve.method).count("\n") + 1 for curve in curves])
    order = np.argsort(wanted, kind="stable")
    placed = spread(wanted[order], lines[order] * 13 / (CURVES_SIZE[1] * 72 * (CURVES_TOP - CURVES_BOTTOM)))
    for index, position in zip(order, placed, strict=True):
        color, line, _ = curves[index].style or Style(GREY, "-")
        axes.plot(
            [1.005, 1.04, 1.065],
            [wanted[index], position, position],
            color=color,
            linestyle=line,
            linewidth=1.4,
            transform=axes.transAxes,
            clip_on=False,
        )
        text = wrapped(curves[index].method)
        axes.text(1.075, position, text, transform=axes.transAxes, va="center", linespacing=1.0, fontsize=9)


def spread(wanted: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Ascending positions in [0, 1] near ``wanted`` at which labels of these heights do not overlap."""
    gaps = (heights[1:] + heights[:-1]) / 2
    offsets = np.concatenate([[0.0], np.cumsum(gaps)])
    # Labels that touch form a block around the mean of their wanted positions (pool adjacent violators).
    blocks: list[list[float]] = []
    for value in wanted - offsets:
        blocks.append([value, 1.0])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, count = blocks.pop()
            before, many = blocks.pop()
            blocks.append([(mean * count + before * many) / (count + many), count + many])
    free = np.concatenate([[mean] * int(count) for mean, count in blocks])
    return np.clip(free, 0.0, max(0.0, 1.0 - offsets[-1])) + offsets
