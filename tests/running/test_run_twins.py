"""Fresh twins in a run: which are trained, what is recorded, and resuming."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.cells import find_cells, read_cell
from plasticity_bench.records.checkpoints import FRESH_CHECKPOINT, checkpoint_path, checkpoint_seeds
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.records.tables import FRESH_COLUMNS
from plasticity_bench.running.job import Job
from plasticity_bench.running.launch import train_missing
from plasticity_bench.running.plan import Planned, open_cells, plan_jobs
from plasticity_bench.running.slurm.arrays import ArrayTask
from plasticity_bench.running.slurm.states import RecordedSeeds
from plasticity_bench.running.worker import run_job
from plasticity_bench.specs import twin_tasks
from tests.support.learners import shorten_digits

STREAM = "permuted-digits:tasks=4"
SEEDS = (0, 1)


class Killed(BaseException):
    """Simulates the end of the process at the place that raises it."""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_digits(monkeypatch, 20)


def ignore(done: int, total: int) -> None:
    """A progress report that is ignored."""


def planned(runs: Path, method: str = "l2", seeds: Any = SEEDS, twins: bool = True) -> Planned:
    (item,) = open_cells(runs, [plan_cell(STREAM, method)], seeds, twins)
    return item


def job_of(item: Planned) -> Job:
    (job,) = plan_jobs([item], 1, ["cpu"])
    return replace(job, checkpoint_seconds=0.0)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


def test_a_run_records_the_twins_of_every_seed(tmp_path: Path) -> None:
    item = planned(tmp_path)
    seen: list[tuple[int, int]] = []
    run_job(job_of(item), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4 * 20 + 2 * 20 + 20 * len(twin_tasks(4)) - 40, 80 + 20 * len(twin_tasks(4)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    fresh = item.cell.fresh
    assert fresh.seeds() == [0, 1]
    for seed in SEEDS:
        table = fresh.table(seed)
        assert set(table) == set(FRESH_COLUMNS)
        assert table["task"].tolist() == list(twin_tasks(4)) == [0, 2, 3]
        assert (table["online_performance"] > 0).all()
        origin = fresh.provenance(seed)
        assert (origin.seed, origin.stack) == (seed, 6)
        assert origin.seconds > 0
    assert fresh.table(0)["online_loss"].tolist() != fresh.table(1)["online_loss"].tolist()
    assert item.missing == []
    assert [path.name for path in item.cell.path.glob("*.pt")] == []


def test_twins_are_added_to_seeds_that_lack_them_and_nothing_is_trained_again(tmp_path: Path) -> None:
    whole = planned(tmp_path / "whole")
    run_job(job_of(whole), ignore)
    without = planned(tmp_path / "runs", twins=False)
    run_job(job_of(without), ignore)
    assert without.cell.fresh.seeds() == []
    assert without.missing == []
    before = {path: path.stat().st_mtime_ns for path in without.cell.path.glob("seed-*")}
    item = planned(tmp_path / "runs", seeds=(0, 1, 2))
    assert (item.untrained, item.without_twins, item.missing) == ([2], [0, 1], [0, 1, 2])
    jobs = plan_jobs([item], 1, ["cpu"])
    assert sorted(job.seeds for job in jobs) == [(0, 1), (2,)]
    for job in jobs:
        run_job(job, ignore)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert item.missing == []
    found = files(item.cell.path)
    assert {name: found[name] for name in files(whole.cell.path)} == files(whole.cell.path)
    assert sorted(found) == [f"{kind}-00{seed}.csv" for kind in ("fresh", "seed") for seed in range(3)]


def test_killed_while_twins_train_it_resumes_from_their_checkpoint(tmp_path: Path) -> None:
    whole, item = planned(tmp_path / "whole", "shrink-perturb"), planned(tmp_path / "runs", "shrink-perturb")
    run_job(job_of(whole), ignore)
    job = replace(job_of(item), twins=2)  # three stacks of twins, one for each task
    assert whole.cell.fresh.provenance(0).stack == 6

    def kill(done: int, total: int) -> None:
        if done >= 120:
            raise Killed

    with pytest.raises(Killed):
        run_job(job, kill)
    path = checkpoint_path(job.path, SEEDS, FRESH_CHECKPOINT)
    assert path.exists()
    assert checkpoint_seeds(job.path, FRESH_CHECKPOINT) == [SEEDS]
    assert checkpoint_seeds(job.path) == []
    assert item.cell.seeds() == [0, 1]
    (again,) = plan_jobs([item], 2, ["cpu"])  # the stack of the checkpoint, although there are two workers
    assert again.seeds == SEEDS
    seen: list[int] = []
    run_job(replace(again, twins=2), lambda done, total: seen.append(done))
    assert seen[0] >= 20  # not from the start
    assert files(job.path) == files(whole.cell.path)
    assert not path.exists()
    assert item.cell.fresh.provenance(0).stack == 2


def test_a_checkpoint_of_twins_that_are_recorded_is_removed(tmp_path: Path) -> None:
    item = planned(tmp_path)
    run_job(job_of(item), ignore)
    path = checkpoint_path(item.cell.path, SEEDS, FRESH_CHECKPOINT)
    path.write_bytes(b"not looked at")
    assert item.outdated == [path]
    assert train_missing([item], 1, ["cpu"], Console(file=StringIO())) == 0
    assert not path.exists()


def test_a_damaged_checkpoint_of_twins_is_named(tmp_path: Path) -> None:
    item = planned(tmp_path)
    run_job(job_of(planned(tmp_path, twins=False)), ignore)
    checkpoint_path(item.cell.path, SEEDS, FRESH_CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"fresh-checkpoint-0-1\.pt is damaged .* to train seeds 0-1 anew"):
        run_job(job_of(item), ignore)


def test_a_method_that_fails_for_twins_leaves_the_seeds_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = planned(tmp_path)
    run_job(job_of(planned(tmp_path, twins=False)), ignore)

    def broken(*_: Any) -> None:
        raise RuntimeError("no twins today")

    monkeypatch.setattr("plasticity_bench.agents.methods.decay.L2.setup", broken)
    with pytest.raises(RunFailed, match="no twins today"):
        run_job(job_of(item), ignore)
    assert read_cell(item.cell.path).seeds() == [0, 1]
    assert item.without_twins == [0, 1]


def test_run_with_and_without_twins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--method", "l2", "--stream", STREAM, "--seeds", "2", "--runs", str(tmp_path / "runs")]
    command += ["--jobs", "1", "--device", "cpu"]
    assert main([*command, "--no-twins"]) == 0
    assert all(cell.fresh.seeds() == [] for cell in find_cells(tmp_path / "runs"))
    assert main(command) == 0
    cells = find_cells(tmp_path / "runs")
    assert {cell.method for cell in cells} == {"l2", "none", "reset"}
    assert all(cell.fresh.seeds() == [0, 1] for cell in cells)
    assert "training 6 seeds of 3 cells" in capsys.readouterr().err


def test_a_slurm_job_is_done_once_its_twins_are_recorded(tmp_path: Path) -> None:
    item = planned(tmp_path)
    run_job(job_of(planned(tmp_path, twins=False)), ignore)
    task = ArrayTask(item.cell.label, "digits", "l2", SEEDS)
    assert RecordedSeeds(tmp_path).hold(task)
    assert not RecordedSeeds(tmp_path).hold(ArrayTask(item.cell.label, "digits", "l2", SEEDS, twins=True))
    run_job(job_of(item), ignore)
    assert RecordedSeeds(tmp_path).hold(ArrayTask(item.cell.label, "digits", "l2", SEEDS, twins=True))
