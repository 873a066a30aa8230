"""Figures over all streams: a heat map, performance profiles, and ranks over tasks.

For each, one function takes from the scores what is shown, and another draws it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from plasticity_bench.figures.panels import Room, label_width, pack_panels
from plasticity_bench.figures.styles import (
    GREY,
    Style,
    base_label,
    is_tuned,
    one_each,
    split,
    without_version,
    wrapped,
)
from plasticity_bench.scoring.scores import RANKED_BY, AggregateRow, Scores, StreamScores
from plasticity_bench.stats.bootstrap import average_ranks
from plasticity_bench.stats.inference import performance_profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Points at which profiles and ranks are drawn.
PROFILE_POINTS = 101
#: The heat map's colours range from this value to 2 minus this value. White is 1: as good as starting anew.
LOWEST_COLOURED = 0.0


class Ranks(NamedTuple):
    """The data of the figure of ranks: stream -> smoothed performances (methods, PROFILE_POINTS)."""

    methods: list[str]
    performances: dict[str, np.ndarray]


def comparable(scores: Scores, tuned: bool = False) -> list[AggregateRow]:
    """Rows over the same streams: the largest such group, by methods times streams; best first.

    Empty if no two streams are shared. ``tuned``: the group with the most tuned rows instead.
    """
    covered = {row.method: set(row.streams) for row in scores.aggregate if not np.isnan(row.score.point)}
    counted = [own for method, own in covered.items() if is_tuned(method) or not tuned]
    sizes = {
        row.streams: len(row.streams) * sum(own.issuperset(row.streams) for own in counted)
        for row in scores.aggregate
        if len(row.streams) > 1
    }
    if not sizes or not max(sizes.values()):
        return []
    chosen = max(sizes, key=lambda streams: sizes[streams])
    taken = [stream for stream in scores.streams if stream.name in chosen]
    rows = [
        row.on([stream.name for stream in taken])
        for row in scores.aggregate
        if covered.get(row.method, set()).issuperset(chosen)
    ]
    return sorted(rows, key=lambda row: (-row.score.point, row.method))


def tables_of(
    scores: Scores, streams: Sequence[StreamScores]
) -> tuple[list[str], dict[str, tuple[list[str], np.ndarray]]]:
    """(methods, tables) of the heat map; one table for rows with default settings, one for tuned rows.

    A table: title -> (streams, levels of shape (methods, streams)). Methods come in the order of
    the aggregate, then in that of the streams.
    """
    names = [row.method for row in scores.aggregate]
    methods = list(dict.fromkeys(map(base_label, [*names, *(r.method for s in streams for r in s.rows)])))
    tables = {}
    for title, tuned in (("default settings", False), ("tuned", True)):
        members = [s for s in streams if any(is_tuned(row.method) is tuned for row in s.rows)]
        table = np.full((len(methods), len(members)), np.nan)
        for column, stream in enumerate(members):
            for row in stream.rows:
                if is_tuned(row.method) is tuned:
                    table[methods.index(base_label(row.method)), column] = row.summary[RANKED_BY].point
        if members:
            tables[title] = ([without_version(stream.name) for stream in members], table)
    return methods, tables


def heat_map(methods: Sequence[str], tables: Mapping[str, tuple[Sequence[str], np.ndarray]]) -> Figure:
    """Methods by streams: the level, as numbers and as colours."""
    import pandas
    import seaborn
    from matplotlib.figure import Figure

    labels = [wrapped(method) for method in methods]
    left, cell, line = label_width(labels), 0.72, 0.235
    below = label_width([name for names, _ in tables.values() for name in names]) * 0.75
    widths = [cell * len(names) for names, _ in tables.values()]
    width = left + sum(widths) + 0.25 * len(tables) + 0.7
    height = (0.7 if len(tables) > 1 else 0.45) + line * len(methods) + below
    figure = Figure(figsize=(max(width, 5.5), height))
    width, start = max(width, 5.5), left
    for index, (title, (names, table)) in enumerate(tables.items()):
        place = (start / width, below / height, widths[index] / width, line * len(methods) / height)
        axes = figure.add_axes(place)
        start += widths[index] + 0.25
        seaborn.heatmap(
            pandas.DataFrame(table, index=labels, columns=list(names)),
            ax=axes,
            cmap="RdBu",
            vmin=LOWEST_COLOURED,
            vmax=2 - LOWEST_COLOURED,
            annot=True,
            fmt=".2f",
            annot_kws={"fontsize": 8},
            cbar=False,
            yticklabels=labels if not index else False,
        )
        axes.set_xticks(axes.get_xticks(), names, rotation=35, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0)
        if len(tables) > 1:
            axes.set_title(title, fontsize=9.5)
    figure.text(
        left / width,
        1 - 0.2 / height,
        "level (1: as good as starting anew; blank: unknown)",
        weight="bold",
        va="center",
    )
    return figure


def profiles(rows: Sequence[AggregateRow], styles: Mapping[str, Style]) -> Figure:
    """Performance profiles: for every method the share of runs above a given contribution to the level."""
    shown, rest = split(rows)
    values = np.concatenate([column.contributions for row in rows for column in row.columns])
    low, high = np.nanpercentile(values, [2, 98])
    thresholds = np.linspace(min(low, 0), max(high, 1.05), PROFILE_POINTS)
    width = label_width([row.method for row in shown]) + 0.6
    figure, (axes,) = pack_panels([4.0], 5.6, Room(left=0.75, right=width, top=0.4))
    for row in rest:
        columns = [column.contributions for column in row.columns]
        share = np.mean([(column[:, None] > thresholds).mean(axis=0) for column in columns], axis=0)
        axes.plot(thresholds, share, color=GREY, linewidth=0.9, zorder=1)
    for row in shown:
        columns = [column.contributions for column in row.columns]
        share, lower, upper = performance_profile(columns, thresholds)
        color, line, _ = styles[row.method]
        axes.plot(thresholds, share, color=color, linestyle=line, label=row.method, linewidth=1.5, zorder=3)
        axes.fill_between(thresholds, lower, upper, color=color, alpha=0.1, linewidth=0, zorder=2)
    axes.axvline(1, color="0.4", linewidth=1, linestyle=":", zorder=0)
    axes.set(xlabel="level of a run", ylabel="share of runs above it", ylim=(0, 1.01))
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.set_title(f"performance profiles over {', '.join(map(without_version, rows[0].streams))}")
    if rest:
        axes.plot([], [], color=GREY, linewidth=0.9, label=f"{len(rest)} more row{'s' * (len(rest) > 1)}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    return figure


def ranks_of(streams: Sequence[StreamScores]) -> Ranks:
    """The performances from which ranks over tasks are computed, for the methods that all streams have.

    A performance is the mean over the seeds that all methods share, in a sliding window of a tenth of the
    tasks. If a method has two rows, the tuned one takes part.
    """
    shared = set.intersection(*({row.method for row in stream.rows} for stream in streams))
    common = [row for row in streams[0].rows if row.method in shared]
    methods = sorted(row.method for row in one_each(common))
    return Ranks(methods, {without_version(stream.name): _smoothed(stream, methods) for stream in streams})


def ranks_over_tasks(ranks: Ranks, styles: Mapping[str, Style]) -> Figure:
    """Every method's mean rank over the streams as training goes on; equal performances share a rank."""
    values = np.mean([average_ranks(-p) for p in ranks.performances.values()], axis=0)
    order = np.argsort(values[:, -1], kind="stable")
    methods, curves = [ranks.methods[i] for i in order], values[order]
    shown = {row.method for row in split([_Labelled(method) for method in methods])[0]}
    room = Room(left=0.6, right=label_width(methods) + 0.25, top=0.4)
    figure, (axes,) = pack_panels([1.0 + 0.2 * len(methods)], 5.6, room)
    x = np.linspace(0, 100, PROFILE_POINTS)
    # Names are listed in the order of the final ranks.
    places = np.linspace(1, len(methods), len(methods)) if len(methods) > 1 else np.ones(1)
    for depth, (method, curve) in enumerate(zip(methods, curves, strict=True)):
        color, line, _ = styles[method]
        if method not in shown:
            color, line = GREY, "-"
        axes.plot(
            x,
            curve,
            color=color,
            linestyle=line,
            linewidth=1.6 if method in shown else 0.9,
            zorder=3 if method in shown else 1,
        )
        axes.plot([100, 103], [curve[-1], places[depth]], color=color, linewidth=0.8, clip_on=False, zorder=2)
        axes.text(
            103.6, places[depth], method, va="center", fontsize=8.5, color=color if method in shown else "0.5"
        )
    axes.set(xlabel="% of the tasks", ylabel="mean rank", xlim=(0, 100), ylim=(len(methods) + 0.7, 0.3))
    axes.set_title(f"rank of the performance as training goes on ({', '.join(ranks.performances)})")
    return figure


class _Labelled(NamedTuple):
    method: str


def _smoothed(stream: StreamScores, methods: Sequence[str]) -> np.ndarray:
    rows = [next(row for row in stream.rows if row.method == method) for method in methods]
    seeds = sorted(set.intersection(*(set(row.seeds) for row in rows)))
    size = max(1, rows[0].cell.tasks // 10)
    means = np.array([row.curves["performance"][np.isin(row.seeds, seeds)].mean(axis=0) for row in rows])
    smooth = np.lib.stride_tricks.sliding_window_view(means, size, axis=1).mean(axis=-1)
    return np.asarray(smooth[:, np.round(np.linspace(0, smooth.shape[1] - 1, PROFILE_POINTS)).astype(int)])
