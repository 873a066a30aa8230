"""``run --executor slurm`` with a real Slurm: submitted jobs record the same tables as a local run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plasticity_bench.cli import main
from plasticity_bench.records.cells import find_cells
from plasticity_bench.running.plan import CHECKPOINT_SECONDS
from plasticity_bench.running.slurm.arrays import job_arrays
from tests.support.here import run_here
from tests.support.plugins import FAILING, SLOW
from tests.support.slurm import Slurm, slurm, wait_until
from tests.support.slurm_runs import (
    STREAM,
    SUBMIT,
    alive,
    expect_started,
    expect_whole,
    finished,
    go,
    log,
    processes,
    starts,
    status,
    submit,
    tables,
    trains,
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    with slurm() as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv(CHECKPOINT_SECONDS, "0.05")
        patch.setattr("plasticity_bench.running.slurm.submit.FIRST_PAUSE", 0.3)
        yield found


@pytest.fixture(autouse=True)
def _quiet(cluster: Slurm) -> Iterator[None]:
    """Every test starts with an idle node and leaves no job."""
    with cluster.watched():
        cluster.resume_node()
        wait_until(lambda: cluster.node_state() == "idle", "an idle node")
        yield
        cluster.resume_node()
        cluster.quiet()


@pytest.fixture
def plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("plugin") / "slow.py"
    file.write_text(SLOW)
    return f"{file}:Noise"


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The tables of the plug-in's first two seeds, trained without Slurm and without waiting."""
    runs = tmp_path_factory.mktemp("local")
    (runs / "slow.py").write_text(SLOW)
    local = ["run", "--method", f"{runs}/slow.py:Noise", "--stream", STREAM, "--seeds", "2", "--json"]
    local += ["--no-references", "--device", "cpu", "--jobs", "1", "--runs", str(runs)]
    assert run_here(*local).returncode == 0
    return tables(runs)


def test_submitted_jobs_end_with_the_tables_of_a_local_run(
    cluster: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local, runs = tmp_path / "local", tmp_path / "runs"
    methods = ["none", "shrink-perturb:interval=7"]
    command = ["run", "--method", *methods, "--stream", STREAM, "--seeds", "2", "--no-references"]
    done = run_here(*command, "--device", "cpu", "--jobs", "1", "--runs", str(local), "--json")
    assert done.returncode == 0
    assert submit(runs, *methods, more=("--wait", "--json", "--max-parallel", "2")) == 0
    out, err = capsys.readouterr()
    (scores,) = json.loads(out)["streams"]  # waited for, scored as a local run
    assert {row["method"] for row in scores["methods"]} == set(methods)
    assert "submitted job" in err
    expect_whole(runs, tables(local))
    (array,) = job_arrays(runs)
    jobs = {cell.trained.provenance(seed).slurm_job for cell in find_cells(runs) for seed in cell.seeds()}
    assert jobs == {array.job_id(index) for index in range(len(array.tasks))}
    assert len(jobs) == 2
    assert all(cell["done"] == [0, 1] and not cell["notes"] for cell in status(runs, capsys))
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/*/seed-*")}
    assert submit(runs, *methods) == 0
    assert len(job_arrays(runs)) == 1  # nothing is missing: the scores, and no job
    assert before == {path: path.stat().st_mtime_ns for path in runs.glob("*/*/seed-*")}


def test_while_jobs_wait_for_a_drained_node_they_are_neither_submitted_twice_nor_trained_here(
    cluster: Slurm, tmp_path: Path, plugin: str, wanted: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.drain_node()
    command = [sys.executable, "-m", "plasticity_bench", *SUBMIT, "--seeds", "2", "--runs", str(tmp_path)]
    both = [
        subprocess.Popen([*command, "--method", plugin], stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]  # at the same moment, or one after the other
    assert sorted(process.returncode for process in both) in ([0, 0], [0, 2]), said
    assert sum("submitted job" in text for text in said) == 1
    assert len(job_arrays(tmp_path)) == 1
    wait_until(lambda: "DRAINED" in status(tmp_path, capsys)[0]["notes"][0]["reason"], "the reason")
    (cell,) = status(tmp_path, capsys)
    assert cell["pending"] == [0, 1]
    assert submit(tmp_path, plugin) == 0
    assert "2 seeds were submitted before" in capsys.readouterr().err
    assert len(job_arrays(tmp_path)) == 1
    local = ["run", "--method", plugin, "--stream", STREAM, "--runs", str(tmp_path), "--no-references"]
    assert main([*local, "--seeds", "4", "--device", "cpu"]) == 2
    assert "2 seeds are trained by Slurm jobs" in capsys.readouterr().err
    assert submit(tmp_path, plugin, seeds="3") == 0  # only the seed that is new
    assert [task.seeds for s in job_arrays(tmp_path)[1:] for task in s.tasks] == [(2,)]
    cluster.resume_node()
    finished(tmp_path, 3)
    assert tables(tmp_path)[:2] == wanted
    assert status(tmp_path, capsys)[0]["done"] == [0, 1, 2]


def test_a_killed_job_is_submitted_again_and_goes_on(
    cluster: Slurm, tmp_path: Path, plugin: str, wanted: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(tmp_path, plugin, wait=0.05) == 0
    trains(tmp_path)
    (cell,) = status(tmp_path, capsys)
    assert cell["running"] == [0, 1]
    for pid in processes(tmp_path):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(tmp_path), "the end of the job")
    (cell,) = status(tmp_path, capsys)
    assert cell["failed"] == [0, 1]
    assert "killed" in cell["notes"][0]["reason"]
    assert Path(cell["notes"][0]["log"]).is_file()
    go(plugin)
    assert submit(tmp_path, plugin, wait=0.05, more=("--wait", "--json")) == 0
    expect_whole(tmp_path, wanted)
    assert len(job_arrays(tmp_path)) == 2


def test_a_job_put_back_in_the_queue_goes_on(
    cluster: Slurm, tmp_path: Path, plugin: str, wanted: list[bytes]
) -> None:
    assert submit(tmp_path, plugin, wait=0.05) == 0
    trains(tmp_path)
    (job,) = alive(tmp_path)
    (cell,) = find_cells(tmp_path)
    (cell.path / ".seed-000.csv.1.tmp").write_bytes(b"")  # as if a job was killed while it wrote
    cluster.command("scontrol", "requeue", job)
    expect_started(cluster, tmp_path, job, 2)
    go(plugin)
    finished(tmp_path, 2)
    expect_whole(tmp_path, wanted)
    assert (len(job_arrays(tmp_path)), starts(tmp_path)) == (1, 2)
    assert "Requeued job" not in log(tmp_path)


def test_a_job_put_back_by_the_signal_and_by_a_node_that_fails_goes_on(
    cluster: Slurm, tmp_path: Path, plugin: str, wanted: list[bytes]
) -> None:
    assert submit(tmp_path, plugin, wait=0.05) == 0
    trains(tmp_path)
    (job,) = alive(tmp_path)
    cluster.command("scancel", "--signal=USR2", job)
    expect_started(cluster, tmp_path, job, 2)
    cluster.fail_node()
    wait_until(lambda: cluster.detail(job, "JobState") == "PENDING", "put back again")
    go(plugin)
    cluster.start_node()
    finished(tmp_path, 2)
    expect_whole(tmp_path, wanted)
    assert len(job_arrays(tmp_path)) == 1
    assert starts(tmp_path) == 3
    assert "Requeued job" in log(tmp_path)


def test_the_time_limit_puts_a_job_back_with_its_checkpoint(
    cluster: Slurm, tmp_path: Path, plugin: str, wanted: list[bytes]
) -> None:
    """Slurm's shortest time limit is a minute, and it checks limits twice a minute. With so early a signal,
    the job is warned within its first half minute."""
    more = ("--time", "1", "--slurm", "signal=USR2@55")
    assert submit(tmp_path, plugin, wait=0.05, more=more) == 0
    trains(tmp_path)
    (job,) = alive(tmp_path)
    wait_until(lambda: cluster.detail(job, "Restarts") == "1", "a second start")
    (checkpoint,) = tmp_path.glob("*/*/checkpoint-*.pt")
    assert checkpoint.stat().st_size > 0
    go(plugin)
    finished(tmp_path, 2)
    expect_whole(tmp_path, wanted)


def test_a_controller_that_is_gone_is_not_taken_for_jobs_that_are_gone(
    cluster: Slurm, tmp_path: Path, plugin: str, wanted: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(tmp_path, plugin, wait=0.05) == 0
    trains(tmp_path)
    cluster.kill_controller()
    try:
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", cluster.impatient())
            assert submit(tmp_path, plugin, wait=0.05) == 1
        err = capsys.readouterr().err
        assert "`squeue`" in err
        assert err.count("\n") == 1
        assert len(job_arrays(tmp_path)) == 1
    finally:
        cluster.start_controller()
        wait_until(cluster.answers, "the controller")
    assert len(alive(tmp_path)) == 1  # it has not forgotten the job
    go(plugin)
    finished(tmp_path, 2)
    expect_whole(tmp_path, wanted)
    assert len(job_arrays(tmp_path)) == 1


def test_status_shows_a_method_that_fails(
    cluster: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, runs = tmp_path / "failing.py", tmp_path / "runs"
    file.write_text(FAILING)
    assert submit(runs, f"{file}:Noise", more=("--wait",)) == 1
    err = capsys.readouterr().err
    assert "2 seeds are missing" in err
    assert "ZeroDivisionError" in err
    (cell,) = status(runs, capsys)
    assert cell["failed"] == [0, 1]
    assert "ZeroDivisionError: on purpose" in " ".join(cell["notes"][0]["reason"].split())
    assert "ZeroDivisionError" in Path(cell["notes"][0]["log"]).read_text()
    assert main(["status", "--runs", str(runs)]) == 0
    assert "failed, job" in capsys.readouterr().out


def test_a_job_that_exceeds_its_memory_is_shown_as_such(
    cluster: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The memory limit is less than importing torch takes."""
    assert submit(tmp_path, "none", seeds="1", more=("--mem", "60M")) == 0
    wait_until(lambda: not alive(tmp_path), "the end of the job")
    (cell,) = status(tmp_path, capsys)
    assert cell["failed"] == [0]
    assert cell["notes"][0]["reason"] == "out of memory"


def test_cancel_ends_what_runs_and_what_waits(
    cluster: Slurm, tmp_path: Path, plugin: str, wanted: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    slow = [f"{plugin}:wait=0.02", f"{plugin}:strength=0.5,wait=0.02"]
    assert submit(tmp_path, *slow, seeds="1") == 0
    trains(tmp_path)
    capsys.readouterr()
    assert main(["cancel", "--runs", str(tmp_path)]) == 0
    assert "cancelled 1 running and 1 pending jobs" in capsys.readouterr().out
    wait_until(lambda: not alive(tmp_path), "the end of the jobs")
    found = status(tmp_path, capsys)
    assert [cell["stopped"] for cell in found] == [[0], [0]]
    assert {note["reason"] for cell in found for note in cell["notes"]} == {"cancelled"}
    assert main(["cancel", "--runs", str(tmp_path)]) == 0
    assert "cancelled 0 running and 0 pending jobs" in capsys.readouterr().out


def test_a_job_is_given_its_gpu_and_fails_where_torch_sees_none(
    cluster: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    cluster.drain_node()
    assert submit(tmp_path, "none", seeds="1", more=("--gpus-per-job", "1")) == 0
    (job,) = alive(tmp_path)
    assert cluster.detail(job, "TresPerNode") == "gres:gpu:1"
    cluster.resume_node()
    wait_until(lambda: not alive(tmp_path), "the end of the job")
    (cell,) = status(tmp_path, capsys)
    if torch.cuda.is_available():
        assert find_cells(tmp_path)[0].trained.provenance(0).device == "cuda"
    else:
        assert 'device "cuda" is not there' in cell["notes"][0]["reason"]


def test_a_sweep_of_jobs_chooses_what_a_local_sweep_chooses(
    cluster: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", "--method", "l2", "--stream", "permuted-digits:tasks=2", "--budget", "2"]
    command += ["--json", "--seeds", "1"]
    done = run_here(*command, "--device", "cpu", "--jobs", "1", "--out", str(tmp_path / "local"))
    assert done.returncode == 0
    (local,) = json.loads(done.stdout)
    slurm_jobs = ["--executor", "slurm", "--max-parallel", "1", "--out", str(tmp_path / "slurm")]
    assert main([*command, *slurm_jobs]) == 0
    assert capsys.readouterr().out == ""  # submitted
    finished(tmp_path / "slurm", 2)
    assert main([*command, *slurm_jobs]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    for table in (local, found):
        for row in table["configurations"]:
            del row["seconds"]
    assert found == local


def test_what_sbatch_refuses_is_one_line_and_leaves_nothing(
    cluster: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(tmp_path, "none", more=("--slurm", "partition=nowhere")) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "sbatch refused the jobs" in err
    assert "nowhere" in err or "invalid partition" in err
    assert job_arrays(tmp_path) == []
