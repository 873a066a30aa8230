"""Metrics of single seeds: what is computed from one table, its references and its training time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.records.cells import Cell
from plasticity_bench.records.documents import Origin
from plasticity_bench.records.tables import COLUMNS, Table
from plasticity_bench.scoring.references import REFERENCE_OF
from plasticity_bench.stats.bootstrap import theil_sen

#: Metric -> definition, in the order in which tables show them. `none` and `reset` are methods.
METRICS: Mapping[str, str] = {
    "retained_plasticity": "(mean performance in the last window - chance) / (mean performance of `none` in "
    "its first window, same seed - chance). 1: nothing lost against what a plain network could learn at the "
    "start. Higher is better; the ranking column.",
    "plasticity_loss": "mean performance in the method's own first window minus that in its last window. "
    "Lower is better.",
    "trend": "Theil-Sen slope of the performance, per 100 tasks. Below 0: plasticity is being lost.",
    "average_performance": "mean performance over all tasks. Higher is better.",
    "fresh_gap": "mean over the last window of (performance of `reset`, a freshly initialised network on the "
    "same task with the same seed, minus the method's own). Above 0: worse than a fresh start.",
    "dormant_fraction": "share of hidden units with a ReDo score of at most 0.025 (arXiv 2302.12902), mean "
    "over the last window, or at the last task measured.",
    "effective_rank": "exp of the entropy of the normalised singular values of the hidden features (Roy & "
    "Vetterli 2007), mean over hidden layers and the last window, or at the last task measured.",
    "weight_norm": "L2 norm of all parameters, mean over the last window, or at the last task measured.",
    "cost": "training time of a seed (processor time on a CPU) divided by the mean training time of `none` "
    "with the same stack size on the same device. 1: as fast as a plain network.",
}

#: Columns measured at some tasks only, whose late mean is a metric.
DIAGNOSTICS = ("dormant_fraction", "effective_rank", "weight_norm")


@dataclass(frozen=True, eq=False)
class MeasuredCell:
    """What scores need from the tables of a cell.

    ``curves``: "performance" and ``DIAGNOSTICS``, each (seeds, tasks). ``seconds``: training time, (seeds,).
    ``batches``: (stack size, device, hardware) of every seed; times are comparable only if these are equal.
    ``fresh``: seed -> the table of its fresh twins, of seeds that have one.
    """

    cell: Cell
    seeds: tuple[int, ...]
    curves: Mapping[str, np.ndarray]
    seconds: np.ndarray
    batches: tuple[tuple[object, ...], ...]
    fresh: Mapping[int, Table] = field(default_factory=dict)

    @cached_property
    def trend(self) -> np.ndarray:
        """Theil-Sen slope of the performance per 100 tasks, (seeds,)."""
        return np.array([100 * theil_sen(curve) for curve in self.curves["performance"]])

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean performance in the first and in the last window, each (seeds,)."""
        performance, size = self.curves["performance"], window(self.cell.tasks)
        start = self.cell.config.stream.warmup_tasks
        return performance[:, start : start + size].mean(axis=1), performance[:, -size:].mean(axis=1)

    def with_cell(self, cell: Cell) -> MeasuredCell:
        """The same with the cell described in other words."""
        made = replace(self, cell=cell)
        vars(made).update({name: value for name, value in vars(self).items() if name not in vars(made)})
        return made

    def of(self, seeds: Sequence[int]) -> MeasuredCell:
        """These of the seeds, in this order."""
        rows = [self.seeds.index(seed) for seed in seeds]
        curves = {name: values[rows] for name, values in self.curves.items()}
        fresh = {seed: self.fresh[seed] for seed in seeds if seed in self.fresh}
        batches = tuple(self.batches[row] for row in rows)
        return MeasuredCell(self.cell, tuple(seeds), curves, self.seconds[rows], batches, fresh)


def window(tasks: int) -> int:
    """Number of tasks in the first and in the last window: 10%, rounded down, at least one.

    The first window starts after the stream's ``warmup_tasks``, which differ in kind from the others.
    """
    return max(1, tasks // 10)


def measure(cell: Cell) -> MeasuredCell:
    """Reads every recorded seed of ``cell``. Raises InputError if a record is damaged."""
    found = measure_tables(cell, *cell.trained.records(cell.seeds(), _columns(cell).values()))
    _ = found.trend  # slow; computed here, in a worker process, and kept
    return found


def measure_tables(
    cell: Cell,
    tables: Mapping[int, Table],
    origins: Sequence[Origin],
    fresh: Mapping[int, Table] | None = None,
) -> MeasuredCell:
    """The same from ``tables`` (seed -> table), ``origins`` (how each seed was run) and ``fresh`` (seed ->
    table of its fresh twins), already read.

    Raises InputError if the column that the cell is scored by is unknown.
    """
    curves = {
        name: np.array([table[column] for table in tables.values()]).reshape(len(tables), cell.tasks)
        for name, column in _columns(cell).items()
    }
    seconds = np.array([origin.seconds for origin in origins])
    batches = tuple((origin.stack, origin.device, origin.hardware) for origin in origins)
    return MeasuredCell(cell, tuple(tables), curves, seconds, batches, dict(fresh or {}))


def _columns(cell: Cell) -> dict[str, str]:
    """Curve -> the column of the tables that holds it."""
    scored = cell.config.stream.score
    if scored not in COLUMNS:
        known = did_you_mean(scored, COLUMNS)
        raise InputError(f"{cell.path} is scored by an unknown column {scored!r}; {known}")
    return {"performance": scored, **{name: name for name in DIAGNOSTICS}}


def seed_metrics(
    own: MeasuredCell, references: Mapping[str, MeasuredCell]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """metric -> values (seeds,), and metric -> whether the metric is defined for a seed (seeds,).

    ``references``: the cells of `none` and `reset` on the same stream, if recorded. A metric is not defined
    if the reference lacks the seed, or nothing was measured or timed. A value can be nan and still be
    defined: the performance was nan, or `none` was not above chance, so that there is no ratio.
    """
    chance = own.cell.config.stream.chance
    performance = own.curves["performance"]
    first, last = own.ends()
    room = _first_or_last(own, references.get("none"), 0) - chance
    values = {
        "retained_plasticity": (last - chance) / np.where(room > 0, room, np.nan),
        "plasticity_loss": first - last,
        "trend": own.trend,
        "average_performance": performance.mean(axis=1),
        "fresh_gap": _first_or_last(own, references.get("reset"), 1) - last,
        **{name: _late_means(own.curves[name]) for name in DIAGNOSTICS},
        "cost": _cost(own, references.get("none")),
    }
    defined = {name: np.ones(len(own.seeds), dtype=bool) for name in METRICS}
    for name, method in REFERENCE_OF.items():
        defined[name] = np.isin(own.seeds, references[method].seeds if method in references else ())
    for name in (*DIAGNOSTICS, "cost"):
        defined[name] = ~np.isnan(values[name])
    if own.cell.tasks < 2:
        defined["trend"][:] = False
    return values, defined


def _first_or_last(own: MeasuredCell, reference: MeasuredCell | None, which: int) -> np.ndarray:
    """The reference's mean in its first (0) or last (1) window for the seeds of ``own``.

    (seeds,); nan if the reference lacks the seed.
    """
    known = dict(zip(reference.seeds, reference.ends()[which], strict=True)) if reference else {}
    return np.array([known.get(seed, np.nan) for seed in own.seeds])


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
