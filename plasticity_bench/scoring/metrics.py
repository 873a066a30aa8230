"""Metrics of the seeds of a cell: from their tables, their fresh twins, references and training time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.records.cells import Cell
from plasticity_bench.records.documents import Origin, SeedRecord
from plasticity_bench.records.seed_tables import SeedTables
from plasticity_bench.records.tables import COLUMNS, Table
from plasticity_bench.scoring.plasticity import Plasticity, plasticity
from plasticity_bench.scoring.references import PLAIN_LABELS
from plasticity_bench.scoring.twins import LOSS, Twins, columns_of_twins, twins_of
from plasticity_bench.stats.bootstrap import theil_sen
from plasticity_bench.stats.ratios import Ratio

#: Metric -> definition, in the order in which tables show them. `none` and `reset` are methods.
METRICS: Mapping[str, str] = {
    "level": "how well the learner at the end of the stream learns a new task, against starting from scratch "
    "with plain training: sum over seeds and late tasks of (performance - chance), over the same sum for the "
    "fresh twins of `none` (of `none (tuned)` if it has any). 1: as well as a new plain network. Higher is "
    "better; rows are ranked by it.",
    "retention": "how much of its own ability to learn the learner kept: sum over seeds and late tasks of "
    "(performance - chance), over the same sum for its own fresh twins. 1: nothing lost. Not defined if the "
    "twins are not significantly above chance.",
    "plasticity_loss": "1 - retention. 0: nothing lost. Lower is better.",
    "fresh_level": "how good the learner is when it is new: sum over seeds and late tasks of (performance of "
    "its fresh twins - chance), over the same sum for the fresh twins of `none`. level = retention x fresh "
    "level.",
    "trend": "Theil-Sen slope of the performance, per 100 tasks. Below 0: the performance falls.",
    "average_performance": "mean performance over all tasks. Higher is better.",
    "dormant_fraction": "share of hidden units with a ReDo score of at most 0.025 (arXiv 2302.12902), mean "
    "over the last window, or at the last task measured.",
    "effective_rank": "exp of the entropy of the normalised singular values of the hidden features (Roy & "
    "Vetterli 2007), mean over hidden layers and the last window, or at the last task measured.",
    "weight_norm": "L2 norm of all parameters, mean over the last window, or at the last task measured.",
    "cost": "training time of a seed (processor time on a CPU) divided by the mean training time of `none` "
    "with the same stack size on the same device. 1: as fast as a plain network.",
}

#: Metrics that are ratios of sums over seeds. The value of a seed is its contribution: its numerator over the
#: mean denominator. The other metrics are interquartile means over seeds.
RATIOS = ("level", "retention", "plasticity_loss", "fresh_level")
#: Columns measured at some tasks only, whose late mean is a metric.
DIAGNOSTICS = ("dormant_fraction", "effective_rank", "weight_norm")


@dataclass(frozen=True, eq=False)
class MeasuredCell:
    """What scores need from the tables of a cell.

    ``curves``: "performance" and ``DIAGNOSTICS``, each (seeds, tasks). ``seconds``: training time, (seeds,).
    ``batches``: (stack size, device, hardware) of every seed; times are comparable only if these are equal.
    ``twins``: the fresh twins of those of the seeds that have them. ``not_finite``: of every seed that
    diverged, the first task of those to the end that it counts as chance on. ``digests``: SHA-256 of a table
    -> its seed, of the seeds that are finite at the first task.
    """

    cell: Cell
    seeds: tuple[int, ...]
    curves: Mapping[str, np.ndarray]
    seconds: np.ndarray
    batches: tuple[tuple[object, ...], ...]
    twins: Twins
    not_finite: Mapping[int, int] = field(default_factory=dict)
    digests: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def trend(self) -> np.ndarray:
        """Theil-Sen slope of the performance per 100 tasks, (seeds,)."""
        return np.array([100 * theil_sen(curve) for curve in self.curves["performance"]])

    def last_window(self) -> np.ndarray:
        """Mean performance in the last window, (seeds,)."""
        return np.asarray(self.curves["performance"][:, -window(self.cell.tasks) :].mean(axis=1))

    def with_cell(self, cell: Cell) -> MeasuredCell:
        """The same with the cell described in other words."""
        made = replace(self, cell=cell)
        vars(made).update({name: value for name, value in vars(self).items() if name not in vars(made)})
        return made

    def of(self, seeds: Sequence[int]) -> MeasuredCell:
        """These of the seeds, in this order."""
        rows = [self.seeds.index(seed) for seed in seeds]
        curves = {name: values[rows] for name, values in self.curves.items()}
        return MeasuredCell(
            self.cell,
            tuple(seeds),
            curves,
            self.seconds[rows],
            tuple(self.batches[row] for row in rows),
            self.twins.of([seed for seed in seeds if seed in self.twins.seeds]),
            {seed: task for seed, task in self.not_finite.items() if seed in seeds},
        )


@dataclass(frozen=True)
class References:
    """What metrics compare with: the records of `none`, and the fresh twins of plain training."""

    none: MeasuredCell | None = None
    plain: Twins | None = None


def references_among(cells: Iterable[MeasuredCell]) -> References:
    """The references among the cells of a stream; of several cells with one label the first."""
    found: dict[str, MeasuredCell] = {}
    for entry in cells:
        found.setdefault(entry.cell.method, entry)
    twins = [found[label].twins for label in PLAIN_LABELS if label in found and found[label].twins.seeds]
    return References(found.get("none"), twins[0] if twins else None)


@dataclass(frozen=True, eq=False)
class SeedMetrics:
    """The metrics of a cell's seeds.

    ``values``: metric -> (seeds,). ``defined``: metric -> whether the metric is defined for a seed, (seeds,).
    ``plasticity``: the ratios of sums over seeds.
    """

    values: Mapping[str, np.ndarray]
    defined: Mapping[str, np.ndarray]
    plasticity: Plasticity


def window(tasks: int) -> int:
    """Number of tasks in the last window, over which diagnostics are averaged: 10%, at least one."""
    return max(1, tasks // 10)


def measure(cell: Cell) -> MeasuredCell:
    """Reads every recorded seed of ``cell``, and the fresh twins of these seeds.

    Raises InputError if a record is damaged.
    """
    seeds = cell.seeds()
    twins = [seed for seed in cell.fresh.seeds() if seed in set(seeds)]
    fresh, twin_origins = cell.fresh.records(twins, columns_of_twins(cell)) if twins else ({}, [])
    tables, origins = cell.trained.records(seeds, [*_columns(cell).values(), LOSS])
    digests = _check_twice(cell.trained, tables, origins)
    _check_twice(cell.fresh, fresh, twin_origins)
    found = measure_tables(cell, tables, origins, fresh)
    found = replace(found, digests=digests)
    _ = found.trend  # slow; computed here, in a worker process, and kept
    return found


def _check_twice(
    kept: SeedTables, tables: Mapping[int, Table], origins: Sequence[SeedRecord]
) -> dict[str, int]:
    """SHA-256 -> seed. Raises InputError if two seeds have the same table, which training gives only if both
    diverge at once; such tables are left out."""
    known: dict[str, int] = {}
    for (seed, table), origin in zip(tables.items(), origins, strict=True):
        if np.isfinite(table[LOSS][0]) and (other := known.setdefault(origin.sha256, seed)) != seed:
            raise InputError(
                f"{kept.path(other)} and {kept.path(seed).name} there are one table twice, not two "
                "seeds: move the one away that is a copy, with its .json"
            )
    return known


def measure_tables(
    cell: Cell,
    tables: Mapping[int, Table],
    origins: Sequence[Origin],
    fresh: Mapping[int, Table] = MappingProxyType({}),
) -> MeasuredCell:
    """The same from tables that were read.

    Args:
        cell: The cell.
        tables: Seed -> its table.
        origins: How each seed was run.
        fresh: Seed -> the table of its fresh twins, for seeds that have them.

    Raises:
        InputError: The column that the cell is scored by is unknown.
    """
    curves = {
        name: np.array([table[column] for table in tables.values()]).reshape(len(tables), cell.tasks)
        for name, column in _columns(cell).items()
    }
    loss = np.array([table[LOSS] for table in tables.values()]).reshape(len(tables), cell.tasks)
    not_finite = {}
    firsts = first_not_finite(curves["performance"], loss, curves["weight_norm"])
    for row, (seed, first) in enumerate(zip(tables, firsts, strict=True)):
        if first < cell.tasks:
            not_finite[seed] = int(first)
            curves["performance"][row, first:] = cell.config.stream.chance
    seconds = np.array([origin.seconds for origin in origins])
    batches = tuple((origin.stack, origin.device, origin.hardware) for origin in origins)
    twins = twins_of(cell, fresh)
    return MeasuredCell(cell, tuple(tables), curves, seconds, batches, twins, not_finite)


def first_not_finite(performance: np.ndarray, loss: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """For every seed the first task from which on its network is not finite.

    A network that is nan stays so. One that overflows and recovers has not diverged.

    Args:
        performance: The column that is scored, (seeds, tasks).
        loss: ``LOSS``, (seeds, tasks).
        weights: The norm of the weights, nan where it was not measured, (seeds, tasks).

    Returns:
        Tasks, (seeds,); the number of tasks for a network that is finite at the end.
    """
    lost = ~np.isfinite(loss)
    # Updates are counted in the loss of the next task, so the last ones show in the weights only.
    measured = np.isfinite(weights).any(axis=1)
    lost[:, -1] |= np.isinf(weights[:, -1]) | (measured & np.isnan(weights[:, -1]))
    # An agent whose weights break in the last update of a task has a loss there but no performance.
    gone = lost | np.isnan(performance)
    trailing = np.logical_and.accumulate(gone[:, ::-1], axis=1).sum(axis=1)
    return np.asarray(np.where(lost[:, -1], loss.shape[1] - trailing, loss.shape[1]))


def _columns(cell: Cell) -> dict[str, str]:
    """Curve -> the column of the tables that holds it."""
    scored = cell.config.stream.score
    if scored not in COLUMNS:
        known = did_you_mean(scored, COLUMNS)
        raise InputError(f"{cell.path} is scored by an unknown column {scored!r}; {known}")
    return {"performance": scored, **{name: name for name in DIAGNOSTICS}}


def seed_metrics(own: MeasuredCell, references: References) -> SeedMetrics:
    """The metrics of every seed.

    A metric is not defined for a seed if the fresh twins or the reference that it needs lack the seed, or if
    nothing was measured or timed. A value can be nan and still be defined: the performance was nan.
    """
    performance = own.curves["performance"]
    diverged = np.isin(own.seeds, list(own.not_finite))
    measured = plasticity(own.seeds, performance, own.cell.config.stream.chance, own.twins, references.plain)
    values = {name: _contributions(own.seeds, measured.ratios[name]) for name in RATIOS} | {
        "trend": own.trend,
        "average_performance": performance.mean(axis=1),
        **{name: np.where(diverged, np.nan, _late_means(own.curves[name])) for name in DIAGNOSTICS},
        "cost": _cost(own, references.none),
    }
    defined = {name: np.ones(len(own.seeds), dtype=bool) for name in METRICS}
    for name in RATIOS:
        defined[name] = np.isin(own.seeds, measured.ratios[name].seeds)
    for name in DIAGNOSTICS:  # without the failed seeds, a mean would flatter the method
        defined[name] = diverged | ~np.isnan(values[name])
    defined["cost"] = ~np.isnan(values["cost"])
    if own.cell.tasks < 2:
        defined["trend"][:] = False
    return SeedMetrics(values, defined, measured)


def _contributions(seeds: Sequence[int], ratio: Ratio) -> np.ndarray:
    """Every seed's contribution to the ratio, (seeds,); nan for seeds that it lacks."""
    known = dict(zip(ratio.seeds, ratio.contributions, strict=True))
    return np.array([known.get(seed, np.nan) for seed in seeds])


def _late_means(curves: np.ndarray) -> np.ndarray:
    """For every seed the mean of what was measured in the last window: (seeds, tasks) -> (seeds,).

    The last value measured if that is earlier; nan if nothing was measured.
    """
    tasks = curves.shape[1]
    found = np.full(len(curves), np.nan)
    known = ~np.isnan(curves)
    # Most seeds are measured at the same tasks; these are averaged together.
    rows_of: dict[bytes, list[int]] = {}
    for row, own in enumerate(known):
        rows_of.setdefault(own.tobytes(), []).append(row)
    for rows in rows_of.values():
        measured = np.flatnonzero(known[rows[0]])
        if len(measured):
            late = measured[measured >= tasks - window(tasks)]
            values = curves[rows][:, late if len(late) else measured[-1:]]
            found[rows] = np.ascontiguousarray(values).mean(axis=1)
    return found


def _cost(own: MeasuredCell, none: MeasuredCell | None) -> np.ndarray:
    """Training time over the mean time of `none` in equal batches, (seeds,); nan if there are none."""
    plain: dict[tuple[object, ...], list[float]] = {}
    for batch, seconds in zip(none.batches, none.seconds, strict=True) if none else ():
        plain.setdefault(batch, []).append(seconds)
    means = np.array([np.mean(plain.get(batch, [np.nan])) for batch in own.batches])
    return own.seconds / np.where(means > 0, means, np.nan)
