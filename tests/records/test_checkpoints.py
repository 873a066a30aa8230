"""Checkpoints of a stack of seeds: resuming, damage, and what is recorded."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.cells import read_cell
from plasticity_bench.records.checkpoints import checkpoint_path, checkpoint_seeds
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.running.job import Job
from plasticity_bench.running.launch import train_one
from plasticity_bench.running.plan import CHECKPOINT_SECONDS, Planned, open_cells, plan_jobs
from plasticity_bench.running.worker import run_job

STREAM = "permuted-digits:tasks=3"
SEEDS = (0, 1)


class Killed(BaseException):
    """Simulates the end of the process at the place that raises it."""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A stack of two seeds with a checkpoint after every piece of work."""
    return job_of(tmp_path, "shrink-perturb:interval=7")


def job_of(runs: Path, method: str) -> Job:
    planned = open_cells(runs, [plan_cell(STREAM, method)], SEEDS)
    (made,) = plan_jobs(planned, 1, ["cpu"])
    return replace(made, checkpoint_seconds=0.0)


def ignore(done: int, total: int) -> None:
    """A progress report that is ignored."""


def kill_after(updates: int) -> Any:
    def report(done: int, total: int) -> None:
        if done >= updates:
            raise Killed

    return report


def checkpointed(job: Job) -> Path:
    """Trains into the second task and is killed there; a checkpoint remains."""
    with pytest.raises(Killed):
        run_job(job, kill_after(200))
    path = checkpoint_path(job.path, job.seeds)
    assert path.exists()
    return path


def tables(job: Job) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in job.path.glob("seed-*.csv")}


def test_resumed_from_a_checkpoint(job: Job, tmp_path: Path) -> None:
    whole = job_of(tmp_path / "whole", job.plan.method.label)
    run_job(whole, ignore)
    assert len(tables(whole)) == 2
    path = checkpointed(job)
    assert tables(job) == {}
    seen: list[int] = []
    run_job(job, lambda done, total: seen.append(done))
    assert seen[0] > 100  # not from the start
    assert tables(job) == tables(whole)
    assert not path.exists()


def test_asked_to_leave_it_saves_first(job: Job, tmp_path: Path) -> None:
    whole = job_of(tmp_path / "whole", job.plan.method.label)
    run_job(whole, ignore)
    patient, asked = replace(job, checkpoint_seconds=1e9), False
    assert not run_job(patient, ignore, lambda: True)
    path = checkpoint_path(job.path, job.seeds)
    assert not path.exists()  # nothing was done

    def ask(done: int, total: int) -> None:
        nonlocal asked
        asked = done >= 200

    assert not run_job(patient, ask, lambda: asked)
    assert torch.load(path, weights_only=True)["learner"]["task"] == 2
    assert tables(job) == {}
    assert run_job(patient, ignore)
    assert tables(job) == tables(whole)
    assert not path.exists()


def test_a_job_whose_seeds_are_all_recorded_is_done(job: Job) -> None:
    """A worker was killed after the last record, before it removed the checkpoint; the job is tried again."""
    run_job(job, ignore)
    before = {path: path.stat().st_mtime_ns for path in job.path.glob("seed-*")}
    checkpoint_path(job.path, job.seeds).write_bytes(b"not looked at")
    assert run_job(job, ignore)
    assert {path: path.stat().st_mtime_ns for path in job.path.glob("seed-*")} == before
    assert not checkpoint_path(job.path, job.seeds).exists()


def test_a_job_goes_on_from_its_checkpoint_on_the_device_of_its_worker(job: Job, tmp_path: Path) -> None:
    """Whatever device it was planned for."""
    whole = job_of(tmp_path / "whole", job.plan.method.label)
    run_job(whole, ignore)
    checkpointed(job)
    seen: list[float] = []
    assert train_one(replace(job, device="cuda:7"), "cpu", seen.append, lambda: False)
    assert seen[0] > 0.5
    assert tables(job) == tables(whole)
    assert read_cell(job.path).trained.provenance(0).device == "cpu"


def test_a_checkpoint_holds_nothing_but_data(job: Job) -> None:
    state = torch.load(checkpointed(job), weights_only=True)
    assert state["seeds"] == [0, 1]
    assert state["learner"]["task"] == 1


def test_some_seeds_of_the_stack_are_recorded_already(job: Job, tmp_path: Path) -> None:
    """Killed between two records: the checkpoint's stack is trained to its end, the first is not touched."""
    whole = job_of(tmp_path / "whole", job.plan.method.label)
    run_job(whole, ignore)
    path = checkpointed(job)
    for name in ("seed-000.csv", "seed-000.json"):
        (job.path / name).write_bytes((whole.path / name).read_bytes())
    before = (job.path / "seed-000.json").stat().st_mtime_ns
    planned = open_cells(tmp_path, [job.plan], SEEDS)
    assert planned[0].missing == [1]
    (again,) = plan_jobs(planned, 4, ["cpu"])
    assert again.seeds == SEEDS
    run_job(again, ignore)
    assert tables(job) == tables(whole)
    assert (job.path / "seed-000.json").stat().st_mtime_ns == before
    assert not path.exists()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _flip(path: Path) -> None:
    """One bit in the middle of a tensor."""
    state, data = torch.load(path, weights_only=True), path.read_bytes()
    place = data.index(state["learner"]["sums"].numpy().tobytes())
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


class Hostile:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("hostile",)


def _pickle(path: Path) -> None:
    _other(path, more=Hostile())


def _other(path: Path, **changes: object) -> None:
    torch.save({**torch.load(path, weights_only=True), **changes}, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"junk" * 100),
        _truncate,
        _flip,
        _pickle,
        lambda path: torch.save([1], path),
        lambda path: _other(path, protocol=99),
        lambda path: _other(path, seeds=[0, 2]),
        lambda path: _other(path, learner={}),
    ],
    ids=["empty", "junk", "truncated", "flipped", "pickle", "list", "protocol", "seeds", "no-learner"],
)
def test_a_damaged_checkpoint(job: Job, damage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = checkpointed(job)
    damage(path)
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        run_job(job, ignore)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"checkpoint {path} is damaged (")
    assert message.endswith("delete it to train seeds 0-1 anew")
    assert path.read_bytes() == before  # only the user may delete it
    assert not Path("hostile").exists()
    assert tables(job) == {}
    assert not (job.path / "error.txt").exists()
    path.unlink()
    run_job(job, ignore)
    assert len(tables(job)) == 2


def test_a_checkpoint_that_cannot_be_read(job: Job) -> None:
    path = checkpoint_path(job.path, job.seeds)
    path.mkdir()
    with pytest.raises(
        InputError,
        match=r"cannot read .*checkpoint-0-1.pt: .*it may be sound: make it a file that you can read",
    ):
        run_job(job, ignore)


def test_a_checkpoint_without_write_permission_is_replaced_and_removed(job: Job) -> None:
    path = checkpointed(job)
    path.chmod(0o444)
    before = path.read_bytes()
    with pytest.raises(Killed):
        run_job(job, kill_after(300))
    assert path.read_bytes() != before
    path.chmod(0o444)
    run_job(job, ignore)
    assert not path.exists()
    assert len(tables(job)) == 2


@pytest.mark.parametrize(
    ("seeds", "name"),
    [
        ((3,), "3"),
        ((0, 1, 2), "0-2"),
        ((0, 2), "0_2"),
        ((0, 1, 5, 7, 8), "0-1_5_7-8"),
        ((1000, 1001), "1000-1001"),
    ],
)
def test_names_of_checkpoints(tmp_path: Path, seeds: tuple[int, ...], name: str) -> None:
    path = checkpoint_path(tmp_path, seeds)
    assert path.name == f"checkpoint-{name}.pt"
    path.touch()
    (tmp_path / "checkpoint-x.pt").touch()
    assert checkpoint_seeds(tmp_path) == [seeds]


def test_an_unfinished_stack_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    """This holds for any --jobs; the other seeds are planned in new stacks."""
    plan = plan_cell(STREAM, "none")
    (planned,) = open_cells(tmp_path, [plan], range(6))
    checkpoint_path(planned.cell.path, (1, 2)).touch()
    for workers, stacks in ((1, [(0, 3, 4, 5), (1, 2)]), (4, [(0,), (1, 2), (3,), (4,), (5,)])):
        jobs = plan_jobs([planned], workers, ["cpu"])
        assert sorted(job.seeds for job in jobs) == stacks
    small = Planned(plan, planned.cell, (2,))
    assert [job.seeds for job in plan_jobs([small], 1, ["cpu"])] == [(1, 2)]


def test_the_interval_of_checkpoints_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = open_cells(tmp_path, [plan_cell(STREAM, "none")], [0])
    assert plan_jobs(planned, 1, ["cpu"])[0].checkpoint_seconds == 5.0
    monkeypatch.setenv(CHECKPOINT_SECONDS, "0.5")
    assert plan_jobs(planned, 1, ["cpu"])[0].checkpoint_seconds == 0.5
    monkeypatch.setenv(CHECKPOINT_SECONDS, "soon")
    with pytest.raises(InputError, match=f'{CHECKPOINT_SECONDS}="soon" is not a number of seconds'):
        plan_jobs(planned, 1, ["cpu"])


PLUGIN = """
from dataclasses import dataclass
from plasticity_bench.agents.methods import Method, MethodInfo

@dataclass
class Odd(Method):
    info = MethodInfo(name="odd", summary="keeps what a checkpoint cannot hold")

    def setup(self, layers, rng):
        self.kept = {"a": [1, {2, 3}]}
"""


def test_a_method_whose_state_a_checkpoint_cannot_hold(tmp_path: Path) -> None:
    """The error comes at the first checkpoint, not when hours of work should be resumed from it."""
    file = tmp_path / "odd.py"
    file.write_text(PLUGIN)
    odd = job_of(tmp_path / "runs", f"{file}:Odd")
    with pytest.raises(RunFailed, match=r"attribute `kept` .*cannot be saved in a checkpoint"):
        run_job(odd, ignore)
    assert "TypeError" in (odd.path / "error.txt").read_text()
