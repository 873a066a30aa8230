"""Makes a submission of what a run recorded, or adds to one: whole or not at all, and nothing is replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.cells import TUNED, TUNED_MARK, TUNING
from plasticity_bench.records.configuration import method_folder
from plasticity_bench.records.documents import SweepTable, Value, recorded_identity
from plasticity_bench.registry.choices import Chosen, choose_method
from plasticity_bench.registry.settings import LEARNING_RATE
from plasticity_bench.running.plan import Planned
from plasticity_bench.storage.documents import Document, convert
from plasticity_bench.storage.files import write_bytes
from plasticity_bench.storage.locks import hold_lock
from plasticity_bench.storage.untrusted import Refused, is_name, parse_object, same_json
from plasticity_bench.submissions.documents import Submitter
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
    """The method's name where it has its default settings, else with the hash of its configuration; of a
    ``tuned`` one with ``-tuned`` behind it."""
    own = method.label == method.cls.info.name
    name = (method.cls.info.name if own else method_folder(method)).lower().replace(".", "-")
    return f"{name}{TUNED if tuned else ''}"


def find_submission(out: Path, name: str, method: Chosen, tuned: bool = False) -> Submission | None:
    """The submission of this name that ``out`` holds already, None where there is none. Where it is
    ``tuned``, ``method`` is what its sweeps began from.

    Raises InputError where it is damaged or of another configuration, where the name cannot be one, and where
    the method is submitted under another name.
    """
    if not is_name(name):
        raise InputError(f'"{name}" cannot name a submission: use small letters, digits, + _ and - (--name)')
    folder = out / name
    if _old(folder).exists():
        with _alone(folder):
            _recover(folder)
    label = f"{method.label}{TUNED_MARK}" if tuned else method.label
    taken = taken_names(out).get(label)
    if taken not in (None, name):
        raise InputError(f"{label} is submitted already as {out / str(taken)}; give it another name")
    if not folder.exists():
        return None
    reader = Reader(folder)
    found = reader.read()
    if reader.problems or found is None:
        raise InputError(f"{reader.problems[0]}; mend or move away what is in {folder}, then submit again")
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


def missing(
    found: Submission | None, stream: str, seeds: Sequence[int], tuning: SweepTable | None = None
) -> tuple[int, ...]:
    """Those of ``seeds`` on the stream (its folder's name) that are not submitted yet. ``tuning``: the sweep
    that chose the settings.

    Raises InputError where another sweep's choice is submitted there.
    """
    if not found or stream not in found.streams:
        return tuple(seeds)
    evidence = found.streams[stream]
    if tuning and tuning != evidence.cell.tuning:
        raise InputError(
            f"{found.folder} holds the choice of another sweep on {stream}, which stays: submit with the "
            "table of that sweep, or move the folder away"
        )
    return tuple(seed for seed in seeds if seed not in evidence.seeds)


def write_submission(
    out: Path,
    name: str,
    method: Chosen,
    planned: Sequence[Planned],
    found: Submission | None,
    submitter: Submitter,
) -> str:
    """Writes ``out/name`` from ``found`` and the planned seeds, which are recorded; says in a word what
    became of it: "new", "extended", "rescored" (only the documents changed) or "identical".

    Raises RunFailed, with nothing changed, where what was recorded would not be verified; InputError where
    another process writes the submission, or has since it was found.
    """
    folder = out / name
    with _alone(folder), _beside(folder) as draft:
        now = Reader(folder).read() if folder.exists() else None
        if (now and now.digests) != (found and found.digests):
            raise InputError(
                f"{folder} was written by another process meanwhile; run the same command again: "
                "what is trained is recorded"
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
            _move(draft, folder)
    if not changed:
        return "identical"
    if not found:
        return "new"
    return "rescored" if set(changed) <= {METHOD, SCORES} else "extended"


def rescore(folders: Sequence[Path]) -> list[Path]:
    """Writes both documents of these submissions anew from their records; returns those that changed.

    Raises RunFailed, with none changed, where the records of one are not sound.
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
        write_documents(submission, *_given(submission), references[submission.folder.parent])
        if before != [_content(submission.folder / name) for name in (METHOD, SCORES)]:
            changed.append(submission.folder)
    return changed


class _Kept(Document, frozen=True):
    """What rescoring takes over from method.json."""

    search_space: dict[str, list[Value]]
    submitter: Submitter


def _given(submission: Submission) -> tuple[Mapping[str, Sequence[Value]], Submitter]:
    """Search space and submitter, which follow from no record: as they were; a built-in's are its own."""
    method = submission.recorded
    space: Mapping[str, Sequence[Value]] = {}
    submitter = Submitter()
    path = submission.folder / METHOD
    content = _content(path)
    if content is not None:
        try:
            # Only these two entries: a document of another schema has them too.
            kept = {
                name: value
                for name, value in parse_object(content).items()
                if name in _Kept.__struct_fields__
            }
            given = convert(kept, _Kept)
        except Refused as error:
            raise RunFailed(f"{path}: {error}; no scores are written") from None
        space, submitter = given.search_space, given.submitter
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
    """Writes method.json and scores.json of a submission whose records are sound."""
    streams = submission.streams
    method = method_document(submission.name, streams, submission.digests, search_space, submitter)
    write_bytes(submission.folder / METHOD, method.to_bytes())
    scores = scores_document(streams, references_of(streams, references))
    write_bytes(submission.folder / SCORES, scores.to_bytes())


def _references(out: Path) -> dict[str, Streams]:
    """The evidence of `none` and `reset` among the submissions in ``out``."""
    folders = {name: out / name for name in REFERENCE_NAMES if (out / name).is_dir()}
    read = {name: Reader(folder).read_records() for name, folder in folders.items()}
    return {name: found.streams for name, found in read.items() if found and found.label == name}


def _identity(method: Chosen, tuned: bool) -> dict[str, object]:
    """What is the same on every stream of the submission."""
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
    """Copies a cell's config.json, the table of its sweep and the tables of its planned seeds. Raises
    InputError where tables differ from what was submitted of the same seeds."""
    cell = item.cell
    target = draft / RECORDS / cell.stream / cell.path.name
    target.mkdir(parents=True, exist_ok=True)
    tables = [cell.table_path(seed) for seed in item.seeds]
    records = [*tables, *(path.with_suffix(".json") for path in tables)]
    sweep = [cell.path / TUNING] if cell.tuning else []
    for path in (cell.path / "config.json", *sweep, *records):
        if not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)
        elif path.suffix == ".csv" and _differs(path, target / path.name):
            raise InputError(
                f"{path} differs from the table submitted of that seed; the submitted one stays: "
                "choose another --runs folder"
            )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lets no other process write the submission in ``folder``. Raises InputError where one does."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.parent / f".{folder.name}.lock"
    with hold_lock(file, folder, "choose another --out folder"):
        try:
            yield
        finally:
            # Here are folders only. It is still hold_lock: whoever has opened it sees that it is gone.
            with suppress(OSError):
                file.unlink()


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A place for a draft of the folder on the same disk, removed afterwards."""
    place = folder.parent / f".{folder.name}.{os.getpid()}.tmp"
    try:
        place.mkdir(parents=True)
        yield place / folder.name
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _move(draft: Path, folder: Path) -> None:
    """Puts the draft into the folder's place. A folder cannot be replaced in one step: one that is killed
    between the two leaves the old one to ``_recover``."""
    if folder.exists():
        os.replace(folder, _old(folder))
    os.replace(draft, folder)
    shutil.rmtree(_old(folder), ignore_errors=True)


def _recover(folder: Path) -> None:
    """Undoes or finishes what a killed ``_move`` began."""
    if _old(folder).exists():
        if folder.exists():
            shutil.rmtree(_old(folder))
        else:
            os.replace(_old(folder), folder)


def _old(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _differs(left: Path, right: Path) -> bool:
    return not right.exists() or left.read_bytes() != right.read_bytes()
