"""Fresh twins: the same learner started from scratch at a task, and what it reaches on that task alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from plasticity_bench.records.cells import Cell
from plasticity_bench.records.tables import Table
from plasticity_bench.specs import late_tasks

#: Unit of a score for which tasks are weighted by the variance of their targets. A task's R2 is 1 - MSE /
#: variance. Weighted by the variance, the sum over tasks is the R2 of all their examples together.
WEIGHTED_UNIT = "R2"
#: The column that shows whether a network is finite.
LOSS = "online_loss"


@dataclass(frozen=True, eq=False)
class Twins:
    """The fresh twins of a cell's seeds.

    ``performance`` and ``weights`` (of the tasks; 1 unless the score is an R2): (seeds, tasks).
    ``not_finite``: seed -> how many of its twins diverged. Their performance is chance.
    """

    seeds: tuple[int, ...]
    tasks: tuple[int, ...]
    performance: np.ndarray
    weights: np.ndarray
    not_finite: Mapping[int, int] = field(default_factory=dict)

    def of(self, seeds: Sequence[int]) -> Twins:
        """These of the seeds, in this order."""
        rows = [self.seeds.index(seed) for seed in seeds]
        lost = {seed: count for seed, count in self.not_finite.items() if seed in seeds}
        return Twins(tuple(seeds), self.tasks, self.performance[rows], self.weights[rows], lost)


def columns_of_twins(cell: Cell) -> tuple[str, ...]:
    """The columns of the tables of fresh twins that scores need."""
    weights = ("target_variance",) if cell.config.stream.unit == WEIGHTED_UNIT else ()
    return (cell.config.stream.score, LOSS, *weights)


def twins_of(cell: Cell, tables: Mapping[int, Table]) -> Twins:
    """The twins from their ``tables``, seed -> table."""
    tasks = cell.fresh.tasks
    shape = (len(tables), len(tasks))
    scored, _, *weights = columns_of_twins(cell)
    performance = np.array([table[scored] for table in tables.values()]).reshape(shape)
    found = np.ones(shape)
    for name in weights:
        found = np.array([table[name] for table in tables.values()]).reshape(shape)
    lost = ~np.isfinite(np.array([table[LOSS] for table in tables.values()]).reshape(shape))
    performance = np.where(lost, cell.config.stream.chance, performance)
    not_finite = {seed: int(row.sum()) for seed, row in zip(tables, lost, strict=True) if row.any()}
    return Twins(tuple(tables), tasks, performance, found, not_finite)


def late_places(tasks: Sequence[int], count: int) -> np.ndarray:
    """Where the late tasks of a stream of ``count`` tasks stand in ``tasks``, which are ascending."""
    return np.flatnonzero(np.asarray(tasks) >= late_tasks(count).start)
