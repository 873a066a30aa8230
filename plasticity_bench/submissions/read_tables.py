"""Reads the tables of a submitted cell as hostile data: those of its seeds, and of their fresh twins."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from plasticity_bench.records.cells import CONFIG, ROLLOUTS, TUNING, Cell
from plasticity_bench.records.documents import SeedRecord
from plasticity_bench.records.names import seeds_text, table_stem
from plasticity_bench.records.tables import (
    FRESH_COLUMNS,
    ROLLOUT_COLUMNS,
    WHOLE,
    Table,
    columns_held,
    parse_table,
)
from plasticity_bench.storage.files import sha256
from plasticity_bench.storage.untrusted import MAX_TABLE, Refused
from plasticity_bench.submissions.check_tables import check_fresh_table, check_table
from plasticity_bench.submissions.files import SubmissionFiles

#: Most seeds of one cell.
MAX_SEEDS = 10_000
_TABLE = re.compile(r"(seed|fresh)-(\d{3}|[1-9]\d{3,5})\.(csv|json|rollouts\.csv)", re.ASCII)

#: Seed -> the endings of its files.
Endings = dict[int, set[str]]


class CellTables(NamedTuple):
    """The valid tables of a cell, by seed, and how they were made."""

    trained: dict[int, Table]
    origins: dict[int, SeedRecord]
    fresh: dict[int, Table]  # of fresh twins
    fresh_origins: dict[int, SeedRecord]


class _Kind(NamedTuple):
    """What the tables of one kind must be."""

    name: str  # "seed" or "fresh"
    columns: Collection[str]
    check: Callable[[int, Table], Iterable[str]]  # (seed, table) -> every reason to refuse it


class TableReader(SubmissionFiles):
    """Reads the tables of a submission's cells, and collects what it finds in ``problems``."""

    def _tables(self, cell: Cell, cell_path: str, names: Iterable[str]) -> CellTables:
        """The tables of the cell in ``cell_path``, whose folder holds the files ``names``."""
        seeds, twins = Endings(), Endings()
        for name in names:
            if match := _TABLE.fullmatch(name):
                endings = seeds if match[1] == "seed" else twins
                endings.setdefault(int(match[2]), set()).add(match[3])
            elif name not in (CONFIG, TUNING):
                self._unsound(f"{cell_path}/{name}", "unexpected file")
        self._check_seeds(cell_path, seeds)
        self._check_twins(cell_path, seeds, twins)
        kind = _Kind("seed", cell.columns, lambda seed, table: check_table(cell.config, table))
        trained, origins = self._of_kind(kind, cell_path, seeds)
        # Without its seed's table, which gives the number of tasks, a twins' table cannot be checked.
        checked = {seed: endings for seed, endings in twins.items() if seed in trained}
        kind = _Kind(
            "fresh", FRESH_COLUMNS, lambda seed, table: check_fresh_table(cell.config, table, trained[seed])
        )
        return CellTables(trained, origins, *self._of_kind(kind, cell_path, checked))

    def _check_seeds(self, cell_path: str, seeds: Endings) -> None:
        """Checks that the seeds are 0, 1, 2, ..."""
        if not seeds:
            self._unsound(cell_path, "holds no seed")
        elif set(seeds) != set(range(len(seeds))) or len(seeds) > MAX_SEEDS:
            lacking = min(set(range(MAX_SEEDS)) - set(seeds), default=MAX_SEEDS)
            reason = f"seed {lacking} is missing: seeds are 0, 1, 2, ..., so that nobody can select them"
            self._unsound(cell_path, reason)

    def _check_twins(self, cell_path: str, seeds: Endings, twins: Endings) -> None:
        """Checks that all seeds have fresh twins, or none."""
        for seed in sorted(set(twins) - set(seeds)):
            for ending in sorted(twins[seed]):
                name = f"{cell_path}/{table_stem('fresh', seed)}.{ending}"
                self._unsound(name, f"is of fresh twins of seed {seed}, which is not submitted")
        if twins and (lacking := sorted(set(seeds) - set(twins))):
            reason = (
                f"{seeds_text(lacking)} without fresh twins, which others have: give all seeds twins, or none"
            )
            self._unsound(cell_path, reason)

    def _of_kind(
        self, kind: _Kind, cell_path: str, files: Mapping[int, set[str]]
    ) -> tuple[dict[int, Table], dict[int, SeedRecord]]:
        """The valid tables of one kind, and how they were made."""
        tables: dict[int, Table] = {}
        origins: dict[int, SeedRecord] = {}
        digests: dict[str, int] = {}
        for seed, endings in sorted(files.items()):
            stem = f"{cell_path}/{table_stem(kind.name, seed)}"
            for ending in sorted({"csv", "json"} - endings):
                self._unsound(f"{stem}.{ending}", "is missing")
            if not endings >= {"csv", "json"}:
                continue
            found = self._table(kind, stem, seed)
            if "rollouts.csv" in endings:
                self._rollouts(f"{stem}{ROLLOUTS}")
            if found:
                tables[seed], origins[seed] = found
                same = digests.setdefault(self.digests[f"{stem}.csv"], seed)
                if same != seed:
                    self._unsound(f"{stem}.csv", f"is, byte for byte, the table of seed {same}")
        return tables, origins

    def _table(self, kind: _Kind, stem: str, seed: int) -> tuple[Table, SeedRecord] | None:
        before = len(self.problems)
        table: Table = {}
        origin: SeedRecord | None = None
        try:
            origin = self._record(f"{stem}.json", SeedRecord)
            if origin.seed != seed:
                self._unsound(f"{stem}.json", f"seed is {origin.seed}, the file is named after seed {seed}")
        except Refused as error:
            self._unsound(f"{stem}.json", str(error))
        try:
            data = self._read(f"{stem}.csv", MAX_TABLE)
            if origin and sha256(data) != origin.sha256:
                self._unsound(f"{stem}.csv", "its checksum is not the one in its .json file")
            table = parse_table(data, kind.columns, WHOLE)
            held = {name: table[name] for name in columns_held(data, kind.columns)}
            for reason in kind.check(seed, held):
                self._unsound(f"{stem}.csv", reason)
        except Refused as error:
            self._unsound(f"{stem}.csv", str(error))
        return (table, origin) if origin and len(self.problems) == before else None

    def _rollouts(self, name: str) -> None:
        try:
            parse_table(self._read(name, MAX_TABLE), ROLLOUT_COLUMNS, WHOLE)
        except Refused as error:
            self._unsound(name, str(error))
