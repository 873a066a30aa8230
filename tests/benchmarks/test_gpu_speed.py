"""The script that measures speed on a GPU, run on a CPU."""

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest
import torch

from tests.support.paths import REPOSITORY

SCRIPT = str(REPOSITORY / "benchmarks" / "gpu_speed.py")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=300
    )


def test_it_measures_and_compares() -> None:
    small = ["--seeds", "1", "2", "--processes", "1", "--seconds", "0.05", "--check-seeds", "1"]
    done = run("--device", "cpu", "--stream", "bit-flip", *small)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:4] for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    ways = [(way.strip(), int(seeds)) for way, seeds, _ in rows]
    assert ways == [("plain loop", 1), ("one process per seed", 1), ("eager", 1), ("eager", 2)]
    assert all(float(rate.replace(",", "")) > 0 for *_, rate in rows)
    assert "first task of 1 seeds, from the CPU's: online 0, at its end 0" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(SCRIPT, run_name="__main__")
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'gpu_speed: device "cuda" is not there' in error
