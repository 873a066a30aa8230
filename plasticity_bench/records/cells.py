"""Cells: the records of a run on disk. Only this module reads and writes them.

    runs/<stream>-v<n>/<method>-<hash8>/config.json      what was run: stream, method, every setting
                                       /seed-000.csv     one row per task; bit-identical at every rerun
                                       /seed-000.json    how it was run: versions, hardware, training time
            /<method>-<hash8>-tuned/tuning.json          if a sweep chose the settings: its table
                                       /seed-000.*       if an agent acts: its rollouts and final policy
                                       /source/*.py      of a plug-in: the source that was trained
                                       /checkpoint-*.pt  while a stack of seeds is unfinished

A seed is recorded once its .json file exists: it is written last and holds the checksum of the table.
Nothing that depends on the clock or the machine goes into config.json or the tables.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from msgspec.structs import asdict

from plasticity_bench.errors import InputError
from plasticity_bench.records.documents import (
    CellConfig,
    Origin,
    SeedRecord,
    SweepTable,
    differences,
    read_document,
)
from plasticity_bench.records.names import cell_label, recorded_seeds, seed_stem
from plasticity_bench.records.tables import (
    COLUMNS,
    CONTROL_COLUMNS,
    ROLLOUT_COLUMNS,
    WHOLE,
    Table,
    columns_held,
    parse_table,
    read_columns,
    read_many,
    to_csv,
)
from plasticity_bench.storage.documents import convert
from plasticity_bench.storage.files import sha256, write_bytes
from plasticity_bench.storage.untrusted import Refused

#: Suffixes of files next to a table if an agent acts: its rollouts, and its final policy.
ROLLOUTS, POLICY = ".rollouts.csv", ".policy.pt"
#: If a sweep chose the settings, its table is next to config.json, and the folder's name has this ending.
CONFIG, TUNING, TUNED = "config.json", "tuning.json", "-tuned"
#: Folder in a plug-in's cell with the source that was trained.
SOURCE = "source"
#: Ending of the label of a method whose settings a sweep chose.
TUNED_MARK = " (tuned)"
#: Number of tables that are read together: more do not fit the cache of a core.
AT_ONCE = 16


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

    def table_path(self, seed: int) -> Path:
        """The file of the table of ``seed``, which may not exist yet."""
        return self.path / f"{seed_stem(seed)}.csv"

    def seeds(self) -> list[int]:
        """The recorded seeds, ascending."""
        return recorded_seeds(self.path)

    def provenance(self, seed: int) -> SeedRecord:
        """How a seed was trained. Raises InputError if the record is missing, damaged or of another seed."""
        path = self.table_path(seed).with_suffix(".json")
        record = read_document(path, SeedRecord, _advice(self, seed))
        if record.seed != seed:
            raise InputError(
                f"{path} is the record of seed {record.seed}, not {seed}: give both of its files their name "
                "back, or move them away"
            )
        return record

    def table(self, seed: int) -> Table:
        """Column -> array of shape (tasks,), with nan where nothing was measured.

        Raises InputError if the table is missing or damaged.
        """
        return self._table(seed, self._read(seed)[0])

    def columns_held(self, seed: int) -> list[str]:
        """The columns that the table of ``seed`` holds: older tables lack ``YOUNGER_COLUMNS``.

        Raises InputError if the table is missing or damaged.
        """
        data, _ = self._read(seed)
        self._table(seed, data)
        return columns_held(data, self.columns)

    def records(
        self, seeds: Sequence[int], columns: Collection[str]
    ) -> tuple[dict[int, Table], list[SeedRecord]]:
        """Reads the records of several seeds.

        Args:
            seeds: Recorded seeds.
            columns: The columns that are needed; the column "task" is always read.

        Returns:
            Seed -> its table (see ``table``) with these columns; and how each seed was trained, in order.

        Raises:
            InputError: A record is damaged, or a table does not have the recorded checksum.
        """
        tables: dict[int, Table] = {}
        origins = []
        for start in range(0, len(seeds), AT_ONCE):
            batch = seeds[start : start + AT_ONCE]
            read = [self._read(seed) for seed in batch]
            origins += [provenance for _, provenance in read]
            needed = {"task", *columns}
            found = read_many([data for data, _ in read], self.columns, needed, self.tasks)
            valid = found is not None and (found["task"] == np.arange(self.tasks)).all()
            for index, (seed, (data, _)) in enumerate(zip(batch, read, strict=True)):
                table = {name: values[index] for name, values in found.items()} if found and valid else None
                tables[seed] = table or self._table(seed, data, needed)
        return tables, origins

    def _read(self, seed: int) -> tuple[bytes, SeedRecord]:
        """The bytes of the seed's table, whose checksum is right, and how the seed was trained."""
        path = self.table_path(seed)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}; {_advice(self, seed)}") from error
        provenance = self.provenance(seed)
        if sha256(data) != provenance.sha256:
            raise InputError(
                f"{path} is damaged (its checksum differs from the one recorded); {_advice(self, seed)}"
            )
        return data, provenance

    def _table(self, seed: int, data: bytes, needed: Collection[str] | None = None) -> Table:
        path, advice = self.table_path(seed), _advice(self, seed)
        try:
            table = read_columns(data, self.columns, needed)
        except Refused as error:
            raise InputError(f"{path} is not a table of {self.tasks} tasks: it {error}; {advice}") from None
        if not np.array_equal(table["task"], np.arange(self.tasks)):
            raise InputError(f"{path} is not a table of {self.tasks} tasks; {advice}")
        return table

    def rollouts(self, seed: int) -> Table | None:
        """Column of ``ROLLOUT_COLUMNS`` -> array of shape (rollouts,); None if there are no rollouts.

        Raises InputError if they are damaged.
        """
        path = self.table_path(seed).with_suffix(ROLLOUTS)
        if not path.exists():
            return None
        try:
            return parse_table(path.read_bytes(), ROLLOUT_COLUMNS, WHOLE)
        except Refused as error:
            raise InputError(f"{path} is damaged ({error}); delete it: only figures need it") from None

    def write_seed(
        self,
        seed: int,
        rows: Sequence[Mapping[str, float]],
        origin: Origin,
        extra: Mapping[str, bytes] | None = None,
    ) -> None:
        """Records a finished seed.

        Args:
            seed: The seed.
            rows: Column -> value, for every task.
            origin: How it was trained.
            extra: Suffix (``.rollouts.csv``) -> content of further files.

        Raises:
            InputError: The seed is recorded already, or another table of it is there: nothing is replaced.
            CannotWrite: The disk is full or the folder is not writable.
        """
        data = to_csv(self.columns, [[row.get(name) for name in self.columns] for row in rows])
        path = self.table_path(seed)
        if path.with_suffix(".json").exists():
            raise InputError(f"{path} is recorded already, not overwritten; move it away to run it again")
        # A table without its .json is of a run that was killed in between: then the two are equal.
        if path.exists() and path.read_bytes() != data:
            raise InputError(
                f"{path} has no .json and differs from what this run made, not overwritten; "
                "move it away and run the same command again"
            )
        for suffix, content in (extra or {}).items():
            write_bytes(path.with_suffix(suffix), content)
        write_bytes(path, data)
        record = SeedRecord(**asdict(origin), seed=seed, sha256=sha256(data))
        write_bytes(path.with_suffix(".json"), record.to_bytes())


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
        raise InputError(f"{path} holds records but no config.json; move it away or restore the file")
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
    cell or one is damaged.
    """
    places = ("*/*", "*/records/*/*", "records/*/*")
    paths = {path.parent for place in places for path in runs.glob(f"{place}/{CONFIG}")}
    found = [read_cell(path) for path in sorted(paths, key=lambda path: (path.parts[-2:], path))]
    if not found:
        raise InputError(
            f"no records in {runs}; "
            f"make some with `python -m plasticity_bench run --method syre --runs {runs}`"
        )
    return found


def _advice(cell: Cell, seed: int) -> str:
    return f"delete {cell.table_path(seed).stem}.csv and .json there and run again to train that seed anew"
