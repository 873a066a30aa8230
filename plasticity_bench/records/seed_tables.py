"""The tables of a cell's seeds of one kind: of the seeds themselves, or of their fresh twins.

A table is recorded once its .json file exists: it is written last and holds the checksum of the table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import asdict

from plasticity_bench.errors import InputError
from plasticity_bench.records.documents import Origin, SeedRecord, read_document
from plasticity_bench.records.names import recorded_seeds, table_stem
from plasticity_bench.records.tables import Table, columns_held, read_columns, read_many, to_csv
from plasticity_bench.storage.files import cannot_read, sha256, write_bytes
from plasticity_bench.storage.untrusted import Refused

#: Number of tables that are read together: more do not fit the cache of a core.
AT_ONCE = 16


@dataclass(frozen=True)
class SeedTables:
    """The tables ``<kind>-NNN.csv`` in a cell's folder, each with its ``<kind>-NNN.json``."""

    folder: Path
    kind: str  # "seed", or "fresh" for tables of fresh twins
    columns: Mapping[str, str]  # column -> its meaning
    tasks: tuple[int, ...]  # the tasks of the rows, in order

    def path(self, seed: int) -> Path:
        """The file of the table of ``seed``, which may not exist yet."""
        return self.folder / f"{table_stem(self.kind, seed)}.csv"

    def seeds(self) -> list[int]:
        """The recorded seeds, ascending."""
        return recorded_seeds(self.folder, self.kind)

    def provenance(self, seed: int) -> SeedRecord:
        """How a seed was trained. Raises InputError if the record is missing, damaged or of another seed."""
        path = self.path(seed).with_suffix(".json")
        record = read_document(path, SeedRecord, self._advice(seed))
        if record.seed != seed:
            raise InputError(
                f"{path} is the record of seed {record.seed} in the place of seed {seed}: name both of its "
                f"files {table_stem(self.kind, record.seed)} again, or move them away"
            )
        return record

    def table(self, seed: int) -> Table:
        """Column -> array of shape (rows,), with nan where nothing was measured.

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
            found = read_many([data for data, _ in read], self.columns, needed, len(self.tasks))
            valid = found is not None and (found["task"] == np.array(self.tasks)).all()
            for index, (seed, (data, _)) in enumerate(zip(batch, read, strict=True)):
                table = {name: values[index] for name, values in found.items()} if found and valid else None
                tables[seed] = table or self._table(seed, data, needed)
        return tables, origins

    def write(
        self,
        seed: int,
        rows: Sequence[Mapping[str, float]],
        origin: Origin,
        extra: Mapping[str, bytes] | None = None,
    ) -> None:
        """Records a finished seed.

        Args:
            seed: The seed.
            rows: Column -> value, for every task of ``tasks``.
            origin: How it was trained.
            extra: Suffix (``.rollouts.csv``) -> content of further files.

        Raises:
            InputError: The seed is recorded already, or another table of it is there: nothing is replaced.
            CannotWrite: The disk is full or the folder is not writable.
        """
        data = to_csv(self.columns, [[row.get(name) for name in self.columns] for row in rows])
        path = self.path(seed)
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

    def _read(self, seed: int) -> tuple[bytes, SeedRecord]:
        """The bytes of the seed's table, whose checksum is right, and how the seed was trained."""
        path = self.path(seed)
        try:
            data = path.read_bytes()
        except OSError as error:
            restore = f"restore it, or {self._advice(seed)}"
            raise cannot_read(path, error, restore) from error
        provenance = self.provenance(seed)
        if sha256(data) != provenance.sha256:
            if sha256(data.replace(b"\r\n", b"\n")) == provenance.sha256:
                raise InputError(
                    f"{path} is sound but for its line ends, which are CRLF (git with core.autocrlf, or an "
                    "editor): write them as LF again, such as with dos2unix; nothing has to be trained again"
                )
            raise InputError(
                f"{path} is damaged (its checksum differs from the one recorded); {self._advice(seed)}"
            )
        return data, provenance

    def _table(self, seed: int, data: bytes, needed: Collection[str] | None = None) -> Table:
        path, advice, tasks = self.path(seed), self._advice(seed), len(self.tasks)
        try:
            table = read_columns(data, self.columns, needed)
        except Refused as error:
            raise InputError(f"{path} is not a table of {tasks} tasks: it {error}; {advice}") from None
        if not np.array_equal(table["task"], np.array(self.tasks)):
            raise InputError(f"{path} is not a table of {tasks} tasks; {advice}")
        return table

    def _advice(self, seed: int) -> str:
        stem, what = self.path(seed).stem, "seed" if self.kind == "seed" else "seed's fresh twins"
        return f"delete {stem}.csv and .json there and run again to train that {what} anew"
