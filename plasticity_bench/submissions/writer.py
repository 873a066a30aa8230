"""Makes a submission from recorded seeds, or adds seeds to one. Submitted records are never replaced."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.cells import TUNED, TUNING
from plasticity_bench.records.configuration import method_folder
from plasticity_bench.records.documents import Value, recorded_identity
from plasticity_bench.records.names import TUNED_MARK
from plasticity_bench.registry.choices import Chosen, choose_method
from plasticity_bench.registry.settings import LEARNING_RATE
from plasticity_bench.running.plan import Planned
from plasticity_bench.storage.documents import Document, convert
from plasticity_bench.storage.files import write_bytes
from plasticity_bench.storage.untrusted import Refused, is_name, parse_object, same_json
from plasticity_bench.submissions.documents import Submitter
from plasticity_bench.submissions.drafts import draft_folder, move_into_place, recover, submission_lock
from plasticity_bench.submissions.extension import check_same_table
from plasticity_bench.submissions.model import (
    METHOD,
    RECORDS,
    REFERENCE_NAMES,
    SCORES,
    Streams,
    Submission,
    method_document,
    references_of,
    scores_document,
)
from plasticity_bench.submissions.reader import Reader, source_name
from plasticity_bench.submissions.verify import taken_names


def submission_name(method: Chosen, tuned: bool = False) -> str:
    """The default name of a submission: ``l2``, ``l2-tuned``.

    It ends with the hash of the configuration if the settings are not the defaults.
    """
    own = method.label == method.cls.info.name
    name = (method.cls.info.name if own else method_folder(method)).lower().replace(".", "-")
    return f"{name}{TUNED if tuned else ''}"


def find_submission(out: Path, name: str, method: Chosen, tuned: bool = False) -> Submission | None:
    """The submission of this name in ``out``, or None.

    Args:
        out: the folder of submissions.
        name: of the submission.
        method: the submitted method; if ``tuned``, the default that its sweeps started from.
        tuned: whether sweeps choose the settings.

    Raises:
        InputError: if the name is not allowed, if the submission is damaged or has another configuration, or
            if the method is submitted under another name.
    """
    if not is_name(name):
        raise InputError(f'"{name}" cannot name a submission: use small letters, digits, + _ and - (--name)')
    folder = out / name
    recover(folder)
    label = f"{method.label}{TUNED_MARK}" if tuned else method.label
    taken = taken_names(out).get(label)
    if taken not in (None, name):
        raise InputError(f"{label} is submitted already as {out / str(taken)}; give it another name")
    if not folder.exists():
        return None
    reader = Reader(folder)
    found = reader.read()
    if reader.problems or found is None:
        raise InputError(f"{reader.problems[0]}; repair {folder} or move it away, then submit again")
    if found.tuned != tuned:
        others = "the choice of sweeps (--tuned)" if found.tuned else "no sweep's choice"
        raise InputError(f"{folder} holds settings that are {others}; choose another name with --name")
    recorded = recorded_identity(found.recorded)
    for key, value in _identity(method, tuned).items():
        if not same_json(recorded[key], value):
            raise InputError(
                f"{folder} holds another configuration (method.{key} differs); "
                "choose another name with --name, or move it away"
            )
    return found


def write_submission(
    out: Path,
    name: str,
    method: Chosen,
    planned: Sequence[Planned],
    found: Submission | None,
    submitter: Submitter,
) -> str:
    """Writes ``out/name`` from the existing submission and the planned seeds, which are recorded.

    Args:
        out: the folder of submissions.
        name: of the submission.
        method: as for ``find_submission``.
        planned: the seeds to add.
        found: the existing submission, from ``find_submission``.
        submitter: who submits.

    Returns:
        What changed: "new", "extended", "rescored" (only the documents) or "identical".

    Raises:
        RunFailed: if the records would not pass verification. Nothing is changed then.
        InputError: if another process is writing the submission, or has written it since it was found.
    """
    folder = out / name
    with submission_lock(folder), draft_folder(folder) as draft:
        now = Reader(folder).read() if folder.exists() else None
        if (now and now.digests) != (found and found.digests):
            raise InputError(
                f"{folder} was written by another process meanwhile; run the same command again: "
                "trained seeds are recorded"
            )
        if found:
            shutil.copytree(folder, draft)
        for item in planned:
            _copy(item, draft)
        for part in method.parts or (method,):
            if part.plugin:
                write_bytes(draft / PurePosixPath(source_name(part.source)), part.plugin.source)
        reader = Reader(draft)
        made = reader.read_records()
        if reader.problems or made is None:
            problem = reader.problems[0]
            raise RunFailed(
                f"{problem.path.relative_to(draft.parent)}: {problem.reason}; nothing is submitted"
            )
        write_documents(made, method.cls.info.search_space, submitter, _references(out))
        changed = [name for name in _files(draft) if not found or _differs(draft / name, folder / name)]
        if changed:
            move_into_place(draft, folder)
    if not changed:
        return "identical"
    if not found:
        return "new"
    return "rescored" if set(changed) <= {METHOD, SCORES} else "extended"


def rescore(folders: Sequence[Path]) -> list[Path]:
    """Writes both documents of these submissions again, from their records.

    Returns:
        The submissions that changed.

    Raises:
        RunFailed: if a submission's records are damaged. No submission is changed then.
    """
    read = []
    for folder in folders:
        reader = Reader(folder)
        submission = reader.read_records()
        if reader.problems or submission is None:
            raise RunFailed(f"{reader.problems[0]}; no scores are written")
        read.append(submission)
    changed = []
    references = {out: _references(out) for out in {folder.parent for folder in folders}}
    for submission in read:
        before = [_content(submission.folder / name) for name in (METHOD, SCORES)]
        search_space, submitter = _kept_entries(submission)
        write_documents(submission, search_space, submitter, references[submission.folder.parent])
        if before != [_content(submission.folder / name) for name in (METHOD, SCORES)]:
            changed.append(submission.folder)
    return changed


class _KeptEntries(Document, frozen=True):
    """The entries of method.json that rescoring keeps: no record gives them."""

    search_space: dict[str, list[Value]]
    submitter: Submitter


def _kept_entries(submission: Submission) -> tuple[Mapping[str, Sequence[Value]], Submitter]:
    """Search space and submitter in method.json; a built-in has the search space of this version."""
    method = submission.recorded
    space: Mapping[str, Sequence[Value]] = {}
    submitter = Submitter()
    path = submission.folder / METHOD
    content = _content(path)
    if content is not None:
        try:
            # Only these two entries are read, as documents of other schemas have them too.
            names = _KeptEntries.__struct_fields__
            entries = {name: value for name, value in parse_object(content).items() if name in names}
            kept = convert(entries, _KeptEntries)
        except Refused as error:
            raise RunFailed(f"{path}: {error}; no scores are written") from None
        space, submitter = kept.search_space, kept.submitter
    if method.source == "builtin":
        space = choose_method(method.name).cls.info.search_space
    return space, submitter


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def write_documents(
    submission: Submission,
    search_space: Mapping[str, Sequence[Value]],
    submitter: Submitter,
    references: Mapping[str, Streams],
) -> None:
    """Writes method.json and scores.json of a submission with valid records."""
    streams = submission.streams
    method = method_document(submission.name, streams, submission.digests, search_space, submitter)
    write_bytes(submission.folder / METHOD, method.to_bytes())
    scores = scores_document(streams, references_of(streams, references))
    write_bytes(submission.folder / SCORES, scores.to_bytes())


def _references(out: Path) -> dict[str, Streams]:
    """The evidence of the references among the submissions in ``out``."""
    folders = {name: out / name for name in REFERENCE_NAMES if (out / name).is_dir()}
    read = {name: Reader(folder).read_records() for name, folder in folders.items()}
    return {
        name: found.streams for name, found in read.items() if found and found.label == REFERENCE_NAMES[name]
    }


def _identity(method: Chosen, tuned: bool) -> dict[str, object]:
    """The method's entries that must be the same on every stream of the submission."""
    info = method.cls.info
    searched = {*info.search_space, LEARNING_RATE} if tuned else set()
    return {
        "name": info.name,
        "version": info.version,
        "settings": {name: value for name, value in method.settings.items() if name not in searched},
        "source": method.source,
        "digest": method.digest,
        **({"label": f"{method.label}{TUNED_MARK}"} if tuned else {}),
    }


def _copy(item: Planned, draft: Path) -> None:
    """Copies config.json, the sweep's table and the planned seeds of a cell into the draft.

    With a seed go its fresh twins, if they are planned and recorded.

    Raises:
        InputError: if a table differs from the submitted one of the same seed.
    """
    cell = item.cell
    target = draft / RECORDS / cell.stream / cell.path.name
    target.mkdir(parents=True, exist_ok=True)
    twins = set(cell.fresh.seeds()) if item.twins else set()
    tables = [cell.trained.path(seed) for seed in item.seeds]
    tables += [cell.fresh.path(seed) for seed in item.seeds if seed in twins]
    records = [*tables, *(path.with_suffix(".json") for path in tables)]
    sweep = [cell.path / TUNING] if cell.tuning else []
    for path in (cell.path / "config.json", *sweep, *records):
        if not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)
        elif path.suffix == ".csv":
            check_same_table(path, target / path.name)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _differs(left: Path, right: Path) -> bool:
    return not right.exists() or left.read_bytes() != right.read_bytes()
