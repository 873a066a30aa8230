"""Sinks that fail, runs that are interrupted, bad input: one line each, and the records are not changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from filelock import FileLock

from plasticity_bench.cli import main
from plasticity_bench.errors import RunFailed
from plasticity_bench.records.cells import find_cells, read_cell
from plasticity_bench.tracking.sinks.base import Log, Point, Tracked
from plasticity_bench.tracking.sinks.tensorboard import TensorBoard
from plasticity_bench.tracking.tracker import Tracker, open_sinks, tracked
from tests.support.here import no_workers
from tests.support.submission_bench import edit_json
from tests.support.tracked import BOTH, console, expect_shown, made_up, offline, state, track


@pytest.fixture(autouse=True, scope="module")
def _offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with offline(tmp_path_factory.mktemp("wandb")):
        yield


class Failing:
    """A sink that fails at its second point."""

    title: ClassVar[str] = "Failing"
    view = "nothing"

    def __init__(self, home: Path) -> None:
        self.home, self.shown = home, 0

    def open(self, run: Tracked) -> Log:
        return self

    def write(self, points: Sequence[Point]) -> None:
        self.shown += 1
        if self.shown == 2:
            raise ConnectionError("the server\nis away")

    def score(self, values: Mapping[str, float], seeds: int) -> None:
        raise AssertionError("a sink that failed is asked no more")

    def close(self, complete: bool) -> None:
        """Nothing to close."""


def test_a_sink_that_fails_is_not_used_again_after_one_warning(tmp_path: Path) -> None:
    cell = made_up(tmp_path / "runs", seeds=[0, 1, 2])
    failing, (messages, text) = Failing(tmp_path / "failing"), console()
    with tracked([failing, TensorBoard(tmp_path / "out")], [cell], messages):
        pass
    assert failing.shown == 2
    expect_shown(tmp_path / "out", cell, (0, 1, 2), ["tensorboard"])
    warning, view = text.getvalue().splitlines()
    assert warning.startswith("warning: tracking with Failing failed and has ended (ConnectionError: the ")
    assert "records are not affected" in warning
    assert view.startswith("TensorBoard: ")


def test_a_failing_sink_never_ends_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    (out / "tensorboard").mkdir(parents=True)
    (out / "tensorboard" / "permuted-digits-v1_tasks=3").write_text("not a folder")
    command = [
        "run",
        "--method",
        "none",
        "--no-references",
        "--no-twins",
        "--stream",
        "permuted-digits:tasks=3",
    ]
    command += ["--seeds", "1", "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    with no_workers():
        assert main([*command, "--track", "tensorboard", "--track-dir", str(out)]) == 0
    messages = capsys.readouterr().err
    assert messages.count("warning: tracking with TensorBoard failed") == 1
    (cell,) = find_cells(tmp_path / "runs")
    assert cell.seeds() == [0]
    assert track(tmp_path / "runs", out) == 1
    assert "some seeds are not tracked with TensorBoard" in capsys.readouterr().err
    expect_shown(out, cell, [0], ["wandb"])


def test_an_interrupted_run_is_closed_and_shown_later(tmp_path: Path) -> None:
    cell = made_up(tmp_path / "runs")
    sinks, (messages, text) = open_sinks(BOTH, tmp_path / "out"), console()

    def interrupted() -> None:
        with tracked(sinks, [cell], messages):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert text.getvalue() == ""
    assert track(tmp_path / "runs", tmp_path / "out") == 0
    expect_shown(tmp_path / "out", cell)


def test_what_was_recorded_before_a_run_failed_is_shown(tmp_path: Path) -> None:
    cell, (messages, text) = made_up(tmp_path / "runs"), console()
    with pytest.raises(RunFailed), tracked(open_sinks(BOTH, tmp_path / "out"), [cell], messages):
        raise RunFailed("another cell's method failed")
    assert text.getvalue() == ""
    expect_shown(tmp_path / "out", cell)


def test_one_process_at_a_time_shows_a_cell(tmp_path: Path) -> None:
    cell, (messages, text) = made_up(tmp_path / "runs"), console()
    sinks = open_sinks(["tensorboard"], tmp_path)
    (sinks[0].home / cell.label).mkdir(parents=True)
    with FileLock(sinks[0].home / cell.label / ".lock"):
        Tracker(sinks, messages).complete([cell])
    assert "is tracked with TensorBoard by another process" in text.getvalue().splitlines()[0]
    assert not state(tmp_path)
    Tracker(sinks, messages).complete([cell])
    expect_shown(tmp_path, cell, sinks=["tensorboard"])


def test_a_damaged_record_is_a_warning(tmp_path: Path) -> None:
    good, bad = made_up(tmp_path / "runs"), made_up(tmp_path / "runs", "reset")
    bad.trained.path(1).write_text("damaged")
    messages, text = console()
    Tracker(open_sinks(["tensorboard"], tmp_path), messages).complete([bad, good])
    expect_shown(tmp_path, good, sinks=["tensorboard"])
    assert "warning: not tracked:" in text.getvalue()
    assert "seed-001.csv is damaged" in text.getvalue()


BAD: dict[str, tuple[list[str], dict[str, str], str]] = {
    "no account": (["--track", "wandb"], {"WANDB_MODE": "online"}, "set WANDB_MODE=offline"),
    "bad key": (
        ["--track", "wandb"],
        {"WANDB_MODE": "online", "WANDB_API_KEY": "short"},
        "cannot log in",
    ),
    "disabled": (["--track", "wandb"], {"WANDB_MODE": "disabled"}, "set WANDB_MODE=offline"),
    "tool": (["--track", "mlflow"], {}, "choose from"),
    "folder alone": (["--track-dir", "x"], {}, "give --track"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(tmp_path: Path, case: str) -> None:
    """In a separate process without a terminal, as wandb keeps its settings as long as a process lives."""
    arguments, environment, phrase = BAD[case]
    runs = str(tmp_path / "runs")
    command = [
        sys.executable,
        "-m",
        "plasticity_bench",
        "run",
        "--no-twins",
        "--method",
        "none",
        "--runs",
        runs,
    ]
    done = subprocess.run(
        [*command, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("plasticity_bench: ")
    assert phrase in line
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell, file = made_up(tmp_path / "runs"), tmp_path / "file"
    file.write_text("not a folder")
    for out in (file, Path("/proc/x")):
        assert track(tmp_path / "runs", out) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"cannot write {out}/tensorboard" in line
        command = [
            "run",
            "--method",
            "none",
            "--no-references",
            "--no-twins",
            "--stream",
            "permuted-digits:tasks=3",
        ]
        command += ["--seeds", "1", "--runs", str(tmp_path / "new"), "--device", "cpu"]
        assert main([*command, "--track", "tensorboard", "--track-dir", str(out)]) == 2
        assert f"cannot write {out}/tensorboard" in capsys.readouterr().err
        assert not list(tmp_path.glob("new/*/*/seed-*"))
    assert cell.seeds() == [0, 1]
    assert file.read_text() == "not a folder"


@pytest.mark.parametrize("name", BOTH)
def test_a_missing_package_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["run", "--method", "none", "--runs", str(tmp_path / "runs"), "--track", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"python -m pip install {name}" in line
    assert not (tmp_path / "runs").exists()
    made_up(tmp_path / "runs")
    assert main(["track", str(tmp_path / "runs"), "--to", name]) == 2


def test_nothing_is_imported_unless_asked_for(tmp_path: Path) -> None:
    runs = str(tmp_path)
    asked = [
        "run",
        "--method",
        "none",
        "--no-references",
        "--no-twins",
        "--stream",
        "permuted-digits:tasks=3",
    ]
    asked += ["--seeds", "1", "--runs", runs, "--device", "cpu"]
    with no_workers():
        assert main(asked) == 0
    script = (
        "import sys; from plasticity_bench.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or bool({'wandb', 'tensorboard'} & set(sys.modules)))"
    )
    for arguments in (asked, ["list"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_two_cells_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of one configuration are refused when they are found; these differ, under one name."""
    for name, rate in (("a", 1e-3), ("b", 1e-2)):
        edit_json(made_up(tmp_path / name / "records").path / "config.json", optimizer__lr=rate)
    assert read_cell(next(tmp_path.glob("a/records/*/*"))).seeds() == [0, 1]
    assert track(tmp_path, tmp_path / "out") == 2
    assert "track them apart" in capsys.readouterr().err
