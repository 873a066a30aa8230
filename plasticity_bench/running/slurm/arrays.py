"""The job arrays that were submitted from a run folder, as recorded on disk, and the reports of their jobs.

    runs/slurm/<name>/submission.json   the stack of seeds that each job trains; written before submitting
                     /task-<i>.json     the progress of job i, or why it failed; written by the job
                     /<job>_*           submitit's files: the pickled job, its result, its log

``<name>`` is also the name of the Slurm job. With it the job can be found even if the submitting command was
killed before sbatch returned the job's number.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from plasticity_bench.errors import InputError
from plasticity_bench.records.documents import utc_now
from plasticity_bench.storage.documents import Document, parse_document
from plasticity_bench.storage.files import write_bytes
from plasticity_bench.storage.untrusted import Refused

#: Folder of the job arrays, in the run folder.
FOLDER = "slurm"
ARRAY_SCHEMA = 1


class ArrayTask(Document, frozen=True):
    """One job of an array: a stack of seeds of a cell."""

    cell: str  # "permuted-digits-v1/syre-1a2b3c4d"
    stream: str  # label
    method: str  # label
    seeds: tuple[int, ...]
    seconds: float = 0.0  # expected duration
    steps: int = 0  # of training, over all seeds
    twins: bool = False  # whether it also trains the seeds' fresh twins


class ArrayDocument(Document, frozen=True):
    """submission.json."""

    schema: int
    tasks: tuple[ArrayTask, ...]
    submitted: str  # "2026-11-21T20:05:54Z"
    job: str | None  # Slurm's number of the job; None until sbatch has returned it


@dataclass(frozen=True)
class JobArray:
    """An array of jobs. A single task is submitted as a plain job."""

    path: Path
    tasks: tuple[ArrayTask, ...]
    submitted: str
    job: str | None = None

    @property
    def name(self) -> str:
        """The name of the Slurm job."""
        return self.path.name

    def job_id(self, index: int) -> str | None:
        """``17_3`` in an array, ``17`` for a single job; None if Slurm's number is not known."""
        return f"{self.job}_{index}" if self.job and len(self.tasks) > 1 else self.job

    def log(self, index: int) -> Path:
        """The file with what job ``index`` wrote to stderr."""
        return self.path / f"{self.job_id(index)}_0_log.err"

    def report(self, index: int) -> TaskReport:
        """The last report of job ``index``; an empty one if there is none, or if it is damaged."""
        try:
            return parse_document((self.path / report_name(index)).read_bytes(), TaskReport)
        except (OSError, Refused):  # a report is only information for the user
            return TaskReport()


class TaskReport(Document, frozen=True):
    """A job's own report."""

    state: str = ""  # "running", "done", "failed"; empty before it started
    share: float = 0.0  # of the work that is done, between 0 and 1
    reason: str = ""  # why it failed
    attempt: int = 0  # number of times that it was started
    host: str = ""
    job: str = ""
    updated: str = ""

    def write(self, folder: Path, index: int) -> None:
        """Replaces the report of job ``index``. Raises InputError if the disk is full."""
        write_bytes(folder / report_name(index), structs.replace(self, updated=utc_now()).to_bytes())


def report_name(index: int) -> str:
    """The file of a job's report."""
    return f"task-{index}.json"


def write_array(array: JobArray) -> None:
    """Writes the array's submission.json. Raises InputError if the disk is full."""
    document = ArrayDocument(ARRAY_SCHEMA, array.tasks, array.submitted, array.job)
    write_bytes(array.path / "submission.json", document.to_bytes())


def job_arrays(runs: Path) -> list[JobArray]:
    """All arrays of a run folder, oldest first. Raises InputError if one is damaged."""
    found = [_read(path) for path in (runs / FOLDER).glob("*/submission.json")]
    return sorted(found, key=lambda array: (array.submitted, array.name))


def _read(path: Path) -> JobArray:
    try:
        found = parse_document(path.read_bytes(), ArrayDocument)
        if found.schema != ARRAY_SCHEMA:
            raise Refused(f"schema is {found.schema}, this version reads {ARRAY_SCHEMA}")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except Refused as error:
        raise InputError(
            f"{path} is damaged ({error}); once none of its jobs runs (squeue --name={path.parent.name}), "
            "move its folder away"
        ) from None
    return JobArray(path.parent, found.tasks, found.submitted, found.job)


def claim_path(runs: Path) -> Path:
    """The file that exists while a command submits from this folder."""
    return runs / FOLDER / ".submitting"


@contextmanager
def submitting(runs: Path) -> Iterator[None]:
    """A context in which no other command submits from this run folder.

    It creates a file. That is atomic on NFS and Lustre too, unlike locks on many of these systems. Raises
    InputError if another command is submitting, or if the file cannot be written.
    """
    path = claim_path(runs)
    claim = {"host": socket.gethostname(), "pid": os.getpid(), "since": utc_now()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _abandoned(path):
            path.unlink(missing_ok=True)
        with open(path, "x") as file:
            json.dump(claim, file)
    except FileExistsError:
        raise InputError(
            f"another command is submitting from {runs} ({_owner(path)}); wait for it, or delete {path} "
            "if it was killed"
        ) from None
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another --runs folder") from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _owner(path: Path) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(path.read_text())
        return f"process {found['pid']} on {found['host']} since {found['since']}"
    return "of an unknown process"


def _abandoned(path: Path) -> bool:
    """Whether the file is of a process on this machine that has ended."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(path.read_text())
        if found["host"] == socket.gethostname():
            try:
                os.kill(int(found["pid"]), 0)
            except ProcessLookupError:
                return True
    return False
