"""Real runs, killed and started again: the tables are bit-identical to those of an uninterrupted run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.here import finish_here
from tests.support.paths import REPOSITORY
from tests.support.scripts import load

STREAM = "permuted-digits:tasks=12"
#: A method with a state, which waits at every update: long on the clock, and not on the processor.
SLOW = """
import os, time
from dataclasses import dataclass, replace
from pathlib import Path
from plasticity_bench.agents.methods.shrink_perturb import ShrinkPerturb

@dataclass
class Slow(ShrinkPerturb):
    info = replace(ShrinkPerturb.info, name="shrink-perturb-slowly", off="")
    interval: int = 7

    def setup(self, layers, rng):
        super().setup(layers, rng)
        if "TEST_NOTES" in os.environ:
            (Path(os.environ["TEST_NOTES"]) / str(os.getpid())).touch()

    def after_update(self, layers, optimizer):
        time.sleep(float(os.environ.get("TEST_WAIT", "0")))
        super().after_update(layers, optimizer)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups and SIGKILL")


tool = load(REPOSITORY / "benchmarks" / "kill_and_resume.py")


@pytest.fixture(scope="module")
def method(tmp_path_factory: pytest.TempPathFactory) -> str:
    """``SLOW``, as ``--method`` takes it."""
    file = tmp_path_factory.mktemp("method") / "slow.py"
    file.write_text(SLOW)
    return f"{file}:Slow"


def small(runs: Path, method: str, seeds: str = "2") -> list[str]:
    """A run of two stacks of one seed, each in its own worker."""
    command: list[str] = tool.run_command(runs, [method], STREAM, seeds)
    return command


def start_slowly(command: list[str]) -> subprocess.Popen[str]:
    """Starts a run that trains for three seconds and more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_WAIT", "0.002")
        process: subprocess.Popen[str] = tool.start_run(command)
    return process


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory, method: str) -> dict[str, bytes]:
    """The tables of ``small`` without interruption."""
    runs = tmp_path_factory.mktemp("whole")
    assert finish_here(small(runs, method))[0] == 0
    found: dict[str, bytes] = tool.tables(runs)
    assert len(found) == 2
    return found


def notes(runs: Path) -> Path:
    """The folder with a file for each worker that has started to train."""
    return runs.with_name(f"{runs.name}-notes")


@pytest.fixture
def run(tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """``small`` into ``tmp_path``, under way; nothing of it is left afterwards. Who trains notes it."""
    monkeypatch.setenv("TEST_NOTES", str(notes(tmp_path)))
    notes(tmp_path).mkdir()
    process = start_slowly(small(tmp_path, method))
    yield process
    tool.end(process.pid)
    process.communicate()


def expect_one_line(errors: str, *phrases: str) -> None:
    """stderr is the progress of the run and then one line of ours."""
    lines = errors.strip().splitlines()
    ours = [line for line in lines if line.startswith("plasticity_bench: ")]
    assert len(ours) == 1, errors
    assert lines[-1] == ours[0], errors
    assert all(line.startswith("training ") or "% done" in line for line in lines[:-1]), errors
    for phrase in phrases:
        assert phrase in ours[0]


def expect_whole(runs: Path, wanted: dict[str, bytes], code: int, errors: str) -> None:
    """What a resumed run comes to."""
    assert code == 0, errors
    assert tool.differences(tool.tables(runs), wanted) == []
    assert tool.leftovers(runs) == []


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a run."""
    found = []
    for pid in tool.living(process.pid):
        listed = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        if "spawn_main" in listed.stdout:
            found.append(pid)
    return found


def reach_training(process: subprocess.Popen[str], runs: Path) -> None:
    assert tool.wait_for(lambda: any(runs.glob("*/*/checkpoint-*.pt")), process), process.communicate()


def test_killed_six_times_the_tables_are_those_of_a_run_left_alone(tmp_path: Path) -> None:
    whole, runs = tmp_path / "whole", tmp_path / "runs"

    def command(folder: Path) -> list[str]:
        """In one worker: two at a time are killed in the tests below."""
        found: list[str] = [*tool.run_command(folder, stream="permuted-digits:tasks=20"), "--jobs", "1"]
        return found

    code, errors = finish_here(command(whole))
    assert code == 0, errors
    expected = tool.tables(whole)
    assert len(expected) == 9
    rng, kills, unfinished = random.Random(20), 0, 0
    for moment in ("start", "checkpoint", "write", "record", "checkpoint", "record"):
        killed, _, wrong = tool.kill_at(moment, runs, command(runs), rng)
        assert wrong == ""
        kills += killed
        unfinished += bool(list(runs.glob("*/*/checkpoint-*.pt")))
        recorded = [path.with_suffix(".csv") for path in runs.glob("*/*/seed-*.json")]
        for path in recorded:  # at every moment, all recorded seeds are complete
            assert path.read_bytes() == expected[str(path.relative_to(runs))]
    assert kills >= 5
    assert unfinished >= 2  # stacks were resumed, not only trained from the start
    code, errors = finish_here(command(runs))
    assert code == 0, errors
    assert tool.differences(tool.tables(runs), expected) == []
    assert tool.leftovers(runs) == []


def test_ctrl_c_is_one_line_and_resumable(
    tmp_path: Path, method: str, run: subprocess.Popen[str], wanted: dict[str, bytes]
) -> None:
    # A terminal sends SIGINT to every process of the group. First while the workers import ...
    assert tool.wait_for(lambda: len(workers_of(run)) == 2, run)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 130
    expect_one_line(errors, "interrupted", "the same command goes on")
    assert tool.survivors(run.pid) == []
    # ... then while they train. Only the main process handles SIGINT; workers ignore it.
    again = start_slowly(small(tmp_path, method))
    try:
        assert tool.wait_for(lambda: len(workers_of(again)) == 2, again)
        time.sleep(1)
        for pid in workers_of(again):
            os.kill(pid, signal.SIGINT)
        reach_training(again, tmp_path)
        for pid in workers_of(again):
            os.kill(pid, signal.SIGINT)
        time.sleep(0.2)
        assert again.poll() is None
        assert len(workers_of(again)) == 2
        os.killpg(again.pid, signal.SIGINT)
        _, errors = again.communicate(timeout=30)
        assert again.returncode == 130
        expect_one_line(errors, "interrupted", "the same command goes on")
        assert tool.survivors(again.pid) == []
    finally:
        tool.end(again.pid)
    assert list(tmp_path.glob("*/*/checkpoint-*.pt"))
    expect_whole(tmp_path, wanted, *tool.finish_run(small(tmp_path, method)))


def test_a_killed_worker_is_a_warning_and_costs_nothing_but_time(
    tmp_path: Path, method: str, run: subprocess.Popen[str], wanted: dict[str, bytes]
) -> None:
    reach_training(run, tmp_path)
    training = int(next(notes(tmp_path).iterdir()).name)  # the others may still be importing
    assert training in workers_of(run)
    os.kill(training, signal.SIGKILL)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 0, errors
    warnings = [line for line in errors.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1, errors
    assert "/shrink-perturb-" in warnings[0]
    assert "the worker process was killed by signal 9, often out of memory; it is tried again" in warnings[0]
    assert tool.survivors(run.pid) == []
    assert tool.differences(tool.tables(tmp_path), wanted) == []
    assert tool.leftovers(tmp_path) == []


def test_two_processes_on_one_cell(
    tmp_path: Path, method: str, run: subprocess.Popen[str], wanted: dict[str, bytes]
) -> None:
    assert tool.wait_for(lambda: bool(workers_of(run)), run)
    code, errors = tool.finish_run(small(tmp_path, method))
    assert code == 2
    expect_one_line(errors, "is being written by another process", "another --runs folder", str(tmp_path))
    assert run.wait(120) == 0  # the first run goes on
    assert tool.differences(tool.tables(tmp_path), wanted) == []


def test_a_full_disk_is_one_line_loses_nothing_and_is_resumable(
    tmp_path: Path, method: str, wanted: dict[str, bytes]
) -> None:
    """No file may grow over 20 kB here, which a checkpoint does and a table does not."""
    import resource

    assert finish_here(small(tmp_path, method, "1"))[0] == 0
    first = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.glob("*/*/seed-*")}
    assert len(first) == 2

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # inherited by the run and its workers
    try:
        limited = tool.start_run(small(tmp_path, method))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    _, errors = limited.communicate()
    assert limited.returncode == 2
    expect_one_line(errors, "cannot write", "checkpoint-1.pt", "File too large", "free space")
    assert {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.glob("*/*/seed-*")
    } == first
    assert tool.leftovers(tmp_path) == []
    expect_whole(tmp_path, wanted, *finish_here(small(tmp_path, method)))


def test_an_agent_is_killed_in_an_episode_and_ends_with_the_same_tables(tmp_path: Path) -> None:
    """The physics simulation is resumed in the same state, and the rows of finished tasks are kept."""
    whole, runs, rng = tmp_path / "whole", tmp_path / "runs", random.Random(3)

    def command(folder: Path) -> list[str]:
        stream = "slippery-ant-short:tasks=4,rollouts=1,width=32"
        found: list[str] = tool.run_command(folder, ["shrink-perturb:interval=7"], stream, "1")
        return found

    code, errors = finish_here(command(whole))
    assert code == 0, errors
    killed, _, wrong = tool.kill_at("checkpoint", runs, command(runs), rng)
    assert wrong == ""
    assert killed
    assert list(runs.glob("*/*/checkpoint-*.pt"))
    code, errors = finish_here(command(runs))
    assert code == 0, errors
    expected = tool.tables(whole)
    assert len(expected) == 2  # the table of tasks and that of rollouts
    assert tool.differences(tool.tables(runs), expected) == []
    assert tool.leftovers(runs) == []
