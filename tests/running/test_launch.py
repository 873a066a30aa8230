"""The launcher: devices and their sharing, workers that die, signals, and disks that cannot be written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from plasticity_bench.processes.workers import exit_with_parent
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.running import launch
from plasticity_bench.running.job import Job
from plasticity_bench.running.plan import open_cells
from tests.support.here import finish_here
from tests.support.paths import REPOSITORY
from tests.support.plugins import FAILING, GOOD
from tests.support.scripts import load

tool = load(REPOSITORY / "benchmarks" / "kill_and_resume.py")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups and signals")

STREAM = "permuted-digits:tasks=3"


def plugin(folder: Path, name: str, body: str) -> str:
    """Writes a method whose ``after_update`` has this body; returns its value for ``--method``."""
    source = GOOD.replace('name="noise"', f'name="{name}"')
    source = source[: source.index("        for layer in layers:")] + body
    file = folder / f"{name}.py"
    file.write_text(f"import os, signal, time\nfrom pathlib import Path\nimport torch\n{source}")
    return f"{file}:Noise"


LETHAL = "        os.kill(os.getpid(), signal.SIGKILL)\n"
VAST = "        torch.empty(2**48)\n"
#: Makes a file once training is well under way, waits until that number of workers did so, and goes on
#: slowly. If there are none to wait for, it only trains.
MARKED = """
        self.count = getattr(self, "count", 0) + 1
        folder, together = Path(__file__).parent, int(os.environ["TEST_TOGETHER"])
        if self.count == 100 and together:
            (folder / f"marker-{os.getpid()}").touch()
            while len(list(folder.glob("marker-*"))) < together:
                time.sleep(0.01)
        if self.count > 100 and together:
            time.sleep(0.005)
"""


def finish_alone(command: list[str]) -> tuple[int, str]:
    """Trains in this process, in which ``MARKED`` does not wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_TOGETHER", "0")
        return finish_here(command)


def said(errors: str) -> list[str]:
    """The last messages of the command."""
    return [line for line in errors.splitlines() if line.startswith("plasticity_bench: ")]


# Simulated devices


def on_simulated_device(
    job: Job, device: str, report: Callable[[float], None], asked: Callable[[], bool]
) -> bool:
    """Replaces ``train_one``: notes the device, and waits until the expected number of workers did so."""
    wanted = int(os.environ["TEST_WORKERS"])
    folder = job.path.parent.parent
    (folder / f"note-{device}-{os.getpid()}-{job.path.name}-{job.seeds[0]}").touch()
    while len({path.name.split("-")[2] for path in folder.glob("note-*")}) < wanted:
        time.sleep(0.01)
    return True


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that do not train, and so do not import torch."""
    monkeypatch.setattr(launch, "train_one", on_simulated_device)
    monkeypatch.setattr(launch, "start_worker", exit_with_parent)


@pytest.mark.parametrize(("workers", "shared"), [(2, 1), (4, 2)])
def test_every_worker_has_one_device_and_they_share_it_only_as_asked(
    tmp_path: Path, simulated: None, monkeypatch: pytest.MonkeyPatch, workers: int, shared: int
) -> None:
    monkeypatch.setenv("TEST_WORKERS", str(workers))
    planned = open_cells(tmp_path, [plan_cell(STREAM, name) for name in ("none", "l2", "syre")], range(8))
    assert launch.train_missing(planned, workers, ["sim:0", "sim:1"], Console(file=StringIO())) == 24
    found = [path.name.split("-") for path in tmp_path.glob("note-*")]
    pairs = {(pid, device) for _, device, pid, *_ in found}
    assert len({pid for pid, _ in pairs}) == len(pairs) == workers
    assert sorted(device for _, device in pairs) == sorted(["sim:0", "sim:1"] * shared)
    # Planned for the number of workers: no stack is larger than its share, or smaller than needed.
    assert len(found) == {2: 3, 4: 6}[workers]


def test_more_devices_than_processes_leave_the_last_ones_alone(
    tmp_path: Path, simulated: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_WORKERS", "1")
    planned = open_cells(tmp_path, [plan_cell(STREAM, "none")], range(2))
    launch.train_missing(planned, 1, ["sim:0", "sim:1", "sim:2"], Console(file=StringIO()))
    assert {path.name.split("-")[1] for path in tmp_path.glob("note-*")} == {"sim:0"}


# Workers that die, and failures


def test_a_method_that_kills_its_worker_is_reported_with_its_cell_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    runs = tmp_path / "runs"
    method = plugin(tmp_path, "lethal", LETHAL)
    code, errors = tool.finish_run(tool.run_command(runs, [method, "none", "l2"], STREAM, "1"))
    assert code == 1
    assert "Traceback" not in errors
    cell = r"permuted-digits-v1_tasks=3/lethal-[0-9a-f]{8}, seed 0: "
    how = "worker process was killed by signal 9, often out of memory"
    (line,) = said(errors)
    assert re.fullmatch(
        rf"plasticity_bench: {cell}its {how}, at the last of 3 tries; run the same command again to resume "
        "from the last checkpoint, with fewer processes: --jobs 1",
        line,
    )
    warnings = [line for line in errors.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2  # three tries, and no more
    assert all(re.fullmatch(rf"warning: {cell}the {how}; it is tried again", line) for line in warnings)
    assert sorted(name.split("/")[1][:4] for name in tool.tables(runs)) == ["l2-8", "none"]
    assert tool.leftovers(runs) == []


def test_too_little_memory_is_reported_with_the_cell_and_the_rest_goes_on(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    method = plugin(tmp_path, "vast", VAST)
    code, errors = tool.finish_run(tool.run_command(runs, [method, "none"], STREAM, "1"))
    assert code == 1
    assert "Traceback" not in errors
    (line,) = said(errors)
    assert re.search(r"v1_tasks=3/vast-[0-9a-f]{8}, seed 0: .* found no memory: .*allocate memory", line)
    assert line.endswith("although alone on its device: train fewer seeds at a time")
    assert errors.count("no memory next to other processes on cpu; it is tried again") == 1
    assert [name.split("/")[1][:4] for name in tool.tables(runs)] == ["none"]


def test_every_failure_is_reported(tmp_path: Path) -> None:
    methods = []
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(FAILING.replace('"failing"', f'"{name}"'))
        methods.append(f"{tmp_path / name}.py:Noise")
    code, errors = tool.finish_run(tool.run_command(tmp_path / "runs", [*methods, "none"], STREAM, "2"))
    assert code == 1
    lines = said(errors)
    assert len(lines) == 2  # once each, however many jobs of it failed
    for name in ("first", "second"):
        method = f"{name} ({name}.py:Noise)"
        assert sum(f"{method} on {STREAM} failed: ZeroDivisionError" in line for line in lines) == 1
    assert len(tool.tables(tmp_path / "runs")) == 2


# Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> None:
    """The signal goes to all processes, as a terminal or a scheduler sends it. No checkpoint is due earlier,
    so all that is saved was saved because of the signal.
    """
    marked = plugin(tmp_path, "marked", MARKED)
    monkeypatch.setenv("TEST_TOGETHER", "2")

    def command(runs: Path) -> list[str]:
        found: list[str] = tool.run_command(runs, [marked], "permuted-digits:tasks=5", "2")
        return found

    run = tool.start_run(command(tmp_path / "runs"), 1000.0)
    try:
        assert tool.wait_for(lambda: len(list(tmp_path.glob("marker-*"))) == 2, run), run.communicate()
        os.killpg(run.pid, number)
        _, errors = run.communicate(timeout=60)
        assert run.returncode == code, errors
        assert tool.survivors(run.pid) == []
    finally:
        tool.end(run.pid)
    (line,) = said(errors)
    assert "interrupted; what is done is kept" in line
    assert "warning" not in errors
    assert sorted(path.name for path in (tmp_path / "runs").glob("*/*/checkpoint-*")) == [
        "checkpoint-0.pt",
        "checkpoint-1.pt",
    ]
    assert tool.tables(tmp_path / "runs") == {}
    for folder in ("runs", "whole"):
        assert finish_alone(command(tmp_path / folder))[0] == 0
    wanted = tool.tables(tmp_path / "whole")
    assert len(wanted) == 2
    assert tool.differences(tool.tables(tmp_path / "runs"), wanted) == []
    assert tool.leftovers(tmp_path / "runs") == []


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB; skips if mounting one is not allowed (``test_resume.py`` limits the size of
    files there)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(small_disk: Path, tmp_path: Path) -> None:
    """Two workers meet the same error."""
    runs, stream, methods = small_disk / "runs", "permuted-digits:tasks=20", ["none", "l2"]
    assert finish_here(tool.run_command(runs, ["syre"], stream, "1"))[0] == 0
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in runs.glob("*/*/*.*")}
    free = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"x" * (free.f_bavail * free.f_frsize - 250_000))

    code, errors = tool.finish_run(tool.run_command(runs, methods, stream, "4"))
    assert code == 2, errors
    assert "Traceback" not in errors
    (line,) = said(errors)
    for phrase in ("cannot write", "No space left on device", "free space", "the same command again"):
        assert phrase in line
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before

    (small_disk / "filler").unlink()
    whole = tmp_path / "whole"
    for folder in (runs, whole):
        code, errors = finish_here(tool.run_command(folder, [*methods, "syre"], stream, "1"))
        assert code == 0, errors
    expected = tool.tables(whole)
    assert {name: table for name, table in tool.tables(runs).items() if name in expected} == expected
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before


def test_a_disk_that_is_read_only_is_one_line(small_disk: Path) -> None:
    command = tool.run_command(small_disk / "runs", ["none"], STREAM, "1")
    (small_disk / "runs").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, errors = tool.finish_run(command)
    assert code == 2
    (line,) = said(errors)
    assert errors == f"{line}\n"
    for phrase in ("cannot write", "Read-only file system", "choose another folder"):
        assert phrase in line


def test_a_folder_that_becomes_read_only_is_one_line_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setenv("TEST_TOGETHER", "1")
    command = tool.run_command(runs, [plugin(tmp_path, "marked", MARKED)], STREAM, "1")
    # Permissions of files do not restrict a superuser who has not given up that capability.
    bound = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    run = tool.start_run([*bound, *command])
    try:
        assert tool.wait_for(lambda: bool(list(runs.glob("*/*/checkpoint-*.pt"))), run), run.communicate()
        (cell,) = runs.glob("*/*")
        cell.chmod(0o555)
        _, errors = run.communicate(timeout=60)
    finally:
        tool.end(run.pid)
    for code, text in ((run.returncode, errors), tool.finish_run([*bound, *command])):
        assert code == 2, text
        assert "Traceback" not in text
        (line,) = said(text)
        assert "cannot write" in line
        assert "Permission denied" in line
    assert tool.tables(runs) == {}
    cell.chmod(0o755)
    code, errors = finish_alone(command)
    assert code == 0, errors
    assert len(tool.tables(runs)) == 1
    assert tool.leftovers(runs) == []
