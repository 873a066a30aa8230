"""What was submitted from a run folder, on disk, and what its jobs say of themselves.

    runs/slurm/<name>/submission.json   which stack of seeds each job trains; written before it is submitted
                     /task-<i>.json     how far job i is, or why it failed; written by the job
                     /<job>_*           submitit's: the pickled job, its outcome, its log

``<name>`` is the name of the Slurm job as well, by which it is found even where the submitting command was
killed before it heard the job's number.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from plasticity_bench.errors import InputError
from plasticity_bench.storage.files import write_json

#: Folder of the submissions, in the run folder.
FOLDER = "slurm"
SCHEMA = 1


@dataclass(frozen=True)
class Task:
    """One job: a stack of seeds of a cell."""

    cell: str  # "permuted-digits-v1/syre-1a2b3c4d"
    stream: str  # as ``choose_stream`` reads it
    method: str
    seeds: tuple[int, ...]
    seconds: float = 0.0  # expected duration
    steps: int = 0  # of training, over all seeds


@dataclass(frozen=True)
class Submission:
    """One array of jobs (or, of one task, a job)."""

    path: Path
    tasks: tuple[Task, ...]
    submitted: str  # "2026-11-21T20:05:54Z"
    job: str | None = None  # Slurm's number of it; None until it answered

    @property
    def name(self) -> str:
        """The job's name."""
        return self.path.name

    def job_id(self, index: int) -> str | None:
        """``17_3`` of an array, ``17`` of a job alone."""
        return f"{self.job}_{index}" if self.job and len(self.tasks) > 1 else self.job

    def log(self, index: int) -> Path:
        """What job ``index`` wrote to stderr."""
        return self.path / f"{self.job_id(index)}_0_log.err"

    def report(self, index: int) -> TaskReport:
        """What job ``index`` last wrote of itself; an empty report where it has not begun."""
        try:
            found = json.loads((self.path / report_name(index)).read_text())
            return TaskReport(**found)
        except (OSError, ValueError, TypeError):  # not there, or damaged: a report only informs
            return TaskReport()


@dataclass(frozen=True)
class TaskReport:
    """A job's own word."""

    state: str = ""  # "running", "done", "failed"; "" before it began
    share: float = 0.0  # done of 1
    reason: str = ""  # why it failed
    attempt: int = 0  # how often it was started
    host: str = ""
    job: str = ""
    updated: str = field(default="", compare=False)

    def write(self, folder: Path, index: int) -> None:
        """Replaces the report of job ``index``. Raises InputError where the disk is full."""
        write_json(folder / report_name(index), {**asdict(self), "updated": now()})


def report_name(index: int) -> str:
    """The file of a job's report."""
    return f"task-{index}.json"


def now() -> str:
    """The time, as records hold it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write(submission: Submission) -> None:
    """Records a submission."""
    document = asdict(submission)
    del document["path"]
    write_json(submission.path / "submission.json", {"schema": SCHEMA, **document})


def submissions(runs: Path) -> list[Submission]:
    """All of a run folder, oldest first. Raises InputError where one is damaged."""
    found = [_read(path) for path in (runs / FOLDER).glob("*/submission.json")]
    return sorted(found, key=lambda submission: (submission.submitted, submission.name))


def _read(path: Path) -> Submission:
    try:
        document: Mapping[str, Any] = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise InputError(f"{path} has schema {document['schema']}, this version reads {SCHEMA}")
        tasks = tuple(Task(**{**task, "seeds": tuple(task["seeds"])}) for task in document["tasks"])
        return Submission(path.parent, tasks, document["submitted"], document["job"])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error!r}); once none of its jobs runs (squeue --name={path.parent.name}), "
            "move its folder away"
        ) from error


def claim_path(runs: Path) -> Path:
    """Stands while a command submits from this folder."""
    return runs / FOLDER / ".submitting"


@contextmanager
def submitting(runs: Path) -> Iterator[None]:
    """One command at a time submits from a run folder.

    By the creation of a file, which is atomic on NFS and Lustre too, where locks often are not. Raises
    InputError where another command is at it.
    """
    path = claim_path(runs)
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _abandoned(path):
            path.unlink(missing_ok=True)
        with open(path, "x") as file:
            json.dump(mine, file)
    except FileExistsError:
        raise InputError(
            f"another command is submitting from {runs} ({_owner(path)}); wait for it, or delete {path} "
            "where it was killed"
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
    """Whether the claim is of a process of this machine that is gone."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(path.read_text())
        if found["host"] == socket.gethostname():
            try:
                os.kill(int(found["pid"]), 0)
            except ProcessLookupError:
                return True
    return False
