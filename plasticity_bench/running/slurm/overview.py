"""The state of every cell of a run folder, for ``status``: Slurm jobs and runs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import Cell, find_cells
from plasticity_bench.records.checkpoints import FRESH_CHECKPOINT, checkpoint_seeds
from plasticity_bench.running.slurm import states
from plasticity_bench.running.slurm.states import DONE, FAILED, PENDING, RUNNING, STATES, STOPPED, TaskState
from plasticity_bench.storage.locks import is_held


class UnfinishedSeeds(NamedTuple):
    """Seeds of a cell that are not done, and why."""

    state: str
    seeds: tuple[int, ...]
    reason: str
    job: str = ""
    log: str = ""
    share: float = 0.0  # of the work that is done, between 0 and 1


@dataclass
class CellState:
    """One cell: the state of every seed that is recorded, was submitted or has a checkpoint."""

    cell: Cell
    seeds: dict[int, str] = field(default_factory=dict)  # of STATES
    notes: list[UnfinishedSeeds] = field(default_factory=list)

    def count(self, state: str) -> int:
        """Number of seeds in this state."""
        return sum(found == state for found in self.seeds.values())

    def as_json(self) -> dict[str, Any]:
        """The state as plain values, for ``status --json``."""
        return {
            "stream": self.cell.stream,
            "method": self.cell.method,
            "folder": str(self.cell.path),
            **{s: sorted(seed for seed, found in self.seeds.items() if found == s) for s in STATES},
            "notes": [{**note._asdict(), "seeds": list(note.seeds)} for note in self.notes],
        }


def overview(runs: Path) -> list[CellState]:
    """The state of every cell in the folder ``runs``.

    Raises InputError if there is no cell or a record is damaged, and what ``task_states`` raises.
    """
    tasks: dict[str, list[TaskState]] = {}
    for task in states.task_states(runs):
        tasks.setdefault(task.task.cell, []).append(task)
    return [_cell_state(cell, tasks.get(cell.label, [])) for cell in find_cells(runs)]


def _cell_state(cell: Cell, tasks: Sequence[TaskState]) -> CellState:
    found = CellState(cell, dict.fromkeys(cell.seeds(), DONE))
    # A seed has the state of the job that runs or waits for it, or else of the latest job that ended.
    latest_first = tasks[::-1]
    for state in sorted(latest_first, key=lambda state: state.state not in states.ACTIVE_STATES):
        seeds = tuple(seed for seed in state.task.seeds if seed not in found.seeds)
        if seeds and state.state != DONE:
            found.seeds.update(dict.fromkeys(seeds, state.state))
            log = str(state.array.log(state.index)) if state.state == FAILED and state.job else ""
            found.notes.append(
                UnfinishedSeeds(state.state, seeds, state.reason, state.job, log, round(state.share, 4))
            )
    _add_local(found)
    return found


def _add_local(found: CellState) -> None:
    """Adds what a run on this machine trains now, or left unfinished."""
    folder, error = found.cell.path, found.cell.path / "error.txt"
    is_running = is_held(folder)
    begun = [*checkpoint_seeds(folder), *checkpoint_seeds(folder, FRESH_CHECKPOINT)]
    stacks = [tuple(s for s in stack if s not in found.seeds) for stack in begun]
    for seeds in filter(None, stacks):
        state = RUNNING if is_running else FAILED if error.exists() else STOPPED
        reason = {RUNNING: "on this machine", FAILED: last_line(error)}.get(state, "the run was ended")
        found.seeds.update(dict.fromkeys(seeds, state))
        found.notes.append(UnfinishedSeeds(state, seeds, reason, log=str(error) if state == FAILED else ""))
    known = {note.state for note in found.notes}
    if is_running and RUNNING not in known:
        found.notes.append(UnfinishedSeeds(RUNNING, (), "on this machine, no checkpoint yet"))
    elif error.exists() and not known:
        found.notes.append(UnfinishedSeeds(FAILED, (), last_line(error), log=str(error)))


def last_line(path: Path) -> str:
    """The last line of a file with a traceback; "unknown" if it cannot be read."""
    with suppress(OSError):
        lines = path.read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1][:200]
    return "unknown"


def end_jobs(runs: Path) -> tuple[int, int]:
    """Ends all Slurm jobs that were submitted from a run folder.

    Returns:
        How many of them were running, and how many pending.

    Raises:
        InputError: Nothing was submitted from there, or Slurm's commands are missing.
        RunFailed: Slurm refused.
    """
    from plasticity_bench.running.slurm.slurm import cancel

    if not (runs / states.FOLDER).is_dir():
        raise InputError(f"{runs} holds no submissions: nothing was submitted to Slurm from there")
    active = [
        state for state in states.task_states(runs) if state.state in states.ACTIVE_STATES and state.job
    ]
    cancel([state.job for state in active])
    running, pending = (sum(state.state == kind for state in active) for kind in (RUNNING, PENDING))
    return running, pending
