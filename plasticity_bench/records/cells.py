"""What a run leaves on disk, and the only code that reads or writes it.

    runs/<stream>-v<n>/<method>-<hash8>/config.json      what was run: stream, method, every setting
                                       /seed-000.csv     one row per task; the same bits at every rerun
                                       /seed-000.json    how it was run: versions, hardware, training time
            /<method>-<hash8>-tuned/tuning.json          where a sweep chose the settings: its table
                                       /seed-000.*       where the agent acts: its rollouts and final policy
                                       /checkpoint-*.pt  while a stack of seeds is unfinished

A seed counts as recorded once its .json stands: it is written last and holds the checksum of the table.
Nothing that depends on the clock or the machine goes into config.json or the tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plasticity_bench.errors import InputError
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
from plasticity_bench.storage.files import sha256, write_bytes, write_json, write_text
from plasticity_bench.storage.untrusted import Refused, parse_object

#: Raised when the meaning of a record changes (columns, metrics, random streams).
PROTOCOL = 1

#: Suffixes of what is kept beside a table where the agent acts: its rollouts, and its final policy.
ROLLOUTS, POLICY = ".rollouts.csv", ".policy.pt"

#: Where the settings come from a sweep: its whole table, beside config.json, in a folder of this ending.
TUNING, TUNED = "tuning.json", "-tuned"
#: Ends the label of a method whose settings come from a sweep.
TUNED_MARK = " (tuned)"

#: Tables read at once: more do not fit a core's cache.
AT_ONCE = 16

#: Entries of config.json that only describe; records stay valid when their wording changes.
DESCRIPTIONS = frozenset({"summary", "paper", "source"})


@dataclass(frozen=True)
class Cell:
    """One (stream, method, settings): a folder of seeds. ``config`` is all that the scores depend on.

    ``tuning``: the table of the sweep that chose the settings; None where they are the defaults or
    somebody's choice.
    """

    path: Path
    config: Mapping[str, Any] = field(hash=False)
    tuning: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def stream(self) -> str:
        """The stream's folder name, ``permuted-digits-v1`` (with ``_key=value`` where settings differ)."""
        return self.path.parent.name

    @property
    def method(self) -> str:
        """What the scores call it: ``configuration``, or ``l2 (tuned)``, whatever settings a sweep chose."""
        return f"{self.tuning['method']}{TUNED_MARK}" if self.tuning else self.configuration

    @property
    def configuration(self) -> str:
        """The method as a user writes it, with the settings that differ: ``l2:strength=0.01``."""
        return str(self.config["method"]["label"])

    @property
    def label(self) -> str:
        """``permuted-digits-v1/syre-1a2b3c4d``"""
        return f"{self.stream}/{self.path.name}"

    @property
    def tasks(self) -> int:
        """Number of tasks, hence of rows of every table."""
        return int(self.config["stream"]["tasks"])

    @property
    def columns(self) -> Mapping[str, str]:
        """The tables' columns: ``COLUMNS``, and where the agent acts ``CONTROL_COLUMNS``."""
        return {**COLUMNS, **CONTROL_COLUMNS} if "ppo" in self.config else COLUMNS

    def table_path(self, seed: int) -> Path:
        """Where the table of ``seed`` is or will be."""
        return self.path / f"seed-{seed:03d}.csv"

    def seeds(self) -> list[int]:
        """The recorded seeds, ascending."""
        found = (re.fullmatch(r"seed-(\d{3,})\.json", path.name) for path in self.path.glob("seed-*.json"))
        return sorted(int(match[1]) for match in found if match)

    def provenance(self, seed: int) -> dict[str, Any]:
        """How a seed was run (seconds, stack, versions, hardware). Raises InputError where damaged."""
        return _read_json(self.table_path(seed).with_suffix(".json"), lambda: _mend(self, seed))

    def table(self, seed: int) -> Table:
        """Column -> array of shape (tasks,), nan where not measured. Raises InputError where damaged."""
        return self._table(seed, self._read(seed)[0])

    def records(
        self, seeds: Sequence[int], columns: Collection[str]
    ) -> tuple[dict[int, Table], list[dict[str, Any]]]:
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

    def _read(self, seed: int) -> tuple[bytes, dict[str, Any]]:
        """The bytes of the seed's table, and how it was run."""
        path = self.table_path(seed)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}; {_mend(self, seed)}") from error
        provenance = self.provenance(seed)
        if sha256(data) != provenance.get("sha256"):
            raise InputError(
                f"{path} is damaged (its checksum differs from the one recorded); {_mend(self, seed)}"
            )
        return data, provenance

    def _table(self, seed: int, data: bytes, wanted: Collection[str] | None = None) -> Table:
        path, mend = self.table_path(seed), _mend(self, seed)
        try:
            table = read_columns(data, self.columns, wanted)
        except Refused as error:
            raise InputError(f"{path} is not a table of {self.tasks} tasks: it {error}; {mend}") from None
        if not np.array_equal(table["task"], np.arange(self.tasks)):
            raise InputError(f"{path} is not a table of {self.tasks} tasks; {mend}")
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
        provenance: dict[str, Any],
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
        write_json(path.with_suffix(".json"), {**provenance, "seed": seed, "sha256": sha256(data)})


def open_cell(
    runs: Path, stream_folder: str, method_folder: str, config: Mapping[str, Any], tuning: str = ""
) -> Cell:
    """The cell's folder, made with its config.json where missing; ``tuning``: the text of its tuning.json.

    Raises InputError where a folder of that name holds another configuration, sweep or protocol version.
    """
    path = runs / stream_folder / f"{method_folder}{TUNED if tuning else ''}"
    config = {"protocol": PROTOCOL, **config}
    if (path / "config.json").exists():
        found = read_cell(path)
        differing = _differences(found.config, json.loads(json.dumps(config)))
        if tuning and found.tuning != json.loads(tuning):
            differing.append(TUNING)
        if differing:
            raise InputError(
                f"{path} was recorded with another configuration ({', '.join(differing)} differ); "
                "move it away or choose another --runs folder"
            )
        return found
    if path.exists() and any(path.glob("seed-*.json")):
        raise InputError(f"{path} holds records but no config.json; move it away or restore the file")
    if tuning:
        write_text(path / TUNING, tuning)
    write_json(path / "config.json", config)
    return read_cell(path)


def read_cell(path: Path) -> Cell:
    """Reads a cell's config.json and tuning.json. Raises InputError where one is damaged, or the cell of
    another protocol."""
    mend = "move the folder away and run again"
    config = _read_json(path / "config.json", lambda: mend)
    tuning = _read_json(path / TUNING, lambda: mend) if path.name.endswith(TUNED) else None
    file = "config.json"
    if config.get("protocol") != PROTOCOL:
        raise InputError(
            f"{path} follows protocol {config.get('protocol')}, this version reads protocol {PROTOCOL}; "
            "use a version that wrote it, or choose another --runs folder"
        )
    try:
        cell = Cell(path, config, tuning)
        stream = config["stream"]
        _ = (cell.configuration, cell.tasks, stream["chance"], stream["score"], stream["warmup_tasks"])
        file = TUNING
        if tuning is not None:
            _ = (
                tuning["method"],
                tuning["configurations"][tuning["chosen"]]["settings"],
                len(tuning["seeds"]),
            )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path / file} is damaged: {error!r}; {mend}") from error
    return cell


def find_cells(runs: Path) -> list[Cell]:
    """Every cell under ``runs``, by stream and method; ``runs`` may also be a folder of submissions, or one
    of them. Raises InputError where there is none."""
    places = ("*/*", "*/records/*/*", "records/*/*")
    paths = {path.parent for place in places for path in runs.glob(f"{place}/config.json")}
    found = [read_cell(path) for path in sorted(paths, key=lambda path: (path.parts[-2:], path))]
    if not found:
        raise InputError(
            f"no records in {runs}; "
            f"make some with `python -m plasticity_bench run --method syre --runs {runs}`"
        )
    return found


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """``["stream.steps"]``: entries that differ, apart from descriptions, on which no score depends."""
    differing = []
    for key in sorted({*found, *wanted}):
        ours, theirs = wanted.get(key), found.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            differing += [
                f"{key}.{name}"
                for name in sorted({*ours, *theirs} - DESCRIPTIONS)
                if ours.get(name) != theirs.get(name)
            ]
        elif ours != theirs:
            differing.append(key)
    return differing


def _mend(cell: Cell, seed: int) -> str:
    return f"delete {cell.table_path(seed).stem}.csv and .json there and run again to train that seed anew"


def _read_json(path: Path, mend: Callable[[], str]) -> dict[str, Any]:
    try:
        return parse_object(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {mend()}") from error
    except Refused as error:
        raise InputError(f"{path} is damaged ({error}); {mend()}") from error
