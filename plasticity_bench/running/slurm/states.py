"""What is done, runs, waits, was stopped or failed, of every seed of a run folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from plasticity_bench.errors import InputError
from plasticity_bench.running.slurm.arrays import FOLDER, ArrayTask, JobArray, claim_path, job_arrays
from plasticity_bench.running.slurm.slurm import MEANING, SlurmState, accounting_states, queue

DONE, RUNNING, PENDING, STOPPED, FAILED = "done", "running", "pending", "stopped", "failed"
#: In the order in which they are shown.
STATES = (DONE, RUNNING, PENDING, STOPPED, FAILED)
#: States of a job that holds its seeds: nobody else may train them.
HOLDING = frozenset({RUNNING, PENDING})
#: What Slurm writes into a job's log when it ends it -> in words.
LOGGED = {
    "DUE TO TIME LIMIT": "time limit",
    "DUE TO NODE FAILURE": "node failure",
    "DUE TO PREEMPTION": "preempted",
    "oom-kill": "out of memory",
    "oom_kill": "out of memory",
    "CANCELLED AT": "cancelled",
    "Out Of Memory": "out of memory",
    "memory limit": "out of memory",
    "task 0: Killed": "the process was killed (out of memory?)",
}
#: Lines before one of the end in which its cause stands, where it is the memory.
CAUSE_LINES = 8


@dataclass(frozen=True)
class TaskState:
    """One job of an array."""

    array: JobArray
    index: int
    state: str  # of STATES
    reason: str  # why it waits, was stopped or failed; where it runs
    share: float  # done of 1
    job: str  # as scancel takes it; "" where Slurm gave none

    @property
    def task(self) -> ArrayTask:
        """What it trains."""
        return self.array.tasks[self.index]


@dataclass
class Recorded:
    """The seeds that are recorded in the cells of a run folder; each cell is looked at once."""

    runs: Path
    _known: dict[str, frozenset[int]] = field(default_factory=dict)

    def seeds(self, cell: str) -> frozenset[int]:
        """Of ``cell``, its path below the run folder."""
        if cell not in self._known:
            names = (
                re.fullmatch(r"seed-(\d{3,})\.json", p.name) for p in (self.runs / cell).glob("seed-*.json")
            )
            self._known[cell] = frozenset(int(name[1]) for name in names if name)
        return self._known[cell]


def task_states(runs: Path) -> list[TaskState]:
    """Every job submitted from a run folder, oldest array first.

    Raises InputError where this machine cannot ask Slurm and something is unfinished, and RunFailed where
    Slurm does not answer.
    """
    recorded = Recorded(runs)
    found = job_arrays(runs)
    unfinished = [s for s in found if any(not recorded.seeds(t.cell).issuperset(t.seeds) for t in s.tasks)]
    try:
        known = queue(array.name for array in unfinished)
    except InputError as error:
        raise InputError(
            f"{runs / FOLDER} holds unfinished job arrays, and there is {error} (or delete it where "
            "their jobs are gone)"
        ) from None
    # Looked at again: what was recorded while Slurm was asked is done, not missing.
    recorded = Recorded(runs)
    being_submitted = claim_path(runs).exists()
    forgotten = [
        job
        for s in unfinished
        for i, task in enumerate(s.tasks)
        if (s.name, i) not in known
        and not recorded.seeds(task.cell).issuperset(task.seeds)
        and (job := s.job_id(i))
    ]
    accounts = accounting_states(forgotten)
    return [
        _state(s, i, recorded, known.get((s.name, i)), accounts, being_submitted)
        for s in found
        for i in range(len(s.tasks))
    ]


def _state(
    array: JobArray,
    index: int,
    recorded: Recorded,
    known: SlurmState | None,
    accounts: Mapping[str, str],
    being_submitted: bool,
) -> TaskState:
    task, job = array.tasks[index], array.job_id(index) or (known.job if known else "")
    report = array.report(index)

    def found(state: str, reason: str) -> TaskState:
        return TaskState(array, index, state, reason, 1.0 if state == DONE else report.share, job)

    if recorded.seeds(task.cell).issuperset(task.seeds):
        return found(DONE, "")
    if known is not None and not known.ended:
        if known.waiting:
            return found(PENDING, "" if known.reason == "None" else known.reason)
        return found(RUNNING, f"on {report.host}" if report.host else known.state.lower())
    if array.job is None and known is None and being_submitted:
        return found(PENDING, "being submitted")
    if report.state == "failed":
        return found(FAILED, report.reason)
    state = known.state if known is not None else accounts.get(job, "")
    if state == "CANCELLED":
        return found(STOPPED, "cancelled")
    if array.job is None:
        return found(STOPPED, "never submitted: the command was killed")
    reason = _logged(array.log(index)) if state in ("", "FAILED", "COMPLETED") else ""
    if reason == "cancelled":
        return found(STOPPED, reason)
    return found(FAILED, reason or MEANING.get(state, state.lower() or "ended without its records"))


def _logged(path: Path) -> str:
    """Why Slurm ended the job, by the end of its log; "" where that says nothing."""
    with suppress(OSError):
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
        told = [next((words for phrase, words in LOGGED.items() if phrase in line), "") for line in lines]
        last = max((i for i, words in enumerate(told) if words), default=None)
        if last is not None:  # an earlier end than this one is of an earlier start
            cause = told[max(0, last - CAUSE_LINES) : last]
            return "out of memory" if "out of memory" in cause else told[last]
    return ""


def holding(states: Iterable[TaskState]) -> dict[str, set[int]]:
    """Cell -> the seeds that a job trains or will train."""
    found: dict[str, set[int]] = {}
    for state in states:
        if state.state in HOLDING:
            found.setdefault(state.task.cell, set()).update(state.task.seeds)
    return found


def refuse_submitted(cells: Sequence[Path]) -> None:
    """Raises InputError where one of these cells' folders is written by Slurm jobs."""
    for runs in sorted({path.parent.parent for path in cells}):
        if not (runs / FOLDER).is_dir():
            continue
        held = holding(task_states(runs))
        for path in cells:
            cell = f"{path.parent.name}/{path.name}"
            if path.parent.parent == runs and cell in held:
                raise InputError(
                    f"{path}: {len(held[cell])} seeds are trained by Slurm jobs; wait for them (`status "
                    f"--runs {runs}`), or end them (`cancel --runs {runs}`)"
                )
