"""Submitted runs, for tests of ``run --executor slurm``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from plasticity_bench.cli import main
from plasticity_bench.records.cells import find_cells
from plasticity_bench.running.slurm.arrays import job_arrays
from plasticity_bench.running.slurm.slurm import queue
from tests.support.slurm import Slurm, wait_until

STREAM = "permuted-digits:tasks=8"
SUBMIT = ["run", "--executor", "slurm", "--partition", "main", "--time", "10", "--max-parallel", "1"]
SUBMIT += ["--stream", STREAM, "--no-references"]


def tables(runs: Path) -> list[bytes]:
    """The content of every table, ordered by path."""
    return [path.read_bytes() for path in sorted(runs.glob("*/*/seed-*.csv"))]


def go(plugin: str) -> None:
    """Makes the plug-in stop sleeping."""
    Path(plugin.partition(":")[0]).with_name("go").touch()


def submit(runs: Path, *methods: str, wait: float = 0.0, seeds: str = "2", more: tuple[str, ...] = ()) -> int:
    """Submits both seeds as one stack.

    ``wait``: seconds that the plug-in sleeps at every update; a task has 112.
    """
    given = [f"{method}:wait={wait}" if wait else method for method in methods]
    return main([*SUBMIT, "--seeds", seeds, "--runs", str(runs), "--method", *given, *more])


def status(runs: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The output of ``status --json``."""
    capsys.readouterr()
    assert main(["status", "--runs", str(runs), "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def finished(runs: Path, count: int) -> None:
    """Waits for ``count`` recorded seeds and for the end of their jobs."""
    wait_until(lambda: len(list(runs.glob("*/*/seed-*.json"))) == count, f"{count} seeds in {runs}")
    wait_until(lambda: not alive(runs), "the end of the jobs")


def alive(runs: Path) -> list[str]:
    """The jobs that have not ended."""
    return [s.job for s in queue(x.name for x in job_arrays(runs)).values() if not s.ended]


def trains(runs: Path) -> None:
    """Waits until a checkpoint was written."""
    wait_until(lambda: list(runs.glob("*/*/checkpoint-*.pt")), f"a checkpoint in {runs}")


def log(runs: Path) -> str:
    """The output of the only job of the only submission, from all its starts."""
    (path,) = (runs / "slurm").glob("pb-*/*_0_log.out")
    return path.read_text()


def starts(runs: Path) -> int:
    """The number of starts of that job."""
    return log(runs).count("Starting with")


def expect_whole(runs: Path, wanted: list[bytes]) -> None:
    """Checks that no record is lost, doubled or different, and that nothing is left behind."""
    assert tables(runs) == wanted
    for cell in find_cells(runs):
        for seed in cell.seeds():
            assert len(cell.trained.table(seed)["task"]) == cell.tasks
            assert cell.trained.provenance(seed).seed == seed
    assert not [*runs.glob("*/*/checkpoint-*"), *runs.glob("*/*/.*.tmp"), *runs.glob("*/*/error.txt")]


def expect_started(cluster: Slurm, runs: Path, job: str, count: int) -> None:
    """Waits for the job's ``count``-th start, which continues from a checkpoint."""
    wait_until(lambda: cluster.detail(job, "Restarts") == str(count - 1), "put back")
    wait_until(lambda: starts(runs) == count, "started again")
    assert len(list(runs.glob("*/*/checkpoint-*.pt"))) == 1


def processes(runs: Path) -> list[int]:
    """The processes that train for ``runs``."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True
    )
    lines = (line.split(None, 1) for line in listed.stdout.splitlines())
    return [
        int(pid)
        for pid, args in lines
        if "submitit.core._submit" in args and f"{runs}/" in args and "srun" not in args
    ]
