"""What a run leaves on disk, and the only code that reads or writes it.

    runs/<stream>-v<n>/<method>-<hash8>/config.json      what was run: stream, method, every setting
                                       /seed-000.csv     one row per task; the same bits at every rerun
                                       /seed-000.json    how it was run: versions, hardware, training time
            /<method>-<hash8>-tuned/tuning.json          where a sweep chose the settings: its table
                                       /seed-000.*       where the agent acts: its rollouts and final policy
                                       /source/*.py      of a plug-in: the source that was trained
                                       /checkpoint-*.pt  while a stack of seeds is unfinished

A seed counts as recorded once its .json stands: it is written last and holds the checksum of the table.
Nothing that depends on the clock or the machine goes into config.json or the tables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from msgspec.structs import asdict

from plasticity_bench.errors import InputError
from plasticity_bench.records.documents import (
    PROTOCOL,
    CellConfig,
    Origin,
    SeedRecord,
    SweepTable,
    differences,
)
from plasticity_bench.records.tables import (
    COLUMNS,
    CONTROL_COLUMNS,
    ROLLOUT_COLUMNS,
    WHOLE,
    Table,
    parse_table,
    read_alike,
    read_columns,
    to_csv,
)
from plasticity_bench.storage.documents import Document, convert, shown
from plasticity_bench.storage.files import sha256, write_bytes
from plasticity_bench.storage.untrusted import Refused, parse_object

#: Suffixes of what is kept beside a table where the agent acts: its rollouts, and its final policy.
ROLLOUTS, POLICY = ".rollouts.csv", ".policy.pt"

#: Where the settings come from a sweep: its whole table, beside config.json, in a folder of this ending.
CONFIG, TUNING, TUNED = "config.json", "tuning.json", "-tuned"
#: Folder in a plug-in's cell: the source that was trained.
SOURCE = "source"
#: Ends the label of a method whose settings come from a sweep.
TUNED_MARK = " (tuned)"

#: Tables read at once: more do not fit a core's cache.
AT_ONCE = 16

D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Cell:
    """One (stream, method, settings): a folder of seeds. ``config`` is all that the scores depend on.

    ``tuning``: the table of the sweep that chose the settings; None where they are the defaults or
    somebody's choice.
    """

    path: Path
    config: CellConfig = field(hash=False)
    tuning: SweepTable | None = field(default=None, hash=False)

    @property
    def stream(self) -> str:
        """The stream's folder name, ``permuted-digits-v1`` (with ``_key=value`` where settings differ)."""
        return self.path.parent.name

    @property
    def method(self) -> str:
        """What the scores call it: ``configuration``, or ``l2 (tuned)``, whatever settings a sweep chose."""
        return f"{self.tuning.method}{TUNED_MARK}" if self.tuning else self.configuration

    @property
    def configuration(self) -> str:
        """The method as a user writes it, with the settings that differ: ``l2:strength=0.01``."""
        return self.config.method.label

    @property
    def label(self) -> str:
        """``permuted-digits-v1/syre-1a2b3c4d``"""
        return f"{self.stream}/{self.path.name}"

    @property
    def tasks(self) -> int:
        """Number of tasks, hence of rows of every table."""
        return self.config.stream.tasks

    @property
    def columns(self) -> Mapping[str, str]:
        """The tables' columns: ``COLUMNS``, and where the agent acts ``CONTROL_COLUMNS``."""
        return {**COLUMNS, **CONTROL_COLUMNS} if self.config.acts else COLUMNS

    def table_path(self, seed: int) -> Path:
        """Where the table of ``seed`` is or will be."""
        return self.path / f"seed-{seed:03d}.csv"

    def seeds(self) -> list[int]:
        """The recorded seeds, ascending."""
        found = (re.fullmatch(r"seed-(\d{3,})\.json", path.name) for path in self.path.glob("seed-*.json"))
        return sorted(int(match[1]) for match in found if match)

    def provenance(self, seed: int) -> SeedRecord:
        """How a seed was trained. Raises InputError if the record is damaged or of another seed."""
        path = self.table_path(seed).with_suffix(".json")
        record = _read(path, SeedRecord, _advice(self, seed))
        if record.seed != seed:
            raise InputError(
                f"{path} is the record of seed {record.seed}, not {seed}: give both of its files their name "
                "back, or move them away"
            )
        return record

    def table(self, seed: int) -> Table:
        """Column -> array of shape (tasks,), nan where not measured. Raises InputError where damaged."""
        return self._table(seed, self._read(seed)[0])

    def records(
        self, seeds: Sequence[int], columns: Collection[str]
    ) -> tuple[dict[int, Table], list[SeedRecord]]:
        """Seed -> ``table``, of it these ``columns``, and how each was run.

        Raises InputError where one is damaged, or not of the other.
        """
        tables: dict[int, Table] = {}
        origins = []
        for start in range(0, len(seeds), AT_ONCE):
            some = seeds[start : start + AT_ONCE]
            read = [self._read(seed) for seed in some]
            origins += [provenance for _, provenance in read]
            wanted = {"task", *columns}
            found = read_alike([data for data, _ in read], self.columns, wanted, self.tasks)
            plain = found is not None and (found["task"] == np.arange(self.tasks)).all()
            for index, (seed, (data, _)) in enumerate(zip(some, read, strict=True)):
                each = {name: values[index] for name, values in found.items()} if found and plain else None
                tables[seed] = each or self._table(seed, data, wanted)
        return tables, origins

    def _read(self, seed: int) -> tuple[bytes, SeedRecord]:
        """The bytes of the seed's table, and how it was run."""
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

    def _table(self, seed: int, data: bytes, wanted: Collection[str] | None = None) -> Table:
        path, advice = self.table_path(seed), _advice(self, seed)
        try:
            table = read_columns(data, self.columns, wanted)
        except Refused as error:
            raise InputError(f"{path} is not a table of {self.tasks} tasks: it {error}; {advice}") from None
        if not np.array_equal(table["task"], np.arange(self.tasks)):
            raise InputError(f"{path} is not a table of {self.tasks} tasks; {advice}")
        return table

    def rollouts(self, seed: int) -> Table | None:
        """Column of ``ROLLOUT_COLUMNS`` -> array over the rollouts; None where they were not kept.

        Raises InputError where they are damaged.
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
        attached: Mapping[str, bytes] | None = None,
    ) -> None:
        """Records a finished seed, with files ``attached`` by suffix (``.rollouts.csv``).

        Raises InputError rather than replace a table that differs.
        """
        data = to_csv(self.columns, [[row.get(name) for name in self.columns] for row in rows])
        path = self.table_path(seed)
        if path.with_suffix(".json").exists():
            raise InputError(f"{path} is recorded already, not overwritten; move it away to run it again")
        # A table without its .json is of a writer that was killed in between: the same bits, or not ours.
        if path.exists() and path.read_bytes() != data:
            raise InputError(
                f"{path} has no .json and differs from what this run made, not overwritten; "
                "move it away and run the same command again"
            )
        for suffix, content in (attached or {}).items():
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
    """The cell's folder, made with its config.json if it is missing.

    ``tuning``: the sweep that chose the settings. ``sources``: file name -> content, of plug-ins.

    Raises InputError if a folder of that name holds another configuration, sweep or protocol version.
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
    """Reads a cell's config.json and tuning.json.

    Raises InputError if one is damaged, or if the cell follows another protocol.
    """
    advice = "move the folder away and run again"
    config = _read(path / CONFIG, CellConfig, advice)
    tuning = _read(path / TUNING, SweepTable, advice) if path.name.endswith(TUNED) else None
    if tuning and tuning.chosen >= len(tuning.configurations):
        raise InputError(f"{path / TUNING} is damaged (it chose a configuration that it lacks); {advice}")
    return Cell(path, config, tuning)


def find_cells(runs: Path) -> list[Cell]:
    """Every cell under ``runs``, by stream and method; ``runs`` may also be a folder of submissions, or one
    of them. Raises InputError if there is none."""
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


def _read(path: Path, kind: type[D], advice: str) -> D:
    """A document of the cell. Raises InputError, which ends in ``advice``."""
    try:
        found = parse_object(path.read_bytes())
        if "protocol" in found and found["protocol"] != PROTOCOL:
            raise InputError(
                f"{path} follows protocol {shown(found['protocol'])}, this version reads protocol "
                f"{PROTOCOL}; use a version that wrote it, or choose another --runs folder"
            )
        return convert(found, kind)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {advice}") from error
    except Refused as error:
        raise InputError(f"{path} is damaged ({error}); {advice}") from error
