"""The options of ``run --executor slurm``, the parameters made of them, and a job run without Slurm."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from plasticity_bench.cli import main
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.running.job import Job
from plasticity_bench.running.slurm.arrays import JobArray
from plasticity_bench.running.slurm.options import Options, minutes
from plasticity_bench.running.slurm.slurm import SlurmState, parse_queue
from plasticity_bench.running.slurm.task import IDLE_STARTS, TrainTask

STREAM = "permuted-digits:tasks=2"


def test_squeue_is_read() -> None:
    text = "pb-a|17|3|RUNNING|None\npb-a|17|N/A|PENDING|(Resources)\npb-b|18|N/A|FAILED|NonZeroExitCode\n"
    assert parse_queue(text) == {
        ("pb-a", 3): SlurmState("17_3", "RUNNING", "None"),
        ("pb-a", 0): SlurmState("17", "PENDING", "(Resources)"),
        ("pb-b", 0): SlurmState("18", "FAILED", "NonZeroExitCode"),
    }


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("90", 90), ("90:01", 91), ("4:00:00", 240), ("0:00:01", 1), ("1-12", 2160), ("1-0:30", 1470)],
)
def test_times_as_sbatch_reads_them(text: str, wanted: int) -> None:
    assert minutes(text) == wanted


BAD: dict[str, tuple[list[str], str]] = {
    "time": (["--executor", "slurm", "--time", "soon"], '--time "soon": write minutes'),
    "no time": (["--executor", "slurm", "--time", "0"], '--time "0"'),
    "gpus": (["--executor", "slurm", "--gpus-per-job", "2"], "a job trains on one GPU or none"),
    "cpus": (["--executor", "slurm", "--cpus-per-job", "0"], "--cpus-per-job 0: at least one"),
    "parallel": (["--executor", "slurm", "--max-parallel", "0"], "--max-parallel 0: at least one"),
    "jobs": (["--executor", "slurm", "--jobs", "2"], "give --max-parallel"),
    "key": (["--executor", "slurm", "--slurm", "=a"], '--slurm "=a": write key=value'),
    "ours": (["--executor", "slurm", "--slurm", "array=0-3"], "--slurm array: is set by the submission"),
    "device": (["--executor", "slurm", "--device", "gpu"], 'unknown device "gpu"'),
    "local": (["--partition", "main"], "--partition is for jobs of Slurm"),
    "local wait": (["--wait"], "--wait is for jobs of Slurm"),
    "executor": (["--executor", "pbs"], "invalid choice"),
    "track": (["--executor", "slurm", "--track", "tensorboard"], "give --wait too"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    arguments, phrase = BAD[case]
    runs = tmp_path / "runs"
    assert main(["run", "--method", "none", "--stream", STREAM, "--runs", str(runs), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert phrase in err
    assert not runs.exists()


def test_without_slurm_or_submitit_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["run", "--method", "none", "--stream", STREAM, "--executor", "slurm", "--runs", str(tmp_path)]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(command) == 2
    assert "no `sbatch` on this machine" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())  # nothing has started
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main(command) == 2
    assert 'pip install "plasticity_bench[slurm]"' in capsys.readouterr().err
    assert main(["cancel", "--runs", str(tmp_path)]) == 2
    assert "holds no submissions" in capsys.readouterr().err


def test_what_sbatch_is_given() -> None:
    given: dict[str, Any] = Options(1, gpus=1, sbatch=(("mem", "4G"), ("exclusive", True))).parameters("pb-a")
    assert given["signal_delay_s"] == 15  # not before the job has started
    assert Options(600).parameters("pb-a")["signal_delay_s"] == 90
    assert given["additional_parameters"] == {"requeue": True, "mem": "4G", "exclusive": True}
    assert given["gpus_per_node"] == 1
    assert "gpus_per_node" not in Options(1).parameters("pb-a")


def test_a_job_that_never_gets_anywhere_is_not_put_back_for_ever(tmp_path: Path) -> None:
    job = Job(plan_cell(STREAM, "none"), tmp_path, (0,), "cpu")
    task = TrainTask(job, tmp_path, 0, 1)
    for _ in range(IDLE_STARTS - 1):
        assert task.checkpoint().function is task
    task.progressed = True
    assert task.checkpoint() is not None
    task.progressed = False
    for _ in range(IDLE_STARTS - 1):
        assert task.checkpoint() is not None
    assert task.checkpoint() is None
    report = structs.replace(JobArray(tmp_path, (), "").report(0), updated="")
    assert report.state == "failed"
    assert "give it more --time" in report.reason
