"""Reads a submission's folder as hostile data: valid parts become a ``Submission``, others a problem."""

from __future__ import annotations

import re
from collections.abc import Iterable

from plasticity_bench.records.cells import ROLLOUTS, SOURCE, TUNED, TUNING, Cell
from plasticity_bench.records.documents import (
    CellConfig,
    SeedRecord,
    SweepTable,
    recorded_identity,
)
from plasticity_bench.records.names import seed_stem
from plasticity_bench.records.tables import ROLLOUT_COLUMNS, WHOLE, Table, columns_held, parse_table
from plasticity_bench.scoring.metrics import measure_tables
from plasticity_bench.storage.files import sha256
from plasticity_bench.storage.untrusted import (
    MAX_SOURCE,
    MAX_TABLE,
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
from plasticity_bench.submissions.check_tables import check_table
from plasticity_bench.submissions.check_tuning import check_tuning
from plasticity_bench.submissions.documents import MethodDocument, ScoresDocument
from plasticity_bench.submissions.files import Note, SubmissionFiles
from plasticity_bench.submissions.model import (
    METHOD,
    RECORDS,
    SCORES,
    Evidence,
    Submission,
    method_of_cell,
)

#: Most seeds of one cell.
MAX_SEEDS = 10_000
_CELL = re.compile(
    rf"{RECORDS}/([^/]+)/([^/]+)/(config\.json|tuning\.json|seed-\d{{3,6}}(?:\.csv|\.json|\.rollouts\.csv))"
)
_SEED = re.compile(r"seed-(\d{3}|[1-9]\d{3,5})\.(csv|json|rollouts\.csv)")


class Reader(SubmissionFiles):
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
        tables, origins = self._seeds(cell, cell_path, names)
        if dirty := sum((origin.git or "").endswith("+") for origin in origins.values()):
            self.notes.append(Note(self.folder, f"{stream}: {dirty} seeds ran on source with changes in it"))
        if both := sorted(set(tables) & set(tuning.seeds if tuning else ())):
            name = f"{cell_path}/seed-{both[0]:03d}.csv"
            self._unsound(name, "was used to tune; reported seeds are others")
        # Measured here, so that every table is parsed only once.
        return (
            Evidence(cell, measure_tables(cell, tables, list(origins.values())), origins) if tables else None
        )

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

    def _seeds(
        self, cell: Cell, cell_path: str, names: Iterable[str]
    ) -> tuple[dict[int, Table], dict[int, SeedRecord]]:
        tables: dict[int, Table] = {}
        origins: dict[int, SeedRecord] = {}
        kinds: dict[int, set[str]] = {}
        for name in names:
            if match := _SEED.fullmatch(name):
                kinds.setdefault(int(match[1]), set()).add(match[2])
            elif name not in ("config.json", TUNING):
                self._unsound(f"{cell_path}/{name}", "unexpected file")
        if not kinds:
            self._unsound(cell_path, "holds no seed")
        elif set(kinds) != set(range(len(kinds))) or len(kinds) > MAX_SEEDS:
            lacking = min(set(range(MAX_SEEDS)) - set(kinds), default=MAX_SEEDS)
            reason = f"seed {lacking} is missing: seeds are 0, 1, 2, ..., so that nobody can select them"
            self._unsound(cell_path, reason)
        digests: dict[str, int] = {}
        for seed in sorted(kinds):
            stem = f"{cell_path}/{seed_stem(seed)}"
            for kind in sorted({"csv", "json"} - kinds[seed]):
                self._unsound(f"{stem}.{kind}", "is missing")
            if not kinds[seed] >= {"csv", "json"}:
                continue
            found = self._seed(cell, stem, seed)
            if "rollouts.csv" in kinds[seed]:
                self._rollouts(f"{stem}{ROLLOUTS}")
            if found:
                tables[seed], origins[seed] = found
                twin = digests.setdefault(self.digests[f"{stem}.csv"], seed)
                if twin != seed:
                    self._unsound(f"{stem}.csv", f"is, byte for byte, the table of seed {twin}")
        return tables, origins

    def _seed(self, cell: Cell, stem: str, seed: int) -> tuple[Table, SeedRecord] | None:
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
            table = parse_table(data, cell.columns, WHOLE)
            held = {name: table[name] for name in columns_held(data, cell.columns)}
            for reason in check_table(cell.config, held):
                self._unsound(f"{stem}.csv", reason)
        except Refused as error:
            self._unsound(f"{stem}.csv", str(error))
        return (table, origin) if origin and len(self.problems) == before else None

    def _rollouts(self, name: str) -> None:
        try:
            parse_table(self._read(name, MAX_TABLE), ROLLOUT_COLUMNS, WHOLE)
        except Refused as error:
            self._unsound(name, str(error))

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


def source_name(origin: str) -> str:
    """The name of a plug-in's file in a submission.

    ``my.py:Noise`` -> ``source/my.py``; ``package.module:Noise`` -> ``source/module.py``.
    """
    place, _, _ = origin.partition(":")
    stem = place.removesuffix(".py")
    return f"{SOURCE}/{stem if place.endswith('.py') else stem.rpartition('.')[2]}.py"
