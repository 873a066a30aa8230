"""``leaderboard --verify``: reads submissions as hostile data and reports every problem in them.

Nothing in a submission is imported or unpickled, and no link is followed. Every score is computed again from
the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from plasticity_bench.errors import InputError
from plasticity_bench.processes.workers import Workers
from plasticity_bench.records.cells import Cell
from plasticity_bench.records.documents import recorded_identity
from plasticity_bench.storage.documents import parse_document
from plasticity_bench.storage.untrusted import (
    MAX_FILES,
    MAX_JSON,
    MAX_PROBLEMS,
    Refused,
    printable,
    read_file,
    same_json,
)
from plasticity_bench.submissions.check_documents import Checked, check_documents
from plasticity_bench.submissions.documents import MethodDocument
from plasticity_bench.submissions.files import Note
from plasticity_bench.submissions.model import (
    METHOD,
    REFERENCE_NAMES,
    Submission,
    references_of,
)
from plasticity_bench.submissions.reader import Reader


@dataclass
class Report:
    """What a verification found. Any problem refuses the submission; a reviewer judges the notes."""

    problems: list[Note] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)  # those that could be read

    @property
    def seeds(self) -> int:
        """Number of seeds whose tables were read."""
        return sum(len(e.seeds) for s in self.submissions for e in s.streams.values())

    @property
    def twins(self) -> int:
        """Number of seeds whose fresh twins were read, too."""
        return sum(len(e.fresh_origins) for s in self.submissions for e in s.streams.values())


class Reading(NamedTuple):
    """The result of reading one submission."""

    submission: Submission | None
    sound: bool  # scores can be computed from its records
    problems: list[Note]
    notes: list[Note]


def read_submission(folder: Path) -> Reading:
    """Reads a submission with all its tables."""
    reader = Reader(folder)
    submission = reader.read()
    return Reading(submission, reader.sound, reader.problems, reader.notes)


def verify(
    paths: Sequence[Path],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    workers: Workers | None = None,
) -> Report:
    """Verifies submissions.

    Args:
        paths: each is a submission or a folder of submissions.
        on_progress: is called with the number of submissions read so far, and the number of all.
        workers: processes that share the reading.

    Raises:
        InputError: if a path is not a folder, or if the folder is empty.
    """
    report, workers = Report(), workers or Workers(1)
    folders = [folder for path in paths for folder in _submissions(path, report)]
    readings: dict[Path, Reading] = {}
    for reading in workers.map(read_submission, folders):
        on_progress(len(readings), len(folders))
        readings[folders[len(readings)]] = reading
    known = {folder: reading.submission for folder, reading in readings.items()}
    sound = [reading.submission for reading in readings.values() if reading.submission and reading.sound]
    differing = workers.map(
        check_documents,
        [Checked(each, references_of(each.streams, _neighbouring_references(each, known))) for each in sound],
    )
    by_folder = dict(zip((submission.folder for submission in sound), differing, strict=True))
    for folder, reading in readings.items():
        if reading.submission:
            report.submissions.append(reading.submission)
        problems = [
            *reading.problems,
            *(Note(folder / name, reason) for name, reason in by_folder.get(folder, ())),
        ]
        report.problems += problems[:MAX_PROBLEMS]
        if len(problems) > MAX_PROBLEMS:
            report.problems.append(Note(folder, f"{len(problems) - MAX_PROBLEMS} more problems"))
        report.notes += reading.notes
    _compare_submissions(report)
    on_progress(len(folders), len(folders))
    return report


def is_submission(path: Path) -> bool:
    """Whether the folder is one submission, and not a folder of submissions."""
    return (path / METHOD).is_file() or (path / "records").is_dir()


def folders_of(path: Path) -> list[Path]:
    """The folders of the submissions at ``path``, which is a submission or a folder of submissions.

    Raises:
        InputError: if ``path`` is not a folder, or if it is empty.
    """
    return list(_submissions(path, Report()))


def _submissions(path: Path, report: Report) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        raise InputError(f"{printable(str(path))} is not a folder of submissions")
    if is_submission(path):
        yield path
        return
    entries = sorted(path.iterdir())[: MAX_FILES + 1]
    if not entries:
        raise InputError(
            f"no submissions in {printable(str(path))}; make one: python -m plasticity_bench submit"
        )
    for entry in entries:
        if entry.is_symlink():
            report.problems.append(Note(entry, "is a symbolic link; submit the folder itself"))
        elif entry.is_dir():
            yield entry
        else:
            report.problems.append(Note(entry, "unexpected file: here are folders, one per submission"))


def _neighbouring_references(
    submission: Submission, known: dict[Path, Submission | None]
) -> dict[str, Mapping[str, Any]]:
    """The readable references in the same folder of submissions."""
    found = {}
    for name in REFERENCE_NAMES:
        folder = submission.folder.parent / name
        if folder not in known:
            sound = folder.is_dir() and not folder.is_symlink()
            known[folder] = Reader(folder).read() if sound else None
        reference = known[folder]
        if reference and reference.streams and reference.label == REFERENCE_NAMES[name]:
            found[name] = reference.streams
    return found


def _compare_submissions(report: Report) -> None:
    """Checks across submissions: labels used twice, identical tables, sweeps of different sizes."""
    labels: dict[str, Submission] = {}
    tables: dict[tuple[str, str], tuple[Submission, int]] = {}
    copies: dict[tuple[Path, str, str], int] = {}
    sweeps: dict[str, tuple[str, str]] = {}
    for submission in report.submissions:
        label = submission.label
        if label in labels:
            taken = printable(labels[label].name)
            report.problems.append(
                Note(
                    submission.folder,
                    f"{printable(label)} is submitted already, as {taken}; choose another name",
                )
            )
        labels.setdefault(label, submission)
        for stream, evidence in submission.streams.items():
            if tuning := evidence.cell.tuning:
                size = f"{tuning.budget} configurations and {len(tuning.seeds)} tuning seeds"
                other, theirs = sweeps.setdefault(stream, (submission.name, size))
                if size != theirs:
                    reason = f"{stream}: tuned with {size}, {other} with {theirs}"
                    report.notes.append(Note(submission.folder, reason))
            for seed, origin in evidence.origins.items():
                first, _ = tables.setdefault((stream, origin.sha256), (submission, seed))
                if not _same_configuration(first.streams[stream].cell, evidence.cell):
                    key = (submission.folder, stream, first.name)
                    copies[key] = copies.get(key, 0) + 1
    for (folder, stream, other), count in copies.items():
        reason = f"{count} tables of {stream} are, byte for byte, those of {other}"
        report.notes.append(Note(folder, reason))


def _same_configuration(left: Cell, right: Cell) -> bool:
    """Whether both cells must have equal records: a sweep may choose what is also submitted untuned."""
    return same_json(recorded_identity(left.config.method), recorded_identity(right.config.method))


def taken_names(submissions: Path) -> dict[str, str]:
    """Label -> name of the submission, for submissions whose method.json can be read."""
    found = {}
    for path in sorted(submissions.glob(f"*/{METHOD}")):
        with suppress(Refused):
            document = parse_document(read_file(path, MAX_JSON), MethodDocument)
            found[document.method.label] = path.parent.name
    return found
