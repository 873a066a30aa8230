"""Scores as data: of a method on a stream, of all methods on a stream, and over streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plasticity_bench.records.cells import Cell
from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.scoring.ranking import Group, competing, groups
from plasticity_bench.stats.bootstrap import Interval, interquartile_mean, stratified_bootstrap

RANKED_BY = "retained_plasticity"
#: Metrics without an interval: seeds that train as one stack share one timing, so they are not a sample.
TIMINGS = frozenset({"cost"})


@dataclass(frozen=True, eq=False)
class CellScores:
    """A cell's metrics: ``values[metric]`` and ``defined[metric]`` (bool) of shape (seeds,).

    ``curves``: "performance" and ``metrics.DIAGNOSTICS``, each (seeds, tasks).
    """

    cell: Cell
    seeds: tuple[int, ...]
    curves: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    defined: Mapping[str, np.ndarray]

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
        """metric -> interquartile mean over seeds with its 95% interval."""
        return summarise_metrics((self.values, self.defined))

    @property
    def score(self) -> Interval:
        """Retained plasticity."""
        return self.summary[RANKED_BY]

    @property
    def runs(self) -> tuple[tuple[int, ...], tuple[np.ndarray, ...]]:
        """Seeds for which retained plasticity is defined, and its values as the only stream's column."""
        values = self.by_seed(RANKED_BY)
        return tuple(values), (np.array(list(values.values())),)

    @property
    def coverage(self) -> tuple[str, ...]:
        """Its stream."""
        return (self.cell.stream,)


@dataclass(frozen=True, eq=False)
class StreamScores:
    """All cells of one stream, best retained plasticity first. ``notes`` are shown under the table."""

    name: str
    rows: tuple[CellScores, ...]
    notes: tuple[str, ...]

    def row(self, method: str) -> CellScores | None:
        """The first row of the method with this label, None if it is not recorded."""
        return next((row for row in self.rows if row.method == method), None)

    def by_method(self, method: str) -> dict[int, float]:
        """seed -> retained plasticity of the method; empty if it is not recorded."""
        row = self.row(method)
        return row.by_seed(RANKED_BY) if row else {}

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
    """A method's retained plasticity over streams; ``columns`` holds one array of ``seeds`` per stream.

    ``summary``: the mean over streams of the interquartile mean over seeds, by which rows are ranked.
    ``pooled``: the interquartile mean of all values together, as rliable computes it.
    """

    method: str
    streams: tuple[str, ...]
    seeds: tuple[int, ...]
    columns: tuple[np.ndarray, ...]
    summary: Interval
    pooled: Interval

    @property
    def score(self) -> Interval:
        """The aggregate of retained plasticity."""
        return self.summary

    @property
    def runs(self) -> tuple[tuple[int, ...], tuple[np.ndarray, ...]]:
        """Seeds and columns."""
        return self.seeds, self.columns

    @property
    def coverage(self) -> tuple[str, ...]:
        """Its streams."""
        return self.streams

    @property
    def lowest(self) -> tuple[str, float]:
        """The stream with the lowest interquartile mean, and that mean: an aggregate can hide it."""
        means = [float(interquartile_mean(column)) for column in self.columns]
        worst = int(np.argmin(means))
        return self.streams[worst], means[worst]


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a set of cells. ``aggregate`` is empty if there are fewer than two streams to aggregate."""

    streams: tuple[StreamScores, ...]
    aggregate: tuple[AggregateRow, ...]
    notes: tuple[str, ...]

    @cached_property
    def groups(self) -> tuple[Group[AggregateRow], ...]:
        """The groups of the aggregate's rows that compete with each other, with their places."""
        return groups(self.aggregate)


def summarise_metrics(
    seeds: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
) -> dict[str, Interval]:
    """``CellScores.summary`` from its (values, defined): metric -> interquartile mean and interval."""
    values, defined = seeds
    found = {name: stratified_bootstrap([values[name][defined[name]]]) for name in METRICS}
    return found | {name: found[name]._replace(low=np.nan, high=np.nan) for name in TIMINGS}
