"""From records to scores: summaries per cell, ranking per stream, aggregate over streams.

Comparisons use the same seeds on both sides: the same seed of two methods saw the same tasks, batches
and initial weights.

Which seeds count: a seed for which a metric is not defined, because a reference was not run with that
seed or nothing was measured, is left out of that metric and a note says so. A seed whose performance is
nan, or whose reference never rose above chance, is not left out: it turns the summary into nan, with a
note, because a summary without the seeds that failed would flatter the method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.parallel import Workers
from plasticity_bench.records import Cell
from plasticity_bench.seed_metrics import METRICS, REFERENCES, Measured, measure, seed_metrics
from plasticity_bench.stats import Difference, Interval, paired_bootstrap, stratified_bootstrap

RANKED_BY = "retained_plasticity"
#: Below this many seeds the percentile bootstrap's intervals are clearly too narrow.
FEW_SEEDS = 5


#: Metrics without an interval: seeds that train as one stack share one timing, so they are not a sample.
TIMINGS = frozenset({"cost"})


@dataclass(frozen=True, eq=False)
class CellScores:
    """A cell's metrics: ``values[metric]`` and ``defined[metric]`` (bool) of shape (seeds,).

    ``curves``: "performance", "dormant_fraction" and "effective_rank", each (seeds, tasks).
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
        return summarise((self.values, self.defined))


@dataclass(frozen=True, eq=False)
class StreamScores:
    """All cells of one stream, best retained plasticity first; ``notes`` belong under the table."""

    name: str
    rows: tuple[CellScores, ...]
    notes: tuple[str, ...]

    def row(self, method: str) -> CellScores | None:
        """The (first) row of the method with this label, None where it is not recorded."""
        return next((row for row in self.rows if row.method == method), None)

    def by_method(self, method: str) -> dict[int, float]:
        """seed -> retained plasticity of the method; empty where it is not recorded."""
        row = self.row(method)
        return row.by_seed(RANKED_BY) if row else {}


@dataclass(frozen=True, eq=False)
class AggregateRow:
    """A method's retained plasticity over streams; ``columns`` holds one array of ``seeds`` per stream."""

    method: str
    streams: tuple[str, ...]
    seeds: tuple[int, ...]
    columns: tuple[np.ndarray, ...]
    summary: Interval


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a set of cells. ``aggregate`` is empty where there are not two streams to aggregate."""

    streams: tuple[StreamScores, ...]
    aggregate: tuple[AggregateRow, ...]
    notes: tuple[str, ...]


def of_streams(cells: Iterable[Cell], names: Sequence[str]) -> list[Cell]:
    """The cells of the streams with these names, labels or folder names; all where ``names`` is empty.

    Raises InputError where a name fits no cell.
    """
    cells = list(cells)
    aliases = {cell.path: _aliases(cell) for cell in cells}
    known = set().union(*aliases.values())
    for name in names:
        if name not in known:
            raise InputError(f'no records of a stream "{name}"; {did_you_mean(name, known)}')
    return [cell for cell in cells if not names or aliases[cell.path].intersection(names)]


def summarise(seeds: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]) -> dict[str, Interval]:
    """``CellScores.summary`` of its values and of where they are defined."""
    values, defined = seeds
    found = {name: stratified_bootstrap([values[name][defined[name]]]) for name in METRICS}
    return found | {name: found[name]._replace(low=np.nan, high=np.nan) for name in TIMINGS}


def score(cells: Iterable[Cell], workers: Workers | None = None) -> Scores:
    """Scores ``cells``; references (`none`, `reset`) are looked for among them, so give all of a stream.

    ``workers``: who shares the work. Raises InputError where records are damaged, or a stream holds a
    reference twice.
    """
    workers = workers or Workers(1)
    return score_measured(measure_cells(cells, workers), workers)


def measure_cells(cells: Iterable[Cell], workers: Workers) -> list[Measured]:
    """Reads all ``cells``. Raises InputError where records are damaged."""
    ordered = sorted(cells, key=lambda cell: (cell.path.parts[-2:], cell.path))
    return list(workers.map(measure, ordered))


def score_measured(measured: Iterable[Measured], workers: Workers) -> Scores:
    """Scores cells as ``measure_cells`` returns them. Raises InputError where a stream holds a reference
    twice."""
    groups: dict[str, list[Measured]] = {}
    for entry in measured:
        groups.setdefault(entry.cell.stream, []).append(entry)
    streams = tuple(_score_stream(group, workers) for group in groups.values())
    aggregate, notes = aggregate_streams(streams)
    return Scores(streams, aggregate, notes)


def difference(a: CellScores, b: CellScores, metric: str) -> tuple[Difference, int]:
    """The paired difference a - b with its interval, and the number of common seeds it rests on."""
    left, right = a.by_seed(metric), b.by_seed(metric)
    common = sorted(left.keys() & right.keys())
    columns = [np.array([side[seed] for seed in common]) for side in (left, right)]
    found = paired_bootstrap(columns[:1], columns[1:])
    if metric in TIMINGS:
        found = Difference(found.point, np.nan, np.nan, np.nan)
    return found, len(common)


def aggregate_difference(a: AggregateRow, b: AggregateRow) -> tuple[Difference, int] | None:
    """The paired difference a - b and its number of seeds; None where they cover different streams."""
    if a.streams != b.streams:
        return None
    common = sorted(set(a.seeds) & set(b.seeds))
    left, right = ([column[np.isin(row.seeds, common)] for column in row.columns] for row in (a, b))
    return paired_bootstrap(left, right), len(common)


def verdict(difference: Difference) -> str:
    """ "higher" or "lower" where the interval excludes 0, "tied" where not, "unknown" without an interval."""
    if np.isnan(difference.low):
        return "unknown"
    if difference.low <= 0 <= difference.high:
        return "tied"
    return "higher" if difference.low > 0 else "lower"


def loses_plasticity(none: CellScores) -> bool | None:
    """Whether `none` ends its stream worse than it began: the interval of its loss lies above 0.

    None where there is no interval (a single seed, or a performance of nan).
    """
    interval = none.summary["plasticity_loss"]
    return None if np.isnan(interval.low) else interval.low > 0


def _aliases(cell: Cell) -> set[str]:
    stream = cell.config["stream"]
    return {cell.stream, str(stream.get("label", cell.stream)), str(stream.get("name", cell.stream))}


def _score_stream(measured: Sequence[Measured], workers: Workers) -> StreamScores:
    recorded = [entry for entry in measured if entry.seeds]
    references: dict[str, Measured] = {}
    for entry in recorded:
        method = entry.cell.method
        if method in references and method in REFERENCES.values():
            twice = f"{references[method].cell.path} and {entry.cell.path}"
            raise InputError(f"two cells are called {method}: {twice}; move one of them away")
        references[method] = entry
    rows = [
        CellScores(entry.cell, entry.seeds, entry.curves, *seed_metrics(entry, references))
        for entry in recorded
    ]
    for row, summary in zip(
        rows, workers.map(summarise, [(row.values, row.defined) for row in rows]), strict=True
    ):
        row.__dict__["summary"] = summary  # where cached_property keeps it
    rows.sort(key=lambda row: (_descending(row.summary[RANKED_BY]), row.method))
    unfinished = [entry.cell.method for entry in measured if not entry.seeds]
    return StreamScores(measured[0].cell.stream, tuple(rows), tuple(_notes(rows, unfinished)))


def _descending(interval: Interval) -> float:
    """Sorts the highest first and the unknown last."""
    return float("inf") if np.isnan(interval.point) else -interval.point


def _notes(rows: Sequence[CellScores], unfinished: Sequence[str]) -> Iterable[str]:
    methods = {row.method: row for row in rows}
    if none := methods.get("none"):
        loss = "{:.3f} [{:.3f}, {:.3f}]".format(*none.summary["plasticity_loss"])
        match loses_plasticity(none):
            case True:
                yield f"none loses plasticity here: loss {loss}"
            case False:
                yield f"none shows no loss of plasticity here (loss {loss}): the ranking says little"
    for metric, reference in REFERENCES.items():
        title = metric.replace("_", " ")
        if rows and reference not in methods:
            also = " and cost" if reference == "none" else ""
            yield f"{title}{also} unknown: needs {reference} (run it on this stream with the same seeds)"
            continue
        for row in rows:
            if lacking := (~row.defined[metric]).sum():
                yield f"{row.method}: {title} without the {lacking} of its seeds that {reference} lacks"
    for row in rows:
        failed = np.isnan(row.curves["performance"]).any(axis=1)
        if failed.any():
            yield f"{row.method}: performance is nan for {failed.sum()} of {len(row.seeds)} seeds"
        no_ratio = np.isnan(row.values[RANKED_BY]) & row.defined[RANKED_BY] & ~failed
        if no_ratio.any():
            yield f"{row.method}: none is nan or not above chance at the start for {no_ratio.sum()} seeds"
        if none and (lacking := (~row.defined["cost"]).sum()):
            yield f"{row.method}: cost without {lacking} seeds: none has no such stack size and device"
    if few := [row.method for row in rows if len(row.seeds) < FEW_SEEDS]:
        whom = "all methods" if len(few) == len(rows) else ", ".join(few)
        yield f"fewer than {FEW_SEEDS} seeds, so intervals too narrow or missing: {whom}"
    if unfinished:
        yield f"no finished seed yet: {', '.join(unfinished)}"


def _lacks_a_start(stream: StreamScores) -> bool:
    """Whether `none` was not above chance in its first window for some seed, so that no method has a ratio
    there. (Where its performance is nan instead, it failed, which the aggregate has to show.)"""
    none = stream.row("none")
    if none is None:
        return False
    failed = np.isnan(none.curves["performance"]).any(axis=1)
    return bool((np.isnan(none.values[RANKED_BY]) & none.defined[RANKED_BY] & ~failed).any())


def aggregate_row(method: str, per_stream: Mapping[str, Mapping[int, float]]) -> AggregateRow:
    """From every stream's seed -> value: over the seeds that all of them have.

    A matrix, as rliable has it: with all seeds of all streams, one with more seeds would weigh more.
    """
    seeds = sorted(set.intersection(*map(set, per_stream.values())))
    columns = tuple(np.array([values[seed] for seed in seeds]) for values in per_stream.values())
    return AggregateRow(method, tuple(per_stream), tuple(seeds), columns, stratified_bootstrap(columns))


def aggregate_streams(streams: Sequence[StreamScores]) -> tuple[tuple[AggregateRow, ...], tuple[str, ...]]:
    """Only streams on which retained plasticity is defined take part; a method needs one of them."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    left_out = [stream.name for stream in streams if _lacks_a_start(stream)]
    for stream in streams:
        for row in stream.rows if stream.name not in left_out else ():
            if values := row.by_seed(RANKED_BY):
                found.setdefault(row.method, {}).setdefault(stream.name, values)
    covered = {name for values in found.values() for name in values}
    if len(covered) < 2:
        return (), ()
    rows, cut = [], []
    notes = [f"{name} takes no part: none is not above chance at its start" for name in left_out]
    for method, per_stream in found.items():
        rows.append(aggregate_row(method, per_stream))
        if any(len(values) != len(rows[-1].seeds) for values in per_stream.values()):
            cut.append(f"{method} ({len(rows[-1].seeds)})")
    if any(len(row.streams) < len(covered) for row in rows):
        notes.append("methods that cover different streams do not compare; most streams first")
    if cut:
        notes.append(f"only the seeds that all streams of a method share: {', '.join(cut)}")
    rows.sort(key=lambda row: (-len(row.streams), _descending(row.summary), row.method))
    return tuple(rows), tuple(notes)
