"""What TensorBoard and Weights & Biases show is what the records say, once each, whatever happens."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import REPOSITORY
from fake_records import learning_curves, write_cell
from filelock import FileLock
from rich.console import Console
from tracked import events, scalars, table, wandb_runs, wandb_values

from plasticity_bench.cli import main
from plasticity_bench.points import merge
from plasticity_bench.records import Cell, find_cells, read_cell
from plasticity_bench.scoring import score
from plasticity_bench.sinks.base import Log, Point, Tracked
from plasticity_bench.sinks.tensorboard import TensorBoard
from plasticity_bench.sinks.wandb import WandbLog
from plasticity_bench.tracking import Tracker, open_sinks, tracked

BOTH = ("tensorboard", "wandb")


@pytest.fixture(autouse=True, scope="module")
def _offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No account and no network, whoever runs the tests."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name in ("HOME", "NETRC", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, f"{home}/netrc" if name == "NETRC" else home)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        yield
        if "wandb" in sys.modules:
            sys.modules["wandb"].teardown()


def made_up(runs: Path, method: str = "none", seeds: Sequence[int] = (0, 1), tasks: int = 20) -> Cell:
    """Recorded seeds; a column is measured at every fifth task only."""
    ranks = [float(task) if task % 5 == 4 else float("nan") for task in range(tasks)]
    curves = learning_curves(0.7, 0.6, seeds, tasks, method=len(method))
    return write_cell(runs, method, curves, columns={"effective_rank": ranks})


def console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=400), text


def single(found: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    """In single precision, as TensorBoard holds it."""
    return {tag: {at: float(np.float32(v)) for at, v in steps.items()} for tag, steps in found.items()}


def expect_shown(out: Path, cell: Cell, seeds: Sequence[int] = (0, 1), sinks: Sequence[str] = BOTH) -> None:
    """Both sinks hold the tables of ``seeds`` and nothing else of this cell."""
    wanted = {f"seed-{seed:03d}": table(cell, seed) for seed in seeds}
    if "tensorboard" in sinks:
        folder = out / "tensorboard" / cell.label
        shown = {path.name: scalars(path) for path in folder.iterdir() if path.is_dir()}
        shown.pop("scores", None)
        assert shown == {name: single(tags) for name, tags in wanted.items()}
    if "wandb" in sinks:
        prefix = f"{cell.label}/{cell.method} seed-"
        runs = {name: run for name, run in wandb_runs(out).items() if name.startswith(prefix)}
        assert {f"seed-{name[-3:]}": wandb_values(run["history"]) for name, run in runs.items()} == wanted
        assert {run["exits"][0] for run in runs.values()} == {0}
        for name, run in runs.items():
            run["config"].pop("_wandb", None)  # its own entry
            assert run["config"] == {**cell.config, "seed": int(name[-3:])}


def track(runs: Path, out: Path, *more: str) -> int:
    return main(["track", str(runs), "--to", *BOTH, "--out", str(out), *more])


def state(out: Path) -> dict[str, bytes]:
    found = (path for pattern in ("**/events.*", "**/run-*.wandb") for path in out.glob(pattern))
    return {str(path): path.read_bytes() for path in found}


def test_finished_runs_with_their_configuration_and_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out"
    cells = [made_up(runs, method) for method in ("none", "reset", "l2:strength=0.01")]
    assert track(runs, out) == 0
    written, told = capsys.readouterr()
    assert written == ""
    assert told.splitlines() == [
        f"TensorBoard: tensorboard --logdir {out}/tensorboard",
        f"Weights & Biases: wandb sync {out}/wandb/offline-run-*",
    ]
    (of_stream,) = score(cells).streams
    for cell in cells:
        expect_shown(out, cell)
        row = of_stream.row(cell.method)
        assert row is not None
        wanted = {
            f"score/{name}{end}": value
            for name, interval in row.summary.items()
            for end, value in zip(("", "_low", "_high"), interval[:3], strict=True)
            if value == value
        }
        assert "score/retained_plasticity_low" in wanted
        folder = out / "tensorboard" / cell.label / "scores"
        assert scalars(folder) == single({name: {2: value} for name, value in wanted.items()})
        summary = wandb_runs(out)[f"{cell.label}/{cell.method} scores"]["summary"]
        assert {name: value for name, value in summary.items() if name.startswith("score/")} == wanted
        text = events(out / "tensorboard" / cell.label / "seed-001").Tensors("config/text_summary")[0]
        shown = text.tensor_proto.string_val[0].decode().removeprefix("```json\n").removesuffix("\n```")
        assert json.loads(shown) == {**cell.config, "seed": 1}
        hyperparameters = events(folder).PluginTagToContent("hparams")["_hparams_/session_start_info"]
        assert cell.method.encode() in hyperparameters


def test_again_only_what_the_sinks_lack_is_added(tmp_path: Path) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out"
    none, other = made_up(runs), made_up(runs, "reset")
    assert track(runs, out) == 0
    before = state(out)
    assert track(runs, out) == 0
    assert state(out) == before
    made_up(runs, seeds=[2])
    assert track(runs, out) == 0
    expect_shown(out, none, (0, 1, 2))
    expect_shown(out, other)
    after, seeds = state(out), [path for path in before if "/scores/" not in path and "wandb" not in path]
    assert len(seeds) == 4
    assert all(after[path] == before[path] for path in seeds)
    # A record that was deleted and made again, with other numbers, replaces what was shown of it.
    for path in none.path.glob("seed-001.*"):
        path.unlink()
    write_cell(runs, "none", {1: [0.5] * 20})
    assert track(runs, out, "--stream", "permuted-digits") == 0
    expect_shown(out, none, (0, 1, 2))


def test_points_come_in_one_order_however_far_a_run_is() -> None:
    rows = [{"task": t, "loss": 0.5 * t, "rank": float("nan")} for t in range(2)]
    rollouts = [
        {"task": t, "steps": 8.0 * (2 * t + i + 1), "return": t + i} for t in range(2) for i in (0, 1)
    ]
    points = merge(rows, rollouts)
    assert [(p.axis, p.step) for p in points] == [
        *(("rollout", 8), ("rollout", 16), ("task", 0)),
        *(("rollout", 24), ("rollout", 32), ("task", 1)),
    ]
    assert points[0].values == {"return": 0}
    assert points[5].values == {"loss": 0.5}  # what was not measured is not shown
    assert merge(rows[:1], rollouts[:3]) == points[:4]


def test_an_agents_rollouts(tmp_path: Path) -> None:
    stream = "shuffled-gridworld:tasks=2,rollouts=2"
    command = ["run", "--method", "none", "--no-references", "--stream", stream, "--seeds", "2"]
    command += ["--runs", str(tmp_path), "--device", "cpu", "--jobs", "1", "--track", *BOTH]
    assert main(command) == 0
    (cell,) = find_cells(tmp_path)
    expect_shown(tmp_path / "tracking", cell)
    shown = scalars(tmp_path / "tracking" / "tensorboard" / cell.label / "seed-000")
    assert list(shown["rollout/episodes"]) == [512, 1024, 1536, 2048]
    assert list(shown["task/final_performance"]) == [0, 1]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform == "win32", reason="process groups and SIGKILL")
def test_live_then_killed_and_resumed_every_task_is_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # wandb's background process of these tests, which the run would use and which outlives the kill.
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    tool = _load(REPOSITORY / "benchmarks" / "kill_and_resume.py")
    command = tool.run_command(tmp_path, ["none"], "permuted-digits:tasks=40", "2")
    command += ["--jobs", "1", "--track", *BOTH]  # both seeds in one stack
    out = tmp_path / "tracking"
    run = tool.start_run(command)

    def live() -> bool:
        time.sleep(0.2)
        folders = list(out.glob("tensorboard/*/*/seed-*"))
        count = len(folders), len(list(out.glob("wandb/offline-run-*")))
        return count == (2, 2) and all("task/online_loss" in events(f).Tags()["scalars"] for f in folders)

    try:
        assert tool.wait_for(live, run), run.communicate()
    finally:
        tool.end(run.pid)
        run.communicate()
    (cell,) = find_cells(tmp_path)
    assert cell.seeds() == []  # it was shown while it trained
    code, errors = tool.finish_run(command)
    assert code == 0, errors
    assert "warning" not in errors
    assert "Weights & Biases: wandb sync" in errors
    expect_shown(out, cell)
    assert tool.leftovers(tmp_path) == []


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


def test_a_sink_that_fails_is_given_up_with_one_warning(tmp_path: Path) -> None:
    cell = made_up(tmp_path / "runs", seeds=[0, 1, 2])
    failing, (messages, text) = Failing(tmp_path / "failing"), console()
    with tracked([failing, TensorBoard(tmp_path / "out")], [cell], messages):
        pass
    assert failing.shown == 2
    expect_shown(tmp_path / "out", cell, (0, 1, 2), ["tensorboard"])
    warning, view = text.getvalue().splitlines()
    assert warning.startswith("warning: tracking with Failing failed and is given up (ConnectionError: the ")
    assert "records are untouched" in warning
    assert view.startswith("TensorBoard: ")


def test_a_failing_sink_never_ends_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "tensorboard").write_text("not a folder")
    command = ["run", "--method", "none", "--no-references", "--stream", "permuted-digits:tasks=3"]
    command += ["--seeds", "1", "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    assert main([*command, "--track", "tensorboard", "--track-dir", str(out)]) == 0
    told = capsys.readouterr().err
    assert told.count("warning: tracking with TensorBoard failed") == 1
    (cell,) = find_cells(tmp_path / "runs")
    assert cell.seeds() == [0]
    assert track(tmp_path / "runs", out) == 1
    assert "not all is tracked with TensorBoard" in capsys.readouterr().err
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
    bad.table_path(1).write_text("damaged")
    messages, text = console()
    Tracker(open_sinks(["tensorboard"], tmp_path), messages).complete([bad, good])
    expect_shown(tmp_path, good, sinks=["tensorboard"])
    assert "warning: not tracked:" in text.getvalue()
    assert "seed-001.csv is damaged" in text.getvalue()


def test_a_run_that_the_server_knows_goes_on_after_its_last_step() -> None:
    """Without a server: what wandb.Run has of it."""

    class Known:
        starting_step, logged = 3, []

        def log(self, values: dict[str, Any], step: int) -> None:
            self.logged.append((step, values))

    log, known = WandbLog(Known()), Known.logged  # type: ignore[arg-type]
    points = [Point("task", task, {"loss": task / 2}) for task in range(5)]
    log.write(points[:2])
    log.write(points[2:])
    assert known == [(3, {"task": 3, "task/loss": 1.5}), (4, {"task": 4, "task/loss": 2.0})]


def test_a_cells_key_does_not_depend_on_where_it_is(tmp_path: Path) -> None:
    here, there = made_up(tmp_path / "here"), made_up(tmp_path / "there")
    assert Tracked(here, 1).key == Tracked(there, 1).key
    assert len({Tracked(cell, seed).key for cell in (here, there) for seed in (0, 1, None)}) == 3


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
    "folder": (["--track", "tensorboard", "--track-dir", "/proc/x"], {}, "choose another folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(tmp_path: Path, case: str) -> None:
    """In a process of its own, which can prompt nobody: wandb keeps its settings for a process' life."""
    arguments, environment, phrase = BAD[case]
    runs = str(tmp_path / "runs")
    command = [sys.executable, "-m", "plasticity_bench", "run", "--method", "none", "--runs", runs]
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
    asked = ["run", "--method", "none", "--no-references", "--stream", "permuted-digits:tasks=3"]
    asked += ["--seeds", "1", "--runs", runs, "--device", "cpu"]
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
    for name in ("a", "b"):
        made_up(tmp_path / name / "records")
    assert read_cell(next(tmp_path.glob("a/records/*/*"))).seeds() == [0, 1]
    assert track(tmp_path, tmp_path / "out") == 2
    assert "track them apart" in capsys.readouterr().err
