"""TensorBoard and Weights & Biases show exactly what is recorded, once each, also after a killed run."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plasticity_bench.cli import main
from plasticity_bench.records.cells import find_cells
from plasticity_bench.scoring.scoring import score
from plasticity_bench.tracking.points import merged_points
from plasticity_bench.tracking.sinks.base import Point, Tracked
from plasticity_bench.tracking.sinks.wandb import WandbLog
from tests.support.fake_records import write_cell
from tests.support.here import no_workers
from tests.support.paths import REPOSITORY
from tests.support.plugins import SLOW
from tests.support.scripts import load
from tests.support.tracked import (
    BOTH,
    events,
    expect_shown,
    made_up,
    offline,
    scalars,
    single,
    state,
    track,
    wandb_runs,
)


@pytest.fixture(autouse=True, scope="module")
def _offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with offline(tmp_path_factory.mktemp("wandb")):
        yield


def test_finished_runs_with_their_configuration_and_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out"
    cells = [made_up(runs, method) for method in ("none", "reset", "l2:strength=0.01")]
    assert track(runs, out) == 0
    written, messages = capsys.readouterr()
    assert written == ""
    assert messages.splitlines() == [
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
        assert "score/level_low" in wanted
        folder = out / "tensorboard" / cell.label / "scores"
        assert scalars(folder) == single({name: {2: value} for name, value in wanted.items()})
        summary = wandb_runs(out)[f"{cell.label}/{cell.method} scores"]["summary"]
        assert {name: value for name, value in summary.items() if name.startswith("score/")} == wanted
        text = events(out / "tensorboard" / cell.label / "seed-001").Tensors("config/text_summary")[0]
        shown = text.tensor_proto.string_val[0].decode().removeprefix("```json\n").removesuffix("\n```")
        assert json.loads(shown) == {**cell.config.as_json(), "seed": 1}
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
    # A record that was deleted and made again with other numbers replaces what was shown before.
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
    points = merged_points(rows, rollouts)
    assert [(p.axis, p.step) for p in points] == [
        *(("rollout", 8), ("rollout", 16), ("task", 0)),
        *(("rollout", 24), ("rollout", 32), ("task", 1)),
    ]
    assert points[0].values == {"return": 0}
    assert points[5].values == {"loss": 0.5}  # what was not measured is not shown
    assert merged_points(rows[:1], rollouts[:3]) == points[:4]


def test_an_agents_rollouts(tmp_path: Path) -> None:
    stream = "shuffled-gridworld:tasks=2,rollouts=2"
    command = ["run", "--method", "none", "--no-references", "--no-twins", "--stream", stream, "--seeds", "2"]
    command += ["--runs", str(tmp_path), "--device", "cpu", "--jobs", "1", "--track", *BOTH]
    with no_workers():
        assert main(command) == 0
    (cell,) = find_cells(tmp_path)
    expect_shown(tmp_path / "tracking", cell)
    shown = scalars(tmp_path / "tracking" / "tensorboard" / cell.label / "seed-000")
    assert list(shown["rollout/episodes"]) == [512, 1024, 1536, 2048]
    assert list(shown["task/final_performance"]) == [0, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="process groups and SIGKILL")
def test_live_then_killed_and_resumed_every_task_is_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # wandb's background process of these tests, which the run would use and which outlives the kill.
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    tool = load(REPOSITORY / "benchmarks" / "kill_and_resume.py")
    plugin, runs = tmp_path / "slow.py", tmp_path / "runs"
    plugin.write_text(SLOW)
    command = tool.run_command(runs, [f"{plugin}:Noise"], "permuted-digits:tasks=20", "2")
    command += ["--jobs", "1", "--track", *BOTH]  # both seeds in one stack
    out = runs / "tracking"
    with monkeypatch.context() as patch:
        patch.setenv("TEST_WAIT", "0.01")  # a second and more for each task
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
    (cell,) = find_cells(runs)
    assert cell.seeds() == []  # it was shown while it trained
    code, errors = tool.finish_run(command)
    assert code == 0, errors
    assert "warning" not in errors
    assert "Weights & Biases: wandb sync" in errors
    expect_shown(out, cell)
    assert tool.leftovers(runs) == []


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT")
def test_follow_shows_what_others_record_until_it_is_interrupted(tmp_path: Path) -> None:
    tool = load(REPOSITORY / "benchmarks" / "kill_and_resume.py")
    cell, out = made_up(tmp_path, seeds=[0]), tmp_path / "out"
    command = ["track", str(tmp_path), "--to", "tensorboard", "--out", str(out), "--follow"]
    process = tool.start_run([sys.executable, "-m", "plasticity_bench", *command])
    try:
        for seed in (0, 1):
            made_up(tmp_path, seeds=[seed]) if seed else None
            marker = out / "tensorboard" / cell.label / f"seed-{seed:03d}.json"
            assert tool.wait_for(marker.exists, process), process.communicate()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        tool.end(process.pid)
    assert process.returncode == 0
    assert errors == f"TensorBoard: tensorboard --logdir {out}/tensorboard\n"
    expect_shown(out, cell, sinks=["tensorboard"])
    assert list(scalars(out / "tensorboard" / cell.label / "scores")["score/trend"]) == [2]


def test_a_run_that_the_server_knows_goes_on_after_its_last_step() -> None:
    """Without a server: the state of the wandb.Run object."""

    class Known:
        starting_step, logged = 3, []

        def log(self, values: dict[str, Any], step: int) -> None:
            self.logged.append((step, values))

    log, known = WandbLog(Known()), Known.logged
    points = [Point("task", task, {"loss": task / 2}) for task in range(5)]
    log.write(points[:2])
    log.write(points[2:])
    assert known == [(3, {"task": 3, "task/loss": 1.5}), (4, {"task": 4, "task/loss": 2.0})]


def test_a_cells_key_does_not_depend_on_where_it_is(tmp_path: Path) -> None:
    here, there = made_up(tmp_path / "here"), made_up(tmp_path / "there")
    assert Tracked(here, 1).key == Tracked(there, 1).key
    assert len({Tracked(cell, seed).key for cell in (here, there) for seed in (0, 1, None)}) == 3
