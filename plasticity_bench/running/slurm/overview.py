"""The state of every cell of a run folder, for ``status``: of Slurm's jobs and of runs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import Cell, find_cells
from plasticity_bench.records.checkpoints import checkpoint_seeds
from plasticity_bench.running.slurm import states
from plasticity_bench.running.slurm.states import DONE, FAILED, PENDING, RUNNING, STATES, STOPPED, TaskState
from plasticity_bench.storage.locks import is_held


class UnfinishedSeeds(NamedTuple):
    """What is to be said of some seeds that are not done."""

    state: str
    seeds: tuple[int, ...]
    reason: str
    job: str = ""
    log: str = ""
    share: float = 0.0  # done of 1


@dataclass
class CellState:
    """One cell: the state of every seed that is recorded, was submitted or has a checkpoint."""

    cell: Cell
    seeds: dict[int, str] = field(default_factory=dict)  # of STATES
    notes: list[UnfinishedSeeds] = field(default_factory=list)

    def count(self, state: str) -> int:
        """Seeds of that state."""
        return sum(found == state for found in self.seeds.values())

    def recorded(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "stream": self.cell.stream,
            "method": self.cell.method,
            "folder": str(self.cell.path),
            **{s: sorted(seed for seed, found in self.seeds.items() if found == s) for s in STATES},
            "notes": [{**note._asdict(), "seeds": list(note.seeds)} for note in self.notes],
        }


def overview(runs: Path) -> list[CellState]:
    """Every cell of ``runs``. Raises InputError where there is none, or its records are damaged, and as
    ``task_states`` does."""
    tasks: dict[str, list[TaskState]] = {}
    for task in states.task_states(runs):
        tasks.setdefault(task.task.cell, []).append(task)
    return [_cell_state(cell, tasks.get(f"{cell.stream}/{cell.path.name}", [])) for cell in find_cells(runs)]


def _cell_state(cell: Cell, tasks: Sequence[TaskState]) -> CellState:
    found = CellState(cell, dict.fromkeys(cell.seeds(), DONE))
    # The latest job that has a seed tells of it; one that runs or waits before any that has ended.
    latest_first = tasks[::-1]
    for state in sorted(latest_first, key=lambda state: state.state not in states.HOLDING):
        news = tuple(seed for seed in state.task.seeds if seed not in found.seeds)
        if news and state.state != DONE:
            found.seeds.update(dict.fromkeys(news, state.state))
            log = str(state.array.log(state.index)) if state.state == FAILED and state.job else ""
            found.notes.append(
                UnfinishedSeeds(state.state, news, state.reason, state.job, log, round(state.share, 4))
            )
    _add_local(found)
    return found


def _add_local(found: CellState) -> None:
    """What a run on this machine does, or left when it was ended."""
    folder, error = found.cell.path, found.cell.path / "error.txt"
    at_work = is_held(folder)
    stacks = [tuple(s for s in stack if s not in found.seeds) for stack in checkpoint_seeds(folder)]
    for seeds in filter(None, stacks):
        state = RUNNING if at_work else FAILED if error.exists() else STOPPED
        reason = {RUNNING: "on this machine", FAILED: last_line(error)}.get(state, "the run was ended")
        found.seeds.update(dict.fromkeys(seeds, state))
        found.notes.append(UnfinishedSeeds(state, seeds, reason, log=str(error) if state == FAILED else ""))
    known = {note.state for note in found.notes}
    if at_work and RUNNING not in known:
        found.notes.append(UnfinishedSeeds(RUNNING, (), "on this machine, no checkpoint yet"))
    elif error.exists() and not known:
        found.notes.append(UnfinishedSeeds(FAILED, (), last_line(error), log=str(error)))


def last_line(path: Path) -> str:
    """The last line of a traceback: what went wrong."""
    with suppress(OSError):
        lines = path.read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1][:200]
    return "unknown"


def end_jobs(runs: Path) -> tuple[int, int]:
    """Ends the jobs of a run folder's submissions; (running, pending) ones that were ended.

    Raises InputError without Slurm's commands, and RunFailed where Slurm refuses.
    """
    from plasticity_bench.running.slurm.slurm import cancel

    if not (runs / states.FOLDER).is_dir():
        raise InputError(f"{runs} holds no submissions: nothing was given to Slurm from there")
    alive = [state for state in states.task_states(runs) if state.state in states.HOLDING and state.job]
    cancel([state.job for state in alive])
    return tuple(sum(s.state == kind for s in alive) for kind in (RUNNING, PENDING))  # type: ignore[return-value]
