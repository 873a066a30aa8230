"""Reads a submission's folder as hostile data: valid parts become a ``Submission``, others a problem."""

from __future__ import annotations

import re

from plasticity_bench.records.cells import SOURCE, TUNED, TUNING, Cell
from plasticity_bench.records.documents import CellConfig, SweepTable, recorded_identity
from plasticity_bench.scoring.metrics import measure_tables
from plasticity_bench.scoring.notes import divergence
from plasticity_bench.storage.files import sha256
from plasticity_bench.storage.untrusted import (
    MAX_SOURCE,
    Refused,
    is_name,
    list_tree,
    same_json,
)
from plasticity_bench.submissions.check_config import (
    Wrong,
    config_differences,
    expected_config,
    network_changes,
)
from plasticity_bench.submissions.check_tuning import check_tuning
from plasticity_bench.submissions.documents import MethodDocument, ScoresDocument
from plasticity_bench.submissions.files import Note
from plasticity_bench.submissions.model import (
    METHOD,
    RECORDS,
    SCORES,
    Evidence,
    Submission,
    method_of_cell,
)
from plasticity_bench.submissions.read_tables import CellTables, TableReader

_TABLE_FILE = r"(?:seed|fresh)-\d{3,6}\.(?:csv|json)|seed-\d{3,6}\.rollouts\.csv"
_CELL = re.compile(rf"{RECORDS}/([^/]+)/([^/]+)/(config\.json|tuning\.json|{_TABLE_FILE})", re.ASCII)


class Reader(TableReader):
    """Reads a submission, and collects what it finds in ``problems`` and ``notes``."""

    def read(self) -> Submission | None:
        """The submission with its valid cells; None if it has none."""
        return self.read_records(
            self._document(METHOD, MethodDocument), self._document(SCORES, ScoresDocument)
        )

    def read_records(
        self, method: MethodDocument | None = None, scores: ScoresDocument | None = None
    ) -> Submission | None:
        """Like ``read``, with these documents instead of method.json and scores.json."""
        if not is_name(self.folder.name):
            self._problem("", "a submission's name is of small letters, digits, + _ and -")
        self._files, refused = list_tree(self.folder)
        for name, reason in refused:
            self._problem(name, reason)
        streams: dict[str, Evidence] = {}
        for (stream, folder), names in self._cells().items():
            evidence = self._cell(stream, folder, names)
            if evidence and stream in streams:
                self._unsound(f"{RECORDS}/{stream}", "holds two cells; a submission is of one configuration")
            elif evidence:
                streams[stream] = evidence
        if not streams:
            self._problem(RECORDS, "holds no cell that can be read: a submission needs at least one")
            return None
        if lacking := sorted(stream for stream, evidence in streams.items() if not evidence.fresh_origins):
            reason = f"no fresh twins on {', '.join(lacking)}: no retention is known there"
            self.notes.append(Note(self.folder, reason))
        for stream, evidence in sorted(streams.items()):
            if said := divergence(evidence.measured.not_finite):
                self.notes.append(Note(self.folder, f"{stream}: {said}"))
        submission = Submission(
            self.folder, dict(sorted(streams.items())), method, scores, self.digests, self.sources
        )
        self._check_method(submission)
        self._check_source(submission)
        return submission

    def _cells(self) -> dict[tuple[str, str], list[str]]:
        """(stream's folder, cell's folder) -> names of the cell's files; any other file is a problem."""
        cells: dict[tuple[str, str], list[str]] = {}
        for name in sorted(self._files):
            if match := _CELL.fullmatch(name):
                cells.setdefault((match[1], match[2]), []).append(match[3])
            elif name not in (METHOD, SCORES) and not re.fullmatch(
                rf"{SOURCE}/\w[\w.-]*\.py", name, re.ASCII
            ):
                self._problem(name, "unexpected file")
        return cells

    def _cell(self, stream: str, folder: str, names: list[str]) -> Evidence | None:
        cell_path = f"{RECORDS}/{stream}/{folder}"
        config_name = f"{cell_path}/config.json"
        try:
            config = self._record(config_name, CellConfig)
            expected, stream_folder, cell_folder = expected_config(config)
            changed = network_changes(config, expected)
            wrong = list(config_differences(config, expected))
        except (Refused, Wrong) as error:
            self._unsound(config_name, str(error))
            return None
        if TUNING in names:
            cell_folder += TUNED
        elif folder == f"{cell_folder}{TUNED}":
            wrong.append(f"{TUNING} is missing next to it: the table of the sweep that chose the settings")
            cell_folder = folder
        if (stream, folder) != (stream_folder, cell_folder):
            wrong.append(f"belongs in {RECORDS}/{stream_folder}/{cell_folder}")
        for reason in wrong:
            self._unsound(config_name, reason)
        if wrong:
            return None
        if changed and config.method.source != "builtin":
            self.notes.append(Note(self.folder, f"{stream}: changes the network's {', '.join(changed)}"))
        tuning = self._tuning(f"{cell_path}/{TUNING}", config, stream) if TUNING in names else None
        if TUNING in names and tuning is None:
            return None
        cell = Cell(self.folder / cell_path, config, tuning)
        found = self._tables(cell, cell_path, names)
        if dirty := _changed_source(found):
            self.notes.append(Note(self.folder, f"{stream}: {dirty} seeds ran on source with changes in it"))
        if both := sorted(set(found.trained) & set(tuning.seeds if tuning else ())):
            name = f"{cell_path}/seed-{both[0]:03d}.csv"
            self._unsound(name, "was used to tune; reported seeds are others")
        if not found.trained:
            return None
        # Measured here, so that every table is parsed only once.
        measured = measure_tables(cell, found.trained, list(found.origins.values()), found.fresh)
        return Evidence(cell, measured, found.origins, found.fresh_origins)

    def _tuning(self, name: str, config: CellConfig, stream: str) -> SweepTable | None:
        """A sweep's table; None if it is damaged or not plausible."""
        before = len(self.problems)
        try:
            tuning = self._record(name, SweepTable)
            for reason in check_tuning(tuning, config, stream):
                self._unsound(name, reason)
        except (Refused, Wrong) as error:
            self._unsound(name, str(error))
        return tuning if len(self.problems) == before else None

    def _check_method(self, submission: Submission) -> None:
        """Checks that the method is the same on all streams, apart from settings that sweeps chose."""
        first = recorded_identity(submission.recorded)
        for stream, evidence in submission.streams.items():
            other = recorded_identity(method_of_cell(evidence.cell))
            for key, value in first.items():
                if not same_json(other[key], value):
                    name = f"{RECORDS}/{stream}/{evidence.cell.path.name}/config.json"
                    self._unsound(name, f"method.{key} differs from that on {min(submission.streams)}")

    def _check_source(self, submission: Submission) -> None:
        """Checks that a plug-in's files are present, and are the ones that ran."""
        method = submission.recorded
        origins = method.source.split("+") if method.source != "builtin" else []
        digests = []
        for origin in origins:
            if origin == "builtin":
                digests.append("")
                continue
            name = source_name(origin)
            try:
                self.sources[name] = self._read(name, MAX_SOURCE)
                digests.append(self.digests[name])
            except Refused as error:
                self._problem(name, f"{error}: the file of a plug-in method is submitted with it")
                return
        wanted = digests[0] if len(digests) == 1 else sha256("+".join(digests).encode())
        if origins and wanted != method.digest:
            self._problem(SOURCE, "is not what ran: its checksum is not the method.digest in config.json")
        for name in sorted(self._files):
            if name.startswith(f"{SOURCE}/") and name not in self.digests:
                self._problem(name, "unexpected file: the method did not come from it")


def _changed_source(tables: CellTables) -> int:
    """Number of seeds that, or whose fresh twins, were trained by source with changes in it."""
    records = (*tables.origins.items(), *tables.fresh_origins.items())
    return len({seed for seed, origin in records if (origin.git or "").endswith("+")})


def source_name(origin: str) -> str:
    """The name of a plug-in's file in a submission.

    ``my.py:Noise`` -> ``source/my.py``; ``package.module:Noise`` -> ``source/module.py``.
    """
    place, _, _ = origin.partition(":")
    stem = place.removesuffix(".py")
    return f"{SOURCE}/{stem if place.endswith('.py') else stem.rpartition('.')[2]}.py"
