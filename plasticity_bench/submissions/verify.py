"""``leaderboard --verify``: reads submissions as hostile data and says all that is wrong with them.

Nothing of a submission is imported, unpickled or followed out of its folder. Every score is computed again
from the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import Cell
from plasticity_bench.records.documents import recorded_identity
from plasticity_bench.storage.documents import parse_document
from plasticity_bench.storage.untrusted import (
    MAX_FILES,
    MAX_JSON,
    MAX_TOLD,
    Refused,
    printable,
    read_file,
    same_json,
)
from plasticity_bench.submissions.check_tuning import within_space
from plasticity_bench.submissions.documents import MethodDocument, ScoresDocument
from plasticity_bench.submissions.files import Note, as_name
from plasticity_bench.submissions.model import (
    METHOD,
    REFERENCE_NAMES,
    SCORES,
    Submission,
    method_document,
    references_of,
    scores_document,
)
from plasticity_bench.submissions.reader import Reader

#: Share by which a recomputed score may differ from the one submitted, and the least difference that counts:
#: they are written with nine digits, and libraries round sums differently.
RELATIVE, ABSOLUTE = 1e-7, 1e-9


@dataclass
class Report:
    """What a verification found. ``problems`` refuse; ``notes`` are for a reviewer to weigh."""

    problems: list[Note] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)  # those that could be read

    @property
    def seeds(self) -> int:
        """Tables read."""
        return sum(len(e.seeds) for s in self.submissions for e in s.streams.values())


def verify(paths: Sequence[Path], announce: Callable[[int, int], None] = lambda done, total: None) -> Report:
    """Verifies submissions: every path is one, or a folder of them.

    ``announce`` is told how many of how many are done. Raises InputError where a path is no folder.
    """
    report = Report()
    folders = [folder for path in paths for folder in _submissions(path, report)]
    known: dict[Path, Submission | None] = {}
    for done, folder in enumerate(folders):
        announce(done, len(folders))
        reader = Reader(folder)
        submission = known[folder] = reader.read()
        problems = list(reader.problems)
        if submission:
            report.submissions.append(submission)
            if reader.sound:
                found = _check_documents(submission, known)
                problems += [Note(folder / name, reason) for name, reason in found]
        report.problems += problems[:MAX_TOLD]
        if len(problems) > MAX_TOLD:
            report.problems.append(Note(folder, f"{len(problems) - MAX_TOLD} more problems"))
        report.notes += reader.notes
    _compare(report)
    announce(len(folders), len(folders))
    return report


def is_submission(path: Path) -> bool:
    """Whether the folder is meant as one submission rather than as a folder of them."""
    return (path / METHOD).is_file() or (path / "records").is_dir()


def folders_of(path: Path) -> list[Path]:
    """The submissions that a path stands for. Raises InputError where it is no folder, or an empty one."""
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


def _check_documents(
    submission: Submission, known: dict[Path, Submission | None]
) -> Iterator[tuple[str, str]]:
    """Compares both documents with what follows from the tables."""
    given, scores = submission.method, submission.scores
    if given is None or scores is None:
        return  # said already
    made = method_document(
        submission.name,
        submission.streams,
        submission.digests,
        given.search_space,
        given.submitter,
    )
    for where, found, wanted in _unequal(given.as_json(), made.as_json()):
        yield METHOD, _differs(where, found, wanted, "the records say")
    for stream, evidence in submission.streams.items():
        if evidence.cell.tuning and not within_space(evidence.cell.tuning, given.search_space):
            yield METHOD, f"search_space is not the one of the sweep on {stream}, less the learning rate"
    references = references_of(submission.streams, _beside(submission, known))
    taken = _references_given(submission, scores)
    if taken is None:
        yield SCORES, "does not say which seeds of the references its scores rest on"
        return
    for stream, methods in taken.items():
        for method, seeds in methods.items():
            recorded = references.get(method, {})
            lacking = sorted(set(seeds) - set(recorded[stream].seeds if stream in recorded else ()))
            if lacking:
                yield SCORES, f"{stream} rests on seeds {lacking} of {method}, which are not submitted"
                return
    wanted_scores = scores_document(submission.streams, references, taken).as_json()
    for where, found, wanted in _unequal(scores.as_json(), wanted_scores):
        yield SCORES, _differs(where, found, wanted, "the tables give")


def _references_given(
    submission: Submission, scores: ScoresDocument
) -> dict[str, dict[str, list[int]]] | None:
    """Stream -> reference -> the seeds that the scores rest on; None if they are not 0, 1, 2, ..., so that
    some might have been chosen."""
    given = {}
    for stream in submission.streams:
        references = scores.streams[stream].references if stream in scores.streams else {}
        if set(references) != set(REFERENCE_NAMES):
            return None
        if any(seeds != list(range(len(seeds))) for seeds in references.values()):
            return None
        given[stream] = references
    return given


def _beside(submission: Submission, known: dict[Path, Submission | None]) -> dict[str, Mapping[str, Any]]:
    """The references in the same folder of submissions, as far as they can be read."""
    found = {}
    for name in REFERENCE_NAMES:
        folder = submission.folder.parent / name
        if folder not in known:
            sound = folder.is_dir() and not folder.is_symlink()
            known[folder] = Reader(folder).read() if sound else None
        reference = known[folder]
        if reference and reference.streams and reference.label == name:
            found[name] = reference.streams
    return found


def _compare(report: Report) -> None:
    """What no submission shows by itself: a label taken twice, the same tables of two configurations, sweeps
    of another size."""
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
    """Whether the same records are due: a sweep may choose what is submitted untuned as well."""
    return same_json(recorded_identity(left.config.method), recorded_identity(right.config.method))


def _unequal(found: Any, wanted: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place at which two documents differ; numbers may differ by rounding."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            inner = f"{where}.{key}" if where else key
            if key not in found or key not in wanted:
                yield inner, found.get(key), wanted.get(key)
            else:
                yield from _unequal(found[key], wanted[key], inner)
    elif type(found) is float and type(wanted) is float:
        if abs(found - wanted) > max(ABSOLUTE, RELATIVE * abs(wanted)):
            yield where, found, wanted
    elif not same_json(found, wanted):
        yield where, found, wanted


def _differs(where: str, found: Any, wanted: Any, source: str) -> str:
    return f"{as_name(where)} is {printable(repr(found), 80)}; {source} {printable(repr(wanted), 80)}"


def taken_names(submissions: Path) -> dict[str, str]:
    """Label -> name of the submission, as far as the method.json there can be read."""
    found = {}
    for path in sorted(submissions.glob(f"*/{METHOD}")):
        with suppress(Refused):
            document = parse_document(read_file(path, MAX_JSON), MethodDocument)
            found[document.method.label] = path.parent.name
    return found
