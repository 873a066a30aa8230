"""The points of runs, read from the tables of finished seeds and the checkpoints of unfinished ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from plasticity_bench.records.cells import Cell
from plasticity_bench.records.checkpoints import checkpoint_path, checkpoint_seeds
from plasticity_bench.records.documents import PROTOCOL
from plasticity_bench.records.tables import ROLLOUT_COLUMNS, Table
from plasticity_bench.tracking.sinks.base import Point

#: Column -> value, at one task or rollout.
ColumnValues = Mapping[str, float]


def recorded_points(cell: Cell, seed: int) -> list[Point]:
    """All points of a recorded seed. Raises InputError if the record is damaged."""
    return merged_points(_rows(cell.trained.table(seed)), _rows(cell.rollouts(seed) or {}))


def merged_points(rows: Iterable[ColumnValues], rollouts: Sequence[ColumnValues]) -> list[Point]:
    """The points of every task: first those of its rollouts, if any, then that of its row.

    So the points after fewer tasks are the first of the points after more tasks.
    """
    points: list[Point] = []
    done = 0
    for row in rows:
        while done < len(rollouts) and rollouts[done]["task"] <= row["task"]:
            points.append(_rollout(rollouts[done]))
            done += 1
        points.append(Point("task", int(row["task"]), _measured(row, "task")))
    return points + [_rollout(rollout) for rollout in rollouts[done:]]


class Checkpoints:
    """Reads the points of unfinished seeds when their checkpoint has changed.

    Points of a checkpoint stay valid: a run that is killed resumes from it, and its results are bit-identical
    to those of an uninterrupted run.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, int]] = {}

    def changed(self, cell: Cell, recorded: Sequence[int]) -> dict[int, list[Point]]:
        """Seed -> its points so far, for seeds not ``recorded`` whose checkpoint is new."""
        found: dict[int, list[Point]] = {}
        for seeds in checkpoint_seeds(cell.path):
            path = checkpoint_path(cell.path, seeds)
            try:
                state = path.stat()
                if self._seen.get(path) == (state.st_mtime_ns, state.st_size):
                    continue
                self._seen[path] = (state.st_mtime_ns, state.st_size)
                points = _of_checkpoint(path, seeds)
            except Exception:  # gone by now, or damaged, which the run that resumes from it reports
                continue
            found |= {seed: of_seed for seed, of_seed in points.items() if seed not in recorded}
        return found


def _of_checkpoint(path: Path, seeds: Sequence[int]) -> dict[int, list[Point]]:
    import torch

    # Memory-mapped: the rows are small, and the weights are not read.
    state = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    if state["protocol"] != PROTOCOL or tuple(state["seeds"]) != tuple(seeds):
        return {}
    rows = state["learner"]["rows"]
    rollouts = state["learner"].get("rollouts") or [[] for _ in seeds]
    return {
        seed: merged_points(
            of_tasks, [dict(zip(ROLLOUT_COLUMNS, entry, strict=True)) for entry in of_rollouts]
        )
        for seed, of_tasks, of_rollouts in zip(seeds, rows, rollouts, strict=True)
    }


def _rows(table: Table) -> list[ColumnValues]:
    columns = [values.tolist() for values in table.values()]
    return [dict(zip(table, values, strict=True)) for values in zip(*columns, strict=True)]


def _rollout(row: ColumnValues) -> Point:
    return Point("rollout", int(row["steps"]), _measured(row, "task", "steps"))


def _measured(row: ColumnValues, *steps: str) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name not in steps and value == value}
