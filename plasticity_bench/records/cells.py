"""Cells: the records of a run on disk. Only this module reads and writes them.

    runs/<stream>-v<n>/<method>-<hash8>/config.json      what was run: stream, method, every setting
                                       /seed-000.csv     one row per task; bit-identical at every rerun
                                       /seed-000.json    how it was run: versions, hardware, training time
                                       /fresh-000.*      the same of its fresh twins: one row per twin
            /<method>-<hash8>-tuned/tuning.json          if a sweep chose the settings: its table
                                       /seed-000.*       if an agent acts: its rollouts and final policy
                                       /source/*.py      of a plug-in: the source that was trained
                                       /checkpoint-*.pt  while a stack of seeds is unfinished

A fresh twin is the same learner started from scratch at a task, and trained on that task alone.
Nothing that depends on the clock or the machine goes into config.json or the tables.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from plasticity_bench.errors import InputError
from plasticity_bench.records.documents import (
    CellConfig,
    SweepTable,
    differences,
    read_document,
    recorded_identity,
)
from plasticity_bench.records.names import TUNED_MARK, cell_label, recorded_stream_folder
from plasticity_bench.records.seed_tables import SeedTables
from plasticity_bench.records.tables import (
    COLUMNS,
    CONTROL_COLUMNS,
    FRESH_COLUMNS,
    ROLLOUT_COLUMNS,
    WHOLE,
    Table,
    parse_table,
)
from plasticity_bench.specs import twin_tasks
from plasticity_bench.storage.documents import convert
from plasticity_bench.storage.files import write_bytes
from plasticity_bench.storage.untrusted import Refused

#: Suffixes of files next to a table if an agent acts: its rollouts, and its final policy.
ROLLOUTS, POLICY = ".rollouts.csv", ".policy.pt"
#: If a sweep chose the settings, its table is next to config.json, and the folder's name has this ending.
CONFIG, TUNING, TUNED = "config.json", "tuning.json", "-tuned"
#: Folder in a plug-in's cell with the source that was trained.
SOURCE = "source"


@dataclass(frozen=True)
class Cell:
    """The seeds of one configuration: a stream, a method and its settings."""

    path: Path  # the folder
    config: CellConfig = field(hash=False)  # all that the scores depend on, apart from the seed
    tuning: SweepTable | None = field(default=None, hash=False)  # the sweep that chose the settings, if any

    @property
    def stream(self) -> str:
        """The stream's folder name, ``permuted-digits-v1`` (with ``_key=value`` if settings differ)."""
        return self.path.parent.name

    @property
    def method(self) -> str:
        """The method's name in scores: ``configuration``, or ``l2 (tuned)`` if a sweep chose the settings."""
        return f"{self.tuning.method}{TUNED_MARK}" if self.tuning else self.configuration

    @property
    def configuration(self) -> str:
        """The method with the settings that differ from the defaults: ``l2:strength=0.01``."""
        return self.config.method.label

    @property
    def label(self) -> str:
        """``permuted-digits-v1/syre-1a2b3c4d``"""
        return cell_label(self.path)

    @property
    def tasks(self) -> int:
        """Number of tasks, which is the number of rows in every table."""
        return self.config.stream.tasks

    @property
    def columns(self) -> Mapping[str, str]:
        """The tables' columns: ``COLUMNS``, and ``CONTROL_COLUMNS`` if an agent acts."""
        return {**COLUMNS, **CONTROL_COLUMNS} if self.config.acts else COLUMNS

    @cached_property
    def trained(self) -> SeedTables:
        """The tables of the seeds: one row per task."""
        return SeedTables(self.path, "seed", self.columns, tuple(range(self.tasks)))

    @cached_property
    def fresh(self) -> SeedTables:
        """The tables of the seeds' fresh twins: one row per task of ``specs.twin_tasks``."""
        return SeedTables(self.path, "fresh", FRESH_COLUMNS, twin_tasks(self.tasks))

    def seeds(self) -> list[int]:
        """The recorded seeds, ascending."""
        return self.trained.seeds()

    def rollouts(self, seed: int) -> Table | None:
        """Column of ``ROLLOUT_COLUMNS`` -> array of shape (rollouts,); None if there are no rollouts.

        Raises InputError if they are damaged.
        """
        path = self.trained.path(seed).with_suffix(ROLLOUTS)
        if not path.exists():
            return None
        try:
            return parse_table(path.read_bytes(), ROLLOUT_COLUMNS, WHOLE)
        except Refused as error:
            raise InputError(f"{path} is damaged ({error}); delete it: only figures need it") from None


def open_cell(
    runs: Path,
    stream_folder: str,
    method_folder: str,
    config: CellConfig,
    tuning: SweepTable | None = None,
    sources: Mapping[str, bytes] = MappingProxyType({}),
) -> Cell:
    """The cell in the run folder; its folder and config.json are made if they are missing.

    Args:
        runs: The run folder.
        stream_folder: The folder's name for the stream.
        method_folder: The folder's name for the method, without the ending of tuned cells.
        config: The configuration.
        tuning: The sweep that chose the settings; None if no sweep did.
        sources: File name -> content of the plug-ins that are trained.

    Raises:
        InputError: A folder of that name holds another configuration, sweep or protocol version.
    """
    path = runs / stream_folder / f"{method_folder}{TUNED if tuning else ''}"
    if (path / CONFIG).exists():
        found = read_cell(path)
        differing = differences(found.config.as_json(), convert(config.as_json(), CellConfig).as_json())
        if tuning and found.tuning != tuning:
            differing.append(TUNING)
        if differing:
            raise InputError(
                f"{path} was recorded with another configuration ({', '.join(differing)} differ); "
                "move it away or choose another --runs folder"
            )
        return found
    if path.exists() and any(path.glob("seed-*.json")):
        raise InputError(
            f"{path} holds records but no config.json; restore it: is it there under another name?"
        )
    for name, content in sources.items():
        write_bytes(path / SOURCE / name, content)
    if tuning:
        write_bytes(path / TUNING, tuning.to_bytes())
    write_bytes(path / CONFIG, config.to_bytes())
    return read_cell(path)


def read_cell(path: Path) -> Cell:
    """The cell in a folder. Raises InputError if its config.json or tuning.json is missing, damaged, or of
    another protocol version."""
    advice = "move the folder away and run again"
    config = read_document(path / CONFIG, CellConfig, advice)
    tuning = read_document(path / TUNING, SweepTable, advice) if path.name.endswith(TUNED) else None
    if tuning and tuning.chosen >= len(tuning.configurations):
        raise InputError(f"{path / TUNING} is damaged (it chose a configuration that it lacks); {advice}")
    return Cell(path, config, tuning)


def find_cells(runs: Path) -> list[Cell]:
    """Every cell in a folder, ordered by stream and method.

    ``runs`` may be a run folder, a folder of submissions, or a submission. Raises InputError if there is no
    cell, or one is damaged, there twice, or in the folder of another stream.
    """
    places = ("*/*", "*/records/*/*", "records/*/*")
    paths = {path.parent for place in places for path in runs.glob(f"{place}/{CONFIG}")}
    found = [read_cell(path) for path in sorted(paths, key=lambda path: (path.parts[-2:], path))]
    _check_places(found)
    if not found:
        raise InputError(
            f"no records in {runs}; "
            f"make some with `python -m plasticity_bench run --method syre --runs {shlex.quote(str(runs))}`"
        )
    return found


def _check_places(cells: Sequence[Cell]) -> None:
    """Raises InputError if a cell is in the folder of another stream, or two are of one configuration."""
    known: dict[str, Cell] = {}
    for cell in cells:
        stream = cell.config.stream
        folder = recorded_stream_folder(stream.name, stream.version, stream.label)
        if cell.stream != folder:
            raise InputError(
                f"{cell.path} holds records of {folder}, not of {cell.stream}: move it to "
                f"{cell.path.parent.with_name(folder)}"
            )
        tuning = cell.tuning.as_json() if cell.tuning else None
        config = {**cell.config.as_json(), "stream": folder, "method": recorded_identity(cell.config.method)}
        other = known.setdefault(json.dumps([config, tuning], sort_keys=True), cell)
        if other is not cell:
            raise InputError(
                f"{other.path} and {cell.path} are records of one configuration, {cell.method} on "
                f"{cell.stream}: move one of them away"
            )
