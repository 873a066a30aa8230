"""Scores as data: of a method on a stream, of all methods on a stream, and over streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from plasticity_bench.records.cells import Cell
from plasticity_bench.scoring.metrics import METRICS, RATIOS
from plasticity_bench.scoring.plasticity import Plasticity
from plasticity_bench.scoring.ranking import Group, competing, groups
from plasticity_bench.stats.bootstrap import Interval, stratified_bootstrap
from plasticity_bench.stats.inference import sign_flip_p
from plasticity_bench.stats.ratios import Ratio, ratio_interval

RANKED_BY = "level"
#: The most that a stream can add to the score over streams: never worse than starting anew gives 1.
CAP = 1.0
#: Metrics without an interval: seeds that train as one stack share one timing, so they are not a sample.
TIMINGS = frozenset({"cost"})


@dataclass(frozen=True, eq=False)
class CellScores:
    """A cell's metrics: ``values[metric]`` and ``defined[metric]`` (bool) of shape (seeds,).

    ``curves``: "performance" and ``metrics.DIAGNOSTICS``, each (seeds, tasks). ``plasticity``: the ratios
    from which level, retention, plasticity loss and fresh level are computed. ``not_finite``: seed that
    diverged -> the first task of those that count as chance; ``twins_not_finite``: seed -> how many of its
    fresh twins count as chance.
    """

    cell: Cell
    seeds: tuple[int, ...]
    curves: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    defined: Mapping[str, np.ndarray]
    plasticity: Plasticity
    not_finite: Mapping[int, int] = field(default_factory=dict)
    twins_not_finite: Mapping[int, int] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The method's label."""
        return self.cell.method

    def by_seed(self, metric: str) -> dict[int, float]:
        """seed -> value, for the seeds for which the metric is defined."""
        rows = zip(self.seeds, self.values[metric], self.defined[metric], strict=True)
        return {seed: float(value) for seed, value, defined in rows if defined}

    @cached_property
    def summary(self) -> dict[str, Interval]:
        """metric -> estimate over seeds with its 95% interval.

        A ratio of sums for ``metrics.RATIOS``, an interquartile mean for the others.
        """
        return summarise_metrics((self.values, self.defined, self.plasticity.ratios))

    @property
    def score(self) -> Interval:
        """The level."""
        return self.summary[RANKED_BY]

    @property
    def columns(self) -> tuple[Ratio, ...]:
        """The level on its stream."""
        return (self.plasticity.ratios[RANKED_BY],)

    @property
    def coverage(self) -> tuple[str, ...]:
        """Its stream."""
        return (self.cell.stream,)

    @cached_property
    def p_loss(self) -> float:
        """p-value of no plasticity loss, by sign flips of learner and fresh twins. nan if unknown."""
        return sign_flip_p([self.plasticity.ratios["plasticity_loss"].numerator])


@dataclass(frozen=True, eq=False)
class StreamScores:
    """All cells of one stream, highest level first. ``notes`` are shown under the table."""

    name: str
    rows: tuple[CellScores, ...]
    notes: tuple[str, ...]

    def row(self, method: str) -> CellScores | None:
        """The first row of the method with this label, None if it is not recorded."""
        return next((row for row in self.rows if row.method == method), None)

    @cached_property
    def groups(self) -> tuple[Group[CellScores], ...]:
        """The groups of rows that compete with each other, tuned ones first, with their places."""
        return groups(self.rows)

    @property
    def in_order(self) -> list[CellScores]:
        """The rows as tables show them, group by group."""
        return [row for own in competing(self.rows).values() for row in own]


@dataclass(frozen=True, eq=False)
class AggregateRow:
    """A method over streams: on each of them its level and, if it is defined, its plasticity loss."""

    method: str
    streams: tuple[str, ...]
    columns: tuple[Ratio, ...]
    losses: tuple[Ratio, ...]

    @cached_property
    def score(self) -> Interval:
        """The mean over streams of min(level, ``CAP``), by which rows are ranked."""
        return ratio_interval(self.columns, CAP)

    @cached_property
    def uncapped(self) -> Interval:
        """The mean over streams of the level."""
        return ratio_interval(self.columns)

    @property
    def _all_losses(self) -> tuple[Ratio, ...]:
        """The losses if the plasticity loss is defined on every stream, else none."""
        return self.losses if all(loss.seeds for loss in self.losses) else ()

    @cached_property
    def retention(self) -> Interval:
        """The mean over streams of the retention; nan if it is not defined on one of them."""
        loss = ratio_interval(self._all_losses)
        return Interval(1 - loss.point, 1 - loss.high, 1 - loss.low)

    @cached_property
    def p_loss(self) -> float:
        """p-value of no plasticity loss over streams: sign flips of seeds on every stream. nan if unknown."""
        return sign_flip_p([loss.contributions for loss in self._all_losses])

    @property
    def coverage(self) -> tuple[str, ...]:
        """Its streams."""
        return self.streams

    @property
    def fewest_seeds(self) -> int:
        """The number of seeds on the stream that has the fewest."""
        return min(len(column.seeds) for column in self.columns)

    def on(self, streams: Sequence[str]) -> AggregateRow:
        """The same over these of its streams."""
        places = [self.streams.index(name) for name in streams]
        columns, losses = (tuple(each[place] for place in places) for each in (self.columns, self.losses))
        return AggregateRow(self.method, tuple(streams), columns, losses)

    @property
    def lowest(self) -> tuple[str, float]:
        """The stream with the lowest level, and that level: an aggregate can hide it."""
        levels = [column.point for column in self.columns]
        worst = int(np.argmin(levels))
        return self.streams[worst], levels[worst]


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a set of cells. ``aggregate`` is empty if there are fewer than two streams to aggregate."""

    streams: tuple[StreamScores, ...]
    aggregate: tuple[AggregateRow, ...]
    notes: tuple[str, ...]

    @cached_property
    def groups(self) -> tuple[Group[AggregateRow], ...]:
        """The groups of the aggregate's rows that compete with each other, with their places."""
        return groups(self.aggregate, CAP)


def summarise_metrics(
    seeds: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray], Mapping[str, Ratio]],
) -> dict[str, Interval]:
    """``CellScores.summary`` from its (values, defined, ratios): metric -> estimate and interval."""
    values, defined, ratios = seeds
    found = {
        name: ratio_interval([ratios[name]])
        if name in RATIOS
        else stratified_bootstrap([values[name][defined[name]]])
        for name in METRICS
    }
    return found | {name: found[name]._replace(low=np.nan, high=np.nan) for name in TIMINGS}
