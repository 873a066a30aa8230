"""From records to scores: summaries per cell, ranking per stream, aggregate over streams.

Comparisons use the same seeds on both sides: the same seed of two methods saw the same tasks, batches
and initial weights.

Which seeds count: a seed is left out of a metric that is not defined for it, because a reference was not run
with that seed or nothing was measured; a note says so. A seed whose performance is nan, or whose reference is
not above chance, is not left out. It makes the summary nan, with a note: a summary without the failed seeds
would flatter the method.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.processes.workers import Workers
from plasticity_bench.records.cells import Cell
from plasticity_bench.scoring.metrics import MeasuredCell, measure, seed_metrics
from plasticity_bench.scoring.notes import notes_on
from plasticity_bench.scoring.references import REFERENCES
from plasticity_bench.scoring.scores import (
    RANKED_BY,
    AggregateRow,
    CellScores,
    Scores,
    StreamScores,
    summarise_metrics,
)
from plasticity_bench.stats.bootstrap import Interval, MeanOfStreams, stratified_bootstrap


def of_streams(cells: Iterable[Cell], names: Sequence[str]) -> list[Cell]:
    """The cells of the streams with these names, labels or folder names; all cells if ``names`` is empty.

    Raises InputError if a name fits no cell.
    """
    cells = list(cells)
    aliases = {cell.path: _aliases(cell) for cell in cells}
    known = set().union(*aliases.values())
    for name in names:
        if name not in known:
            raise InputError(f'no records of a stream "{name}"; {did_you_mean(name, known)}')
    return [cell for cell in cells if not names or aliases[cell.path].intersection(names)]


def score(cells: Iterable[Cell], workers: Workers | None = None) -> Scores:
    """Scores ``cells``. The references `none` and `reset` must be among them: give all cells of a stream.

    ``workers``: processes that share the work. Raises InputError if records are damaged, or a stream holds a
    reference twice.
    """
    workers = workers or Workers(1)
    return score_measured(measure_cells(cells, workers), workers)


def measure_cells(cells: Iterable[Cell], workers: Workers) -> Iterator[MeasuredCell]:
    """Reads all ``cells``, ordered by stream; workers begin at once.

    Raises InputError at a cell whose records are damaged.
    """
    return workers.map(measure, sorted(cells, key=place_of))


def place_of(cell: Cell) -> tuple[tuple[str, ...], Path]:
    """What cells are ordered by: stream, method, folder."""
    return cell.path.parts[-2:], cell.path


def score_measured(measured: Iterable[MeasuredCell], workers: Workers) -> Scores:
    """Scores cells in the order of ``measure_cells``: each stream as soon as all of it is read.

    Raises InputError if a stream holds a reference twice.
    """
    started = [
        _StreamScoring(list(group), workers)
        for _, group in groupby(measured, lambda entry: entry.cell.stream)
    ]
    streams = tuple(stream.scores() for stream in started)
    aggregate, notes = aggregate_streams(streams)
    return Scores(streams, aggregate, notes)


def _aliases(cell: Cell) -> set[str]:
    return {cell.stream, cell.config.stream.label, cell.config.stream.name}


class _StreamScoring:
    """Computes the scores of a stream; ``workers`` start with the summaries at once."""

    def __init__(self, measured: Sequence[MeasuredCell], workers: Workers) -> None:
        self.name = measured[0].cell.stream
        self.unfinished = [entry.cell.method for entry in measured if not entry.seeds]
        recorded = [entry for entry in measured if entry.seeds]
        references: dict[str, MeasuredCell] = {}
        for entry in recorded:
            method = entry.cell.method
            if method in references and method in REFERENCES:
                twice = f"{references[method].cell.path} and {entry.cell.path}"
                raise InputError(f"two cells are called {method}: {twice}; move one of them away")
            references[method] = entry
        self.rows = [
            CellScores(entry.cell, entry.seeds, entry.curves, *seed_metrics(entry, references))
            for entry in recorded
        ]
        self._summaries = workers.map(summarise_metrics, [(row.values, row.defined) for row in self.rows])

    def scores(self) -> StreamScores:
        """Waits until all summaries are computed."""
        for row, summary in zip(self.rows, self._summaries, strict=True):
            row.__dict__["summary"] = summary  # fills the cache of cached_property
        rows = sorted(self.rows, key=lambda row: (_descending(row.summary[RANKED_BY]), row.method))
        return StreamScores(self.name, tuple(rows), tuple(notes_on(rows, self.unfinished)))


def _descending(interval: Interval) -> float:
    """Sort key: the highest point first, nan last."""
    return float("inf") if np.isnan(interval.point) else -interval.point


def _lacks_ratio(stream: StreamScores) -> bool:
    """Whether `none` was not above chance in its first window for some seed, so that no method has a ratio.

    A performance of nan does not count: `none` failed, which the aggregate has to show.
    """
    none = stream.row("none")
    if none is None:
        return False
    failed = np.isnan(none.curves["performance"]).any(axis=1)
    return bool((np.isnan(none.values[RANKED_BY]) & none.defined[RANKED_BY] & ~failed).any())


def aggregate_row(method: str, per_stream: Mapping[str, Mapping[int, float]]) -> AggregateRow:
    """The aggregate of stream -> (seed -> value), over the seeds that all streams have.

    A (seeds x streams) matrix, as in rliable: otherwise a stream with more seeds would have more weight.
    """
    seeds = sorted(set.intersection(*map(set, per_stream.values())))
    columns = tuple(np.array([values[seed] for seed in seeds]) for values in per_stream.values())
    summary = stratified_bootstrap(columns, MeanOfStreams(len(columns)))
    return AggregateRow(
        method, tuple(per_stream), tuple(seeds), columns, summary, stratified_bootstrap(columns)
    )


def aggregate_streams(streams: Sequence[StreamScores]) -> tuple[tuple[AggregateRow, ...], tuple[str, ...]]:
    """The aggregate rows, most streams first, then best first, and their notes.

    Only streams on which retained plasticity is defined take part. Empty if there are fewer than two.
    """
    found: dict[str, dict[str, dict[int, float]]] = {}
    left_out = [stream.name for stream in streams if _lacks_ratio(stream)]
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
        notes.append("methods that do not cover every stream have no rank; most streams first")
    if cut:
        notes.append(f"only the seeds that all streams of a method share: {', '.join(cut)}")
    rows.sort(key=lambda row: (-len(row.streams), _descending(row.summary), row.method))
    return tuple(rows), tuple(notes)
