"""Chooses the figures for some scores, draws them and writes their files.

Drawn with matplotlib's Agg; equal scores give equal files. What a figure shows is taken from the scores here,
so that little has to be sent to the process that draws it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plasticity_bench.figures import intervals, overview, scatter
from plasticity_bench.figures.curves import curves_of, learning_curves
from plasticity_bench.figures.losses import loss_curves, losses_of
from plasticity_bench.figures.returns import draw_returns, returns_over_steps
from plasticity_bench.figures.styles import SETTINGS, split, styles_of, styles_on
from plasticity_bench.processes.workers import Workers
from plasticity_bench.scoring.scores import RANKED_BY, Scores, StreamScores
from plasticity_bench.storage.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The most curves of returns in a figure: they rise and fall within tasks, and more would hide each other.
MOST_OVER_STEPS = 3
DPI = 150


def draw_functions(scores: Scores) -> dict[str, Callable[[], Figure]]:
    """File name without suffix -> a function that draws the figure when it is called."""
    streams = [stream for stream in scores.streams if stream.rows]
    styles = styles_of(streams)
    # The slowest figures come first, so that no process is still busy with one when all others are done.
    jobs: dict[str, Callable[[], Figure]] = {}
    for name, axis in intervals.MEASURE_AXES.items():
        if known := streams_with(streams, name):
            jobs[name] = partial(intervals.draw_lines, intervals.lines_of(known, styles, name), axis)
    if found := streams_with(streams, RANKED_BY):
        jobs["diagnostics"] = partial(scatter.diagnostics, scatter.diagnostics_of(found, styles))
    if costs := scatter.costs_of(found, styles):
        jobs["score-and-cost"] = partial(scatter.pareto, costs)
    if len(found) > 1:
        jobs["heat-map"] = partial(overview.heat_map, *overview.tables_of(scores, found))
    if rows := overview.comparable(scores):
        common = [stream for stream in found if stream.name in rows[0].streams]
        groups = [rows]
        if (tuned := overview.comparable(scores, tuned=True)) and tuned[0].streams != rows[0].streams:
            groups.append(tuned)
        jobs["aggregate"] = partial(
            intervals.draw_lines, intervals.aggregate(groups, styles), intervals.AGGREGATE_AXIS
        )
        jobs["performance-profiles"] = partial(overview.profiles, rows, styles)
        jobs["ranks-over-tasks"] = partial(overview.ranks_over_tasks, overview.ranks_of(common), styles)
    if swept := {stream.name: tried for stream in streams if (tried := intervals.swept_of(stream))}:
        jobs["sensitivity"] = partial(intervals.sensitivity, swept, styles)
    for stream in streams:
        curves = curves_of(stream, styles_on(stream, styles))
        jobs[f"learning-curves-{stream.name}"] = partial(learning_curves, curves)
    for stream in streams:
        if losses := losses_of(stream, styles_on(stream, styles)):
            jobs[f"plasticity-loss-{stream.name}"] = partial(loss_curves, stream.name, losses)
    for stream in streams:
        shown, _ = split(stream.rows, MOST_OVER_STEPS)
        returns = [(row, points) for row in shown if (points := returns_over_steps(row.cell))]
        if returns:
            jobs[f"returns-{stream.name}"] = partial(
                draw_returns, stream.name, returns, styles_on(stream, styles)
            )
    return jobs


def streams_with(streams: Sequence[StreamScores], metric: str) -> list[StreamScores]:
    """The streams on which the metric of at least one method is known."""
    return [s for s in streams if any(not np.isnan(row.summary[metric].point) for row in s.rows)]


def get_ready() -> None:
    """Imports and caches most of what matplotlib needs, by drawing a small figure."""
    from matplotlib.figure import Figure

    with _own_settings():
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().set_title("title", weight="bold")
        figure.savefig(io.BytesIO(), format="png")


def save_figure(draw: Callable[[], Figure], paths: Sequence[Path]) -> None:
    """Draws into ``paths``, each a .png or .svg; a file is written whole or not at all."""
    with _own_settings():
        figure = draw()
        for path in paths:
            buffer = io.BytesIO()
            options: dict[str, Any] = {"metadata": {"Date": None}}
            if path.suffix == ".png":
                # The default compression takes longer than the drawing, and the files are hardly smaller.
                options = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}}
            figure.savefig(buffer, format=path.suffix[1:], dpi=DPI, **options)
            write_bytes(path, buffer.getvalue())


def draw_inline(draw: Callable[[], Figure]) -> Figure:
    """A figure that a notebook shows as the last line of a cell, whatever its matplotlib settings are."""
    with _own_settings():
        figure = draw()
    vars(figure)["_repr_png_"] = partial(_png, figure)  # where IPython looks for it
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with _own_settings():
        figure.savefig(buffer, format="png", dpi=DPI / 2, bbox_inches="tight")
    return buffer.getvalue()


@contextmanager
def _own_settings() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context():
        # Overrides what the user has set in a matplotlibrc.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def save_figures(
    scores: Scores,
    folder: Path,
    suffixes: Sequence[str],
    on_line: Callable[[str], None],
    workers: Workers | None = None,
) -> list[Path]:
    """Saves every figure with every suffix (".png", ".svg"); returns the files.

    ``on_line`` receives a line for each file, with the time left.
    """
    drawing = Drawing(scores, folder, suffixes, workers or Workers(1))
    drawing.wait(on_line)
    return drawing.paths


class Drawing:
    """Draws all figures; worker processes begin at once.

    ``paths``: the files, one per figure and suffix.
    """

    def __init__(self, scores: Scores, folder: Path, suffixes: Sequence[str], workers: Workers) -> None:
        jobs = [
            (draw, [folder / f"{name}{suffix}" for suffix in suffixes])
            for name, draw in draw_functions(scores).items()
        ]
        self.paths = [path for _, paths in jobs for path in paths]
        self._begin = time.monotonic()
        self._drawn = workers.map(_save, jobs)

    def wait(self, on_line: Callable[[str], None]) -> None:
        """Waits until all are saved; ``on_line`` receives a line for each file, with the time left."""
        done = 0
        for saved in self._drawn:
            for path in saved:
                done += 1
                left = (time.monotonic() - self._begin) / done * (len(self.paths) - done)
                on_line(f"wrote {path} ({done} of {len(self.paths)}, about {left:.0f} s left)")


def _save(job: tuple[Callable[[], Figure], Sequence[Path]]) -> Sequence[Path]:
    save_figure(*job)
    return job[1]
