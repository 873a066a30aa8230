"""The state of every Slurm job that was submitted from a run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from plasticity_bench.errors import InputError
from plasticity_bench.records.names import cell_label, recorded_seeds
from plasticity_bench.running.slurm.arrays import FOLDER, ArrayTask, JobArray, claim_path, job_arrays
from plasticity_bench.running.slurm.slurm import MEANING, SlurmState, accounting_states, queue

DONE, RUNNING, PENDING, STOPPED, FAILED = "done", "running", "pending", "stopped", "failed"
#: All states, in the order in which they are shown.
STATES = (DONE, RUNNING, PENDING, STOPPED, FAILED)
#: States of a job whose seeds no other process may train.
ACTIVE_STATES = frozenset({RUNNING, PENDING})
#: What Slurm writes into the log of a job that it ends -> the reason, in messages.
LOGGED_REASONS = {
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
#: If a job exceeds its memory, Slurm says so within this many lines before it says that the job has ended.
CAUSE_LINES = 8


@dataclass(frozen=True)
class TaskState:
    """One job of an array."""

    array: JobArray
    index: int
    state: str  # of STATES
    reason: str  # why it waits, was stopped or failed; or on which host it runs
    share: float  # of the work that is done, between 0 and 1
    job: str  # as scancel takes it; empty if Slurm gave it no number

    @property
    def task(self) -> ArrayTask:
        """The stack of seeds that it trains."""
        return self.array.tasks[self.index]


@dataclass
class RecordedSeeds:
    """The recorded seeds of the cells of a run folder. Each cell's folder is read once."""

    runs: Path
    _known: dict[tuple[str, str], frozenset[int]] = field(default_factory=dict)

    def seeds(self, cell: str, kind: str = "seed") -> frozenset[int]:
        """The recorded seeds of ``cell``, which is its path in the run folder.

        ``kind`` "fresh": those whose fresh twins are recorded.
        """
        if (cell, kind) not in self._known:
            self._known[cell, kind] = frozenset(recorded_seeds(self.runs / cell, kind))
        return self._known[cell, kind]

    def hold(self, task: ArrayTask) -> bool:
        """Whether all that ``task`` trains is recorded."""
        kinds = ("seed", "fresh") if task.twins else ("seed",)
        return all(self.seeds(task.cell, kind).issuperset(task.seeds) for kind in kinds)


def task_states(runs: Path) -> list[TaskState]:
    """Every job submitted from a run folder, oldest array first.

    Raises:
        InputError: Something is unfinished, and this machine has no ``squeue``.
        RunFailed: Slurm did not answer.
    """
    recorded = RecordedSeeds(runs)
    arrays = job_arrays(runs)
    unfinished = [array for array in arrays if not all(map(recorded.hold, array.tasks))]
    try:
        listed = queue(array.name for array in unfinished)
    except InputError as error:
        raise InputError(
            f"{runs / FOLDER} holds unfinished job arrays, and there is {error} (or delete it if "
            "their jobs have ended)"
        ) from None
    # Read again: jobs may have recorded seeds while Slurm was asked.
    recorded = RecordedSeeds(runs)
    being_submitted = claim_path(runs).exists()
    forgotten = [
        job
        for array in unfinished
        for i, task in enumerate(array.tasks)
        if (array.name, i) not in listed and not recorded.hold(task) and (job := array.job_id(i))
    ]
    accounts = accounting_states(forgotten)
    return [
        _state(array, i, recorded, listed.get((array.name, i)), accounts, being_submitted)
        for array in arrays
        for i in range(len(array.tasks))
    ]


def _state(
    array: JobArray,
    index: int,
    recorded: RecordedSeeds,
    listed: SlurmState | None,
    accounts: Mapping[str, str],
    being_submitted: bool,
) -> TaskState:
    task, job = array.tasks[index], array.job_id(index) or (listed.job if listed else "")
    report = array.report(index)

    def found(state: str, reason: str) -> TaskState:
        return TaskState(array, index, state, reason, 1.0 if state == DONE else report.share, job)

    if recorded.hold(task):
        return found(DONE, "")
    if listed is not None and not listed.ended:
        if listed.waiting:
            return found(PENDING, "" if listed.reason == "None" else listed.reason)
        return found(RUNNING, f"on {report.host}" if report.host else listed.state.lower())
    if array.job is None and listed is None and being_submitted:
        return found(PENDING, "being submitted")
    if report.state == "failed":
        return found(FAILED, report.reason)
    state = listed.state if listed is not None else accounts.get(job, "")
    if state == "CANCELLED":
        return found(STOPPED, "cancelled")
    if array.job is None:
        return found(STOPPED, "never submitted: the command was killed")
    reason = _logged_reason(array.log(index)) if state in ("", "FAILED", "COMPLETED") else ""
    if reason == "cancelled":
        return found(STOPPED, reason)
    return found(FAILED, reason or MEANING.get(state, state.lower() or "ended without its records"))


def _logged_reason(path: Path) -> str:
    """Why Slurm ended the job, from the end of its log; empty if the log does not say."""
    with suppress(OSError):
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
        reasons = [
            next((reason for phrase, reason in LOGGED_REASONS.items() if phrase in line), "")
            for line in lines
        ]
        last = max((i for i, reason in enumerate(reasons) if reason), default=None)
        if last is not None:  # earlier ones are of earlier starts of the job
            just_before = reasons[max(0, last - CAUSE_LINES) : last]
            return "out of memory" if "out of memory" in just_before else reasons[last]
    return ""


def submitted_seeds(states: Iterable[TaskState]) -> dict[str, set[int]]:
    """Cell -> the seeds that a job trains or will train."""
    found: dict[str, set[int]] = {}
    for state in states:
        if state.state in ACTIVE_STATES:
            found.setdefault(state.task.cell, set()).update(state.task.seeds)
    return found


def refuse_submitted(cells: Sequence[Path]) -> None:
    """Raises InputError if Slurm jobs train seeds of one of these cells, which are given by their folders."""
    for runs in sorted({path.parent.parent for path in cells}):
        if not (runs / FOLDER).is_dir():
            continue
        submitted = submitted_seeds(task_states(runs))
        for path in cells:
            cell = cell_label(path)
            if path.parent.parent == runs and cell in submitted:
                raise InputError(
                    f"{path}: {len(submitted[cell])} seeds are trained by Slurm jobs; wait for them (`status "
                    f"--runs {runs}`), or end them (`cancel --runs {runs}`)"
                )
