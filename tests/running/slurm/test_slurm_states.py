"""Submitted arrays and the states that ``status`` shows, without a Slurm: every state, and all bad input."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.running.job import Job
from plasticity_bench.running.plan import Planned, open_cells
from plasticity_bench.running.slurm import overview, states, submit
from plasticity_bench.running.slurm.arrays import (
    ArrayTask,
    JobArray,
    TaskReport,
    claim_path,
    job_arrays,
    submitting,
    write_array,
)
from plasticity_bench.running.slurm.options import Options
from plasticity_bench.running.slurm.slurm import SlurmState
from plasticity_bench.storage.locks import locked
from tests.support.documents import made_origin

STREAM = "permuted-digits:tasks=2"


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """A cell with eight planned seeds; none is recorded."""
    return open_cells(tmp_path, [plan_cell(STREAM, "none")], list(range(8)))[0]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], SlurmState]:
    """The simulated answer of Slurm, which has no accounting."""
    found: dict[tuple[str, int], SlurmState] = {}

    def queue(names: Iterable[str]) -> dict[tuple[str, int], SlurmState]:
        asked = set(names)
        return {key: state for key, state in found.items() if key[0] in asked}

    monkeypatch.setattr(states, "queue", queue)
    monkeypatch.setattr(states, "accounting_states", lambda jobs: {})
    return found


def submitted(planned: Planned, name: str, *stacks: tuple[int, ...], job: str | None = "7") -> JobArray:
    runs = planned.cell.path.parent.parent
    cell = f"{planned.cell.stream}/{planned.cell.path.name}"
    tasks = tuple(ArrayTask(cell, STREAM, "none", stack) for stack in stacks)
    made = JobArray(runs / "slurm" / name, tasks, f"2026-01-01T00:00:0{len(name)}Z", job)
    write_array(made)
    return made


def record(planned: Planned, *seeds: int) -> None:
    for seed in seeds:
        planned.cell.trained.write(seed, [{"task": 0}, {"task": 1}], made_origin())


def found(planned: Planned) -> list[tuple[str, str]]:
    return [(s.state, s.reason) for s in states.task_states(planned.cell.path.parent.parent)]


def slurm_says(made: JobArray, **said: str) -> dict[tuple[str, int], SlurmState]:
    return {(made.name, int(i[1:])): SlurmState(f"7_{i[1:]}", *s.split(":")) for i, s in said.items()}


def test_every_state_of_a_job(planned: Planned, known: dict[tuple[str, int], SlurmState]) -> None:
    made = submitted(planned, "a", *((seed,) for seed in range(8)))
    record(planned, 0)
    said = {
        "_0": "COMPLETED:None",
        "_1": "RUNNING:None",
        "_2": "PENDING:Resources",
        "_3": "COMPLETING:None",
        "_4": "TIMEOUT:None",
        "_5": "OUT_OF_MEMORY:None",
        "_6": "CANCELLED:None",
        "_7": "NODE_FAIL:None",
    }
    known.update(slurm_says(made, **said))
    TaskReport("running", 0.25, host="n1").write(made.path, 1)
    assert found(planned) == [
        ("done", ""),
        ("running", "on n1"),
        ("pending", "Resources"),
        ("running", "completing"),  # its process may still write
        ("failed", "time limit"),
        ("failed", "out of memory"),
        ("stopped", "cancelled"),
        ("failed", "node failure"),
    ]
    runs = planned.cell.path.parent.parent
    assert states.submitted_seeds(states.task_states(runs)) == {made.tasks[0].cell: {1, 2, 3}}
    (cell,) = overview.overview(runs)
    assert {s: cell.count(s) for s in states.STATES} == {
        "done": 1,
        "running": 2,
        "pending": 1,
        "stopped": 1,
        "failed": 3,
    }
    assert next(note.share for note in cell.notes if note.seeds == (1,)) == 0.25


@pytest.mark.parametrize(
    ("log", "report", "wanted"),
    [
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026 DUE TO TIME LIMIT ***", "", "time limit"),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026 DUE TO NODE FAILURE ***", "", "node failure"),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.0", "", "out of memory"),
        (
            "slurmstepd: error: Exceeded job memory limit\nsrun: error: n1: task 0: Killed",
            "",
            "out of memory",
        ),
        ("srun: error: n1: task 0: Killed", "", "the process was killed (out of memory?)"),
        ("nothing of use", "", "ended without its records"),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026 ***", "", "cancelled"),
        (
            "srun: error: n1: task 0: Exited with exit code 1",
            "l2 failed: ValueError",
            "l2 failed: ValueError",
        ),
    ],
)
def test_the_reason_of_a_job_that_slurm_has_forgotten(
    planned: Planned, known: dict[tuple[str, int], SlurmState], log: str, report: str, wanted: str
) -> None:
    made = submitted(planned, "a", (0,))
    made.log(0).write_text(f"an old line\n{log}\n")
    TaskReport("failed" if report else "running", reason=report).write(made.path, 0)
    assert found(planned) == [("stopped" if wanted == "cancelled" else "failed", wanted)]


def test_the_latest_job_of_a_seed_tells_of_it_but_one_that_runs_before_any(
    planned: Planned, known: dict[tuple[str, int], SlurmState]
) -> None:
    first, second = submitted(planned, "a", (0, 1)), submitted(planned, "bb", (0,))
    runs = planned.cell.path.parent.parent
    known.update(slurm_says(first, _0="TIMEOUT:None") | slurm_says(second, _0="CANCELLED:None"))
    (cell,) = overview.overview(runs)
    assert cell.seeds == {0: "stopped", 1: "failed"}
    known.update(slurm_says(first, _0="RUNNING:None"))
    (cell,) = overview.overview(runs)
    assert cell.seeds == {0: "running", 1: "running"}


def test_a_command_killed_while_it_submitted(
    planned: Planned, known: dict[tuple[str, int], SlurmState]
) -> None:
    """The job is found by its name; if there is none, nothing was submitted."""
    made = submitted(planned, "a", (0,), job=None)
    runs = planned.cell.path.parent.parent
    with submitting(runs):
        assert found(planned) == [("pending", "being submitted")]
    assert found(planned) == [("stopped", "never submitted: the command was killed")]
    known.update(slurm_says(made, _0="PENDING:Priority"))
    assert found(planned) == [("pending", "Priority")]
    assert states.task_states(runs)[0].job == "7_0"


def test_what_is_submitted_is_what_is_missing_and_in_nobodys_hands(
    planned: Planned, known: dict[tuple[str, int], SlurmState], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = planned.cell.path.parent.parent
    given: list[list[tuple[int, ...]]] = []

    def take(folder: Path, jobs: list[Job], options: Options) -> list[str]:
        given.append([job.seeds for job in jobs])
        assert job_arrays(runs)[-1].job is None  # claimed before it is submitted to Slurm
        return ["9"]

    monkeypatch.setattr(submit, "_to_slurm", take)
    made = submitted(planned, "a", (1, 2), (5,))
    known.update(slurm_says(made, _0="RUNNING:None", _1="FAILED:None"))
    record(planned, 0)
    from rich.console import Console

    assert not submit.submit_missing(
        runs, [planned, planned], Options(10, parallel=1), False, Console(quiet=True)
    )
    assert given == [[(3, 4, 5, 6, 7)]]
    new = next(s for s in job_arrays(runs) if s.name != "a")
    assert new.job == "9"
    assert not claim_path(runs).exists()
    known.update({(new.name, 0): SlurmState("9", "PENDING", "None")})
    assert not submit.submit_missing(runs, [planned], Options(10, parallel=1), False, Console(quiet=True))
    assert len(given) == 1
    record(planned, *range(1, 8))
    assert submit.submit_missing(runs, [planned], Options(10, parallel=1), False, Console(quiet=True))


def test_nothing_is_submitted_while_a_run_on_this_machine_writes_the_cell(
    planned: Planned, known: dict[tuple[str, int], SlurmState]
) -> None:
    from rich.console import Console

    runs = planned.cell.path.parent.parent
    with locked([planned.cell.path]):
        with pytest.raises(InputError, match="is being written by a run on this machine"):
            submit.submit_missing(runs, [planned], Options(10), False, Console(quiet=True))
        (cell,) = overview.overview(runs)
        assert [note.reason for note in cell.notes] == ["on this machine, no checkpoint yet"]
    assert job_arrays(runs) == []


def test_slurm_that_does_not_answer_is_not_taken_for_jobs_that_are_gone(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(planned, "a", (0,))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert main(["status", "--runs", str(tmp_path)]) == 2
    assert "holds unfinished job arrays, and there is no `squeue`" in capsys.readouterr().err
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "squeue"
    program.write_text("#!/bin/sh\necho 'squeue: error: no route' >&2\nexit 1\n")
    program.chmod(0o755)
    assert main(["status", "--runs", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err == "plasticity_bench: `squeue` failed: squeue: error: no route; try again later\n"


def test_of_a_run_on_this_machine_status_tells_what_is_left(
    planned: Planned, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, runs = planned.cell.path, planned.cell.path.parent.parent
    record(planned, 0)
    (folder / "checkpoint-1-3.pt").write_bytes(b"")
    (cell,) = overview.overview(runs)
    assert cell.seeds == {0: "done", **dict.fromkeys((1, 2, 3), "stopped")}
    (folder / "error.txt").write_text("Traceback ...\nValueError: mine\n")
    (cell,) = overview.overview(runs)
    assert {cell.seeds[seed] for seed in (1, 2, 3)} == {"failed"}
    assert cell.notes[0].reason == "ValueError: mine"
    with locked([planned.cell.path]):
        (cell,) = overview.overview(runs)
    assert cell.seeds[1] == "running"
    assert main(["status", "--runs", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "1 done, 3 failed" in out
    assert "seeds 1-3 failed: ValueError: mine" in out


def test_status_imports_no_torch(planned: Planned) -> None:
    runs = planned.cell.path.parent.parent
    code = (
        f"import sys; from plasticity_bench.cli import main; main(['status', '--runs', {str(runs)!r}]); "
        "sys.exit(bool({'torch', 'submitit', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_command_submits_at_a_time(tmp_path: Path) -> None:
    with submitting(tmp_path), pytest.raises(InputError, match=rf"process {os.getpid()} on .* wait for it"):
        submitting(tmp_path).__enter__()
    with submitting(tmp_path):
        pass
    path = claim_path(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": gone.pid, "since": "then"}))
    with submitting(tmp_path):  # of a process that has ended
        assert json.loads(path.read_text())["pid"] == os.getpid()
    path.write_text(json.dumps({"host": "another", "pid": gone.pid, "since": "then"}))
    with pytest.raises(InputError, match="on another since then"):
        submitting(tmp_path).__enter__()


def test_a_damaged_submission_is_one_line(planned: Planned, capsys: pytest.CaptureFixture[str]) -> None:
    made = submitted(planned, "a", (0,))
    (made.path / "submission.json").write_text('{"schema": 1, "tasks": 3}')
    assert main(["status", "--runs", str(planned.cell.path.parent.parent)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "submission.json is damaged" in err


def test_who_waits_hears_what_is_missing(
    planned: Planned, known: dict[tuple[str, int], SlurmState], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    made = submitted(planned, "a", (0, 1))
    known.update(slurm_says(made, _0="RUNNING:None"))
    runs, asked = planned.cell.path.parent.parent, replace(planned, seeds=(0, 1))

    def pass_time(seconds: float) -> None:
        record(planned, 0)
        known.update(slurm_says(made, _0="TIMEOUT:None"))

    monkeypatch.setattr("plasticity_bench.running.slurm.submit.time.sleep", pass_time)
    with pytest.raises(RunFailed, match=r"1 seeds are missing; none on .*: time limit"):
        submit.follow(runs, [asked], Console(quiet=True))
