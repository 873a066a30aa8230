"""From records to scores: summaries per cell, ranking per stream, aggregate over streams.

Comparisons use the same seeds on both sides: the same seed of two methods saw the same tasks, batches
and initial weights.

Which seeds count: a seed is left out of a metric that is not defined for it, because there are no fresh twins
of it or nothing was measured; a note says so. A seed whose performance is nan is not left out. It makes the
summary nan, with a note: a summary without the failed seeds would flatter the method. A seed that diverged
counts as chance from the first task on which its network is not finite, its diagnostics are nan, and a note
says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.processes.workers import Workers
from plasticity_bench.records.cells import Cell
from plasticity_bench.scoring.metrics import (
    MeasuredCell,
    References,
    measure,
    references_among,
    seed_metrics,
)
from plasticity_bench.scoring.notes import notes_on
from plasticity_bench.scoring.references import is_reference
from plasticity_bench.scoring.scores import (
    RANKED_BY,
    AggregateRow,
    CellScores,
    Scores,
    StreamScores,
    summarise_metrics,
)
from plasticity_bench.stats.bootstrap import Interval


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

    Raises InputError if a stream holds a reference twice, or two streams the same table.
    """
    started: list[_StreamScoring] = []
    known: dict[str, tuple[str, Path]] = {}
    for _, group in groupby(measured, lambda entry: entry.cell.stream):
        entries = list(group)
        for entry in entries:
            _check_streams(entry, known)
        started.append(_StreamScoring(entries, workers))
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
        _check_references(recorded)
        references = references_among(recorded)
        self.rows = [scored(entry, references) for entry in recorded]
        parts = [(row.values, row.defined, row.plasticity.ratios) for row in self.rows]
        self._summaries = workers.map(summarise_metrics, parts)

    def scores(self) -> StreamScores:
        """Waits until all summaries are computed."""
        for row, summary in zip(self.rows, self._summaries, strict=True):
            row.__dict__["summary"] = summary  # fills the cache of cached_property
        rows = sorted(self.rows, key=lambda row: (_descending(row.summary[RANKED_BY]), row.method))
        return StreamScores(self.name, tuple(rows), tuple(notes_on(rows, self.unfinished)))


def scored(entry: MeasuredCell, references: References) -> CellScores:
    """The scores of a cell."""
    found = seed_metrics(entry, references)
    return CellScores(
        entry.cell,
        entry.seeds,
        entry.curves,
        found.values,
        found.defined,
        found.plasticity,
        entry.not_finite,
        entry.twins.not_finite,
    )


def _check_streams(entry: MeasuredCell, known: dict[str, tuple[str, Path]]) -> None:
    """Raises InputError if a table is that of another stream. ``known``: SHA-256 -> (stream, file)."""
    for digest, seed in entry.digests.items():
        path = entry.cell.trained.path(seed)
        stream, other = known.setdefault(digest, (entry.cell.stream, path))
        if stream != entry.cell.stream:
            raise InputError(
                f"{other} and {path} are the same table on two streams: move the one away that is a copy, "
                "with its .json"
            )


def _check_references(cells: Iterable[MeasuredCell]) -> None:
    """Raises InputError if a reference is there twice."""
    seen: dict[str, Path] = {}
    for entry in cells:
        method, path = entry.cell.method, entry.cell.path
        if is_reference(method) and method in seen:
            raise InputError(
                f"two cells are called {method}: {seen[method]} and {path}; move one of them away"
            )
        seen[method] = path


def _descending(interval: Interval) -> float:
    """Sort key: the highest point first, nan last."""
    return float("inf") if np.isnan(interval.point) else -interval.point


def aggregate_row(rows: Sequence[CellScores]) -> AggregateRow:
    """The aggregate of a method's rows, one for each stream. Each stream has the same weight."""
    return AggregateRow(
        rows[0].method,
        tuple(row.cell.stream for row in rows),
        tuple(row.columns[0] for row in rows),
        tuple(row.plasticity.ratios["plasticity_loss"] for row in rows),
    )


def aggregate_streams(streams: Sequence[StreamScores]) -> tuple[tuple[AggregateRow, ...], tuple[str, ...]]:
    """The aggregate rows, most streams first, then best first, and their notes.

    Only streams on which the level of some method is defined take part. Empty if there are fewer than two.
    """
    found: dict[str, dict[str, CellScores]] = {}
    for stream in streams:
        for row in stream.rows:
            if row.columns[0].seeds:
                found.setdefault(row.method, {}).setdefault(stream.name, row)
    covered = {name for own in found.values() for name in own}
    if len(covered) < 2:
        return (), ()
    notes = [
        f"{stream.name} takes no part: {stream.rows[0].plasticity.undefined[RANKED_BY]}"
        for stream in streams
        if stream.rows and stream.name not in covered
    ]
    rows = [aggregate_row(list(own.values())) for own in found.values()]
    if any(len(row.streams) < len(covered) for row in rows):
        notes.append("methods that do not cover every stream have no rank; most streams first")
    rows.sort(key=lambda row: (-len(row.streams), _descending(row.score), row.method))
    return tuple(rows), tuple(notes)
