"""The doctor: what it finds on a whole installation, and on broken ones."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plasticity_bench import doctor
from plasticity_bench.commands import doctor as command
from plasticity_bench.tasks import mnist_data

TORCH: dict[str, Any] = {
    "torch": "2.9.0",
    "torchvision": "0.24.0",
    "cuda": None,
    "devices": [],
    "broken": "",
}
DIGITS = [[1797, 64], 561718, 8070]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("PLASTICITY_BENCH_DATA", str(data))
    monkeypatch.setenv("PLASTICITY_BENCH_CACHE", str(cache))
    return data, cache


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, str]]:
    """Answers in the place of the two processes that import torch and scikit-learn."""
    answers: dict[str, tuple[Any, str]] = {doctor._TORCH: (dict(TORCH), ""), doctor._DIGITS: (DIGITS, "")}
    monkeypatch.setattr(doctor, "run_in_process", lambda code: answers[code])
    return answers


def diagnose(runs: Path) -> dict[str, doctor.Finding]:
    checks = list(doctor.diagnose(runs))
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    for check in checks:
        assert check.detail
        assert bool(check.fix) == (check.state != doctor.OK), check
        assert "\n" not in check.detail + check.fix
    return found


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(arguments))


def test_this_installation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing replaced: really imports torch and torchvision and reads the digits."""
    runs = tmp_path / "runs"
    assert run("--json", "--runs", str(runs)) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == ""
    assert report["ok"] is True
    checks = {check["name"]: check for check in report["checks"]}
    import torch

    for name in ("torch", "stable-baselines3", "avalanche-lib", "scikit-learn", "pybullet"):
        assert checks[name]["detail"] == importlib.metadata.version(name)
    assert torch.__version__ in checks["import torch, torchvision"]["detail"]
    assert checks["digits (embedded)"]["state"] == "ok"
    assert f"{len(os.sched_getaffinity(0))} usable" in checks["CPU cores"]["detail"]
    assert ("none" in checks["CUDA devices"]["detail"]) != torch.cuda.is_available()
    assert checks["MNIST"]["state"] == "warn"
    assert {check["state"] for check in report["checks"]} <= {"ok", "warn"}
    assert not runs.exists()  # it looks, and makes nothing
    assert not mnist_data.cache_folder().exists()


def test_table(probes: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "[bold]file").write_text("")
    runs = tmp_path / "[bold]file" / "runs"
    assert run("--runs", str(runs)) == 1
    out, err = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "fail" in next(line for line in lines if line.startswith("runs folder"))
    assert "-> choose another with --runs" in lines
    assert "[bold]file" in "".join(out.split())  # a name is no markup
    assert err == "1 to fix: runs folder\n"
    assert run("--runs", str(tmp_path / "runs")) == 0


def test_every_stated_dependency_is_checked() -> None:
    least = doctor._least_versions()
    assert set(doctor.USED_FOR) == set(least)
    assert least["torch"] == "2.5"


def test_missing_and_old_packages(
    probes: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = {"torch": "2.10.1+cu130", "numpy": "1.9", "pandas": "2.1.4", "seaborn": "0.13"}

    def version(name: str) -> str:
        try:
            return versions[name]
        except KeyError:
            raise importlib.metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = diagnose(tmp_path)
    assert found["torch"].state == doctor.OK  # 2.10 is newer than 2.5
    assert (found["numpy"].state, found["pandas"].state) == (doctor.FAIL, doctor.WARN)
    assert "1.9 is older than 1.26" in found["numpy"].detail
    assert found["pandas"].fix == "pip install --upgrade 'pandas>=2.2'"
    assert found["seaborn"].state == doctor.OK
    assert found["pybullet"].state == doctor.WARN
    assert "Ant streams" in found["pybullet"].detail
    assert found["rich"].state == doctor.FAIL
    assert run("--json") == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_package_without_its_folders(probes: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name.endswith("envs") else 1)
    found = diagnose(tmp_path)["plasticity_bench"]
    assert found.state == doctor.FAIL
    assert "plasticity_bench.envs cannot be imported" in found.detail
    assert "tasks" not in found.detail


def test_torch_that_cannot_be_imported(probes: dict, tmp_path: Path) -> None:
    probes[doctor._TORCH] = (None, "ImportError: libcudart.so.13: cannot open shared object file")
    found = diagnose(tmp_path)["import torch"]
    assert found.state == doctor.FAIL
    assert "libcudart" in found.detail


def test_torch_and_torchvision_of_different_releases(probes: dict, tmp_path: Path) -> None:
    probes[doctor._TORCH][0]["torchvision_error"] = "RuntimeError: operator torchvision::nms\n does not exist"
    found = diagnose(tmp_path)["import torchvision"]
    assert found.state == doctor.WARN  # the embedded streams run without it
    assert "operator torchvision::nms does not exist" in found.detail
    assert "2.9.0" in found.fix


def test_devices(probes: dict, tmp_path: Path) -> None:
    answer = probes[doctor._TORCH][0]
    answer["devices"] = [["NVIDIA H100", 80 * 2**30], ["NVIDIA H200", 140 * 2**30]]
    assert (
        diagnose(tmp_path)["CUDA devices"].detail == "cuda:0 NVIDIA H100, 80 GiB; cuda:1 NVIDIA H200, 140 GiB"
    )
    answer["broken"] = "cuda:1 cannot compute: RuntimeError: no kernel image is available"
    found = diagnose(tmp_path)["CUDA devices"]
    assert found.state == doctor.FAIL
    assert "no kernel image" in found.detail


def test_digits_of_another_content(probes: dict, tmp_path: Path) -> None:
    probes[doctor._DIGITS] = ([[1797, 64], 561718, 8071], "")
    assert diagnose(tmp_path)["digits (embedded)"].state == doctor.FAIL
    probes[doctor._DIGITS] = (None, "ModuleNotFoundError: No module named 'sklearn'")
    assert "sklearn" in diagnose(tmp_path)["digits (embedded)"].detail


def test_damaged_data(probes: dict, tmp_path: Path, folders: tuple[Path, Path]) -> None:
    found = diagnose(tmp_path)
    assert (found["MNIST"].state, found["FashionMNIST"].state) == (doctor.WARN, doctor.WARN)
    assert "permuted-digits" in found["MNIST"].fix
    path = folders[0] / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    found = diagnose(tmp_path)
    assert (found["MNIST"].state, found["FashionMNIST"].state) == (doctor.FAIL, doctor.WARN)
    assert str(path) in found["MNIST"].detail
    assert found["MNIST"].fix.startswith("copy it there again")


def test_data_at_hand(
    probes: dict, tmp_path: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = folders[0] / "MNIST" / "raw"
    monkeypatch.setattr(mnist_data, "find", lambda dataset: mnist_data.DataStatus("packed", raw))
    found = diagnose(tmp_path)["MNIST"]
    assert found.state == doctor.OK
    assert str(raw) in found.detail


def test_full_disk(probes: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 2**29})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    found = diagnose(tmp_path / "runs")["runs folder"]
    assert found.state == doctor.WARN
    assert "0.5 GiB free" in found.detail


def test_unwritable_cache_is_no_failure(
    probes: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PLASTICITY_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    found = diagnose(tmp_path)["cache folder"]
    assert found.state == doctor.WARN
    assert "PLASTICITY_BENCH_CACHE" in found.fix


def test_limits_of_a_container(probes: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"cpu.max": "50000 100000\n", "memory.max": f"{2**30}\n"}
    monkeypatch.setattr(doctor, "_cgroup", limits.__getitem__)
    found = diagnose(tmp_path)
    assert found["CPU cores"].fix == "--jobs 1"
    assert "limited to 0.5" in found["CPU cores"].detail
    assert (found["memory"].state, found["memory"].detail) == (doctor.WARN, "1.0 GiB")
    limits.update({"cpu.max": "max 100000\n", "memory.max": "max\n"})
    assert diagnose(tmp_path)["CPU cores"].state == doctor.OK


def test_code_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.run_in_process("print('noise'); print([1, 2])") == ([1, 2], "")
    assert doctor.run_in_process("import no_such_module") == (
        None,
        "ModuleNotFoundError: No module named 'no_such_module'",
    )
    assert doctor.run_in_process("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")[1].endswith(
        "signal 11 in it"
    )
    assert doctor.run_in_process("pass")[1] == "it printed something else than its result"
    assert doctor.run_in_process("raise SystemExit(3)") == (None, "exit code 3")
    monkeypatch.setattr(doctor, "IMPORT_TIMEOUT", 0.2)
    assert "no answer" in doctor.run_in_process("import time; time.sleep(5)")[1]


def test_command_is_light_to_import() -> None:
    code = (
        "import sys, plasticity_bench.commands.doctor, plasticity_bench.doctor\n"
        "print([m for m in ('numpy', 'torch', 'rich', 'platformdirs') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
