"""``leaderboard --replay``: trains seeds of submissions again and compares the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import Cell
from plasticity_bench.records.configuration import CellPlan, plan_cell
from plasticity_bench.records.documents import SeedRecord
from plasticity_bench.records.seed_tables import SeedTables
from plasticity_bench.records.tables import Table
from plasticity_bench.registry.settings import choice_text, setting_texts
from plasticity_bench.running.plan import Planned, open_cells
from plasticity_bench.scoring.metrics import first_not_finite
from plasticity_bench.scoring.notes import divergence
from plasticity_bench.scoring.twins import LOSS
from plasticity_bench.specs import late_tasks
from plasticity_bench.submissions.model import Submission
from plasticity_bench.submissions.reader import source_name

if TYPE_CHECKING:
    from rich.console import Console

#: Tolerance of the mean performance in a replayed table, over all its tasks and over the late ones, as a
#: fraction of the recorded mean or of 1, whichever is larger. With the same versions, device and processor
#: type a replay is bit-identical; the tolerance allows for another processor model.
TOLERANCE = 0.01
#: Columns that follow from training alone. Diagnostics may differ in their last digits.
TRAINING = frozenset({"online_performance", "final_performance", "online_loss", "target_variance"})
#: Libraries whose version can change a table's bits.
VERSIONS = ("torch", "numpy", "scikit-learn", "avalanche-lib", "pybullet", "gymnasium")


class Pair(NamedTuple):
    """One seed of one submission on one stream."""

    submission: Submission
    stream: str
    seed: int


@dataclass(frozen=True)
class TableOutcome:
    """The result of replaying one table: how it differs from the submitted one."""

    kind: str  # "seed", or "fresh" for the table of its fresh twins
    largest: Mapping[str, float]  # column -> largest difference, only of columns that differ
    first_task: int | None  # the first task with a difference; None: the tables are bit-identical
    score: float  # largest relative difference of the mean performances: see TOLERANCE
    changed: tuple[str, ...]  # versions and hardware that differ from the recorded ones
    divergence: str = ""  # what to say if the network that was trained again is not finite at the end

    @property
    def same_training(self) -> bool:
        """Whether performance and loss are bit-identical.

        Diagnostics may still differ in their last digits: unlike training, they can depend on the number of
        seeds in a stack.
        """
        return not self.largest.keys() & TRAINING

    @property
    def failed(self) -> bool:
        """Whether the score differs although versions and hardware are the same."""
        return not self.changed and not self.score <= TOLERANCE


@dataclass(frozen=True)
class Outcome:
    """The result of replaying ``pair``: its table and, if they are submitted, that of its fresh twins."""

    pair: Pair
    tables: tuple[TableOutcome, ...]

    @property
    def same(self) -> bool:
        """Whether all columns are bit-identical."""
        return all(table.first_task is None for table in self.tables)

    @property
    def same_training(self) -> bool:
        """Whether performance and loss are bit-identical in all tables."""
        return all(table.same_training for table in self.tables)

    @property
    def failed(self) -> bool:
        """Whether a score differs although versions and hardware are the same."""
        return any(table.failed for table in self.tables)


def draw_pairs(
    submissions: Sequence[Submission], count: int, seed: int, streams: Sequence[str] | None = None
) -> list[Pair]:
    """``count`` different pairs, drawn uniformly.

    Args:
        submissions: what to draw from, in any order.
        count: how many; all if there are fewer.
        seed: of the draw.
        streams: draw only from these streams (names of their folders). None: from all.

    Raises:
        InputError: if there is no such pair.
    """
    pairs = [
        Pair(submission, stream, recorded)
        for submission in sorted(submissions, key=lambda submission: submission.name)
        for stream, evidence in submission.streams.items()
        if streams is None or stream in streams
        for recorded in evidence.seeds
    ]
    if not pairs:
        raise InputError("the submissions hold no seed of these streams")
    chosen = np.random.default_rng(seed).choice(len(pairs), min(count, len(pairs)), replace=False)
    return [pairs[index] for index in chosen]


def replay(
    pairs: Sequence[Pair], workers: int, devices: Sequence[str], console: Console, trust: bool
) -> list[Outcome]:
    """Trains the pairs again in a temporary folder and compares the tables.

    Fresh twins are trained only if the submission has them.

    Raises:
        InputError: if submitted code would run and ``trust`` is False.
    """
    from plasticity_bench.running import launch

    foreign = sorted({p.submission.name for p in pairs if p.submission.recorded.source != "builtin"})
    if foreign and not trust:
        raise InputError(
            f"{', '.join(foreign)}: a replay runs the submitted code on this machine; "
            "read it first, then add --trust"
        )
    with TemporaryDirectory(prefix="plasticity_bench-replay-") as temporary:
        planned = [_planned(Path(temporary), pair) for pair in pairs]
        launch.train_missing(_joined(planned), workers, devices, console)
        return [_compare(pair, item.cell) for pair, item in zip(pairs, planned, strict=True)]


def _planned(runs: Path, pair: Pair) -> Planned:
    """The pair as a cell to train in ``runs``."""
    (item,) = open_cells(runs, [plan_of(pair.submission, pair.stream)], [pair.seed], _has_twins(pair))
    return item


def _has_twins(pair: Pair) -> bool:
    """Whether the seed's fresh twins are submitted."""
    return pair.seed in pair.submission.streams[pair.stream].fresh_origins


def _joined(planned: Sequence[Planned]) -> list[Planned]:
    """The same with one item per cell: two submissions may be of the same configuration."""
    joined: dict[Path, Planned] = {}
    for item in planned:
        other = joined.get(item.cell.path, item)
        seeds = tuple(sorted({*item.seeds, *other.seeds}))
        joined[item.cell.path] = replace(item, seeds=seeds, twins=item.twins or other.twins)
    return list(joined.values())


def plan_of(submission: Submission, stream: str) -> CellPlan:
    """The plan of the submission's cell on a stream (its folder).

    A plug-in is loaded from the submission's folder.
    """
    config = submission.streams[stream].cell.config
    method = config.method
    origins, names = method.source.split("+"), method.name.split("+")
    if method.source == "builtin":
        parts = [method.name]
    else:
        parts = [
            name if origin == "builtin" else _plugin_name(submission, origin)
            for origin, name in zip(origins, names if len(origins) > 1 else origins, strict=True)
        ]
    stream_text = choice_text(config.stream.name, config.stream.settings)
    return plan_cell(stream_text, "+".join(parts), setting_texts(method.settings))


def _plugin_name(submission: Submission, origin: str) -> str:
    return f"{submission.folder.resolve() / source_name(origin)}:{origin.rpartition(':')[2]}"


def _compare(pair: Pair, cell: Cell) -> Outcome:
    """The recorded table against that of the replay, in the columns that the recorded one holds."""
    evidence = pair.submission.streams[pair.stream]
    tables = [_compare_tables(evidence.cell, evidence.cell.trained, cell.trained, pair.seed)]
    if _has_twins(pair):
        tables.append(_compare_tables(evidence.cell, evidence.cell.fresh, cell.fresh, pair.seed))
    return Outcome(pair, tuple(tables))


def _compare_tables(cell: Cell, submitted: SeedTables, trained: SeedTables, seed: int) -> TableOutcome:
    """Compares the submitted table of a seed with the one that was trained again.

    ``cell`` is the submitted one.
    """
    recorded, again = submitted.table(seed), trained.table(seed)
    differing = {
        name: ~((recorded[name] == again[name]) | (np.isnan(recorded[name]) & np.isnan(again[name])))
        for name in submitted.columns_held(seed)
    }
    differing = {name: tasks for name, tasks in differing.items() if tasks.any()}
    largest = {
        name: float(np.abs(recorded[name] - again[name])[tasks].max()) for name, tasks in differing.items()
    }
    first_tasks = [submitted.tasks[int(np.flatnonzero(tasks)[0])] for tasks in differing.values()]
    return TableOutcome(
        submitted.kind,
        largest,
        min(first_tasks, default=None),
        _score_difference(cell, recorded, again),
        _changed(submitted.provenance(seed), trained.provenance(seed)),
        "" if submitted.kind == "fresh" else _divergence(cell, again, seed),
    )


def _divergence(cell: Cell, again: Table, seed: int) -> str:
    """``scoring.notes.divergence`` of a table that was trained again."""
    columns = (again[name][None] for name in (cell.config.stream.score, LOSS, "weight_norm"))
    first = int(first_not_finite(*columns)[0])
    return divergence({seed: first}) if first < cell.tasks else ""


def _score_difference(cell: Cell, recorded: Table, again: Table) -> float:
    """The largest relative difference of the mean performances, over all tasks and over the late ones.

    The targets' variance in the table of fresh twins is compared in the same way: it weights the performance.
    nan if a value is missing in one of the tables only.
    """
    late = recorded["task"] >= late_tasks(cell.tasks).start
    found = [0.0]
    for name in {cell.config.stream.score, "target_variance"} & recorded.keys():
        known = ~np.isnan(recorded[name])
        if not np.array_equal(known, ~np.isnan(again[name])):
            return math.nan
        for rows in (known, known & late):
            if rows.any():
                mean = recorded[name][rows].mean()
                found.append(abs(mean - again[name][rows].mean()) / max(1.0, abs(mean)))
    return float(np.max(found))


def _changed(recorded: SeedRecord, again: SeedRecord) -> tuple[str, ...]:
    found: list[tuple[str, str | None, str | None]] = [("device", recorded.device, again.device)]
    for theirs, ours, names in (
        (recorded.versions.as_json(), again.versions.as_json(), VERSIONS),
        (recorded.hardware.as_json(), again.hardware.as_json(), tuple(recorded.hardware.as_json())),
    ):
        found += [(name, theirs.get(name), ours.get(name)) for name in names if name in theirs]
    return tuple(f"{name} {ours} (recorded: {theirs})" for name, theirs, ours in found if theirs != ours)
