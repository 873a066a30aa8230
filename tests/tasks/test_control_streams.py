"""The contract of every control stream, and the records of runs on them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL.GifImagePlugin import GifImageFile

from plasticity_bench.agents.ppo import PPOLearner
from plasticity_bench.cli import main
from plasticity_bench.records.cells import POLICY, ROLLOUTS, find_cells
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.records.tables import COLUMNS, CONTROL_COLUMNS, ROLLOUT_COLUMNS
from plasticity_bench.registry.catalog import STREAMS
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.registry.create import create_stream
from plasticity_bench.running.plan import open_cells, plan_jobs
from plasticity_bench.running.worker import run_job
from plasticity_bench.seeding import generator
from plasticity_bench.specs import layer_shapes
from plasticity_bench.tasks.ant import AntStream
from plasticity_bench.tasks.base import ControlStream, Worlds

NAMES = [name for name in STREAMS if issubclass(choose_stream(name).cls, ControlStream)]
#: A run of seconds, on the stream that is cheap and on one with physics.
SHORT = ["shuffled-gridworld:tasks=3,rollouts=2", "slippery-ant-short:tasks=2,rollouts=1,width=16"]


def stream_named(name: str) -> ControlStream:
    stream = create_stream(name)
    assert isinstance(stream, ControlStream)
    return stream


def shorten_rollouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rollouts of ants have 1,024 steps, not 2,048: an episode ends in each. Few updates."""
    real = vars(AntStream)["ppo"].fget
    short = property(lambda self: replace(real(self), rollout=1024, epochs=2))
    monkeypatch.setattr(AntStream, "ppo", short)


def play(stream: ControlStream, worlds: Worlds, steps: int, seed: int = 0) -> list[np.ndarray]:
    """Everything that follows from ``steps`` random actions, the same for every seed of the stack."""
    rng, outputs = np.random.default_rng(seed), stream.network.outputs
    seeds, count = worlds.observations.shape[:2]
    seen = []
    for _ in range(steps):
        if stream.discrete:
            actions = np.repeat(rng.integers(outputs, size=(1, count)), seeds, 0)
        else:
            actions = np.repeat(rng.uniform(-1, 1, (1, count, outputs)).astype(np.float32), seeds, 0)
        seen += [*worlds.step(actions), worlds.observations]
    return seen


def same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types(name: str) -> None:
    stream = stream_named(name)
    ppo, spec = stream.ppo, stream.network
    assert layer_shapes(spec)
    assert spec.log_std != stream.discrete
    assert (ppo.rollout * ppo.environments) % ppo.batch == 0
    assert stream.steps == stream.rollouts * ppo.rollout * ppo.environments
    assert stream.info.unit == "return"
    assert stream.info.score == "final_performance"
    worlds = stream.worlds([0, 4])
    worlds.begin(0)
    shape = (2, ppo.environments)
    assert worlds.observations.shape == (*shape, *spec.inputs)
    assert worlds.observations.dtype == np.float32
    for _ in range(3):
        rewards, terminated, truncated, final, seen = play(stream, worlds, 1)
        assert rewards.shape == terminated.shape == truncated.shape == shape
        assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float32, bool, bool)
        assert final.shape == seen.shape == (*shape, *spec.inputs)
        assert final.dtype == np.float32
    picture = worlds.picture()
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 2
    worlds.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_task_depends_on_seed_and_index_alone(name: str) -> None:
    stream = stream_named(name)
    stack, alone, late = stream.worlds([0, 4]), stream.worlds([4]), stream.worlds([4])
    for task in (0, 1):
        stack.begin(task)
        alone.begin(task)
        together, single = play(stream, stack, 60), play(stream, alone, 60)
        assert same([array[1:] for array in together], single)
        assert not same([array[:1] for array in together], single)
    # The first observation differs from later ones, as in the published robots.
    late.begin(0)
    late.begin(1)
    assert same(play(stream, late, 60), single)
    for worlds in (stack, alone, late):
        worlds.close()


@pytest.mark.parametrize("name", NAMES)
def test_worlds_continue_bit_for_bit_where_they_were_saved(name: str) -> None:
    stream = stream_named(name)
    worlds = stream.worlds([2, 3])
    worlds.begin(1)
    play(stream, worlds, 150)
    file = io.BytesIO()
    torch.save(worlds.state_dict(), file)
    file.seek(0)
    wanted = play(stream, worlds, 150, seed=1)
    resumed = stream.worlds([2, 3])
    resumed.begin(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert same(play(stream, resumed, 150, seed=1), wanted)
    worlds.close()
    resumed.close()


@pytest.mark.parametrize("text", SHORT)
def test_a_checkpoint_after_a_task_and_in_one_is_read_back(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_rollouts(monkeypatch)
    stream = stream_named(text.replace("rollouts=1", "rollouts=2"))

    def agent() -> PPOLearner:
        return PPOLearner(stream, choose_method("cbp:rate=0.01,maturity=10").make(), [0, 3])

    whole, saved = agent(), []
    while not whole.finished:
        file = io.BytesIO()
        torch.save(whole.state_dict(), file)
        saved.append(file)
        whole.advance()
    for file in (saved[1], saved[3]):
        file.seek(0)
        resumed = agent()
        resumed.load_state_dict(torch.load(file, weights_only=True))
        while not resumed.finished:
            resumed.advance()
        assert str(resumed.rows) == str(whole.rows)
        assert str(resumed.rollouts) == str(whole.rollouts)
        resumed.close()
    whole.close()


#: Of the tasks 0 and 1 of the seeds 0 and 1: task 0 of seed 0, task 0 of seed 1, ...
PINNED_FRICTIONS = [3044.1433228186042, 1432.7208903745434, 3328.8226725900345, 269.8724513348516]


def test_the_friction_of_slippery_ants_is_10_to_the_u_of_4_and_changes() -> None:
    worlds = stream_named("slippery-ant").worlds([0, 1])
    found = []
    for task in range(8):
        worlds.begin(task)
        found += [ant.variables.friction for ant in worlds.ants]  # type: ignore[attr-defined]
    exponents = np.log10(found)
    assert len(set(found)) == len(found)
    # Recorded results depend on these values: they follow from (seed, task) and must not change.
    assert found[:4] == pytest.approx(PINNED_FRICTIONS, rel=1e-12)
    draws = generator(1, "data", 7)
    draws.integers(2**31)
    assert found[-1] == 10.0 ** draws.uniform(-4, 4)
    assert exponents.min() < -1.5
    assert exponents.max() > 1.5
    assert np.abs(exponents).max() <= 4
    worlds.close()
    plain = stream_named("ant").worlds([0])
    plain.begin(3)
    assert plain.ants[0].variables.friction == 0.8  # type: ignore[attr-defined]
    plain.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of two methods on two streams."""
    folder = tmp_path_factory.mktemp("runs")
    plans = [plan_cell(stream, method) for stream in SHORT for method in ("none", "syre")]
    with pytest.MonkeyPatch.context() as patch:
        shorten_rollouts(patch)
        for job in plan_jobs(open_cells(folder, plans, [0, 1]), 1, ["cpu"]):
            assert run_job(job, lambda done, total: None)
    return folder


def test_what_a_run_records(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_rollouts(monkeypatch)
    cells = find_cells(runs)
    assert len(cells) == 4
    for cell in cells:
        assert cell.config.ppo
        assert cell.config.ppo.epochs >= 1
        tables = [cell.trained.table(seed) for seed in cell.seeds()]
        assert len(tables) == 2
        for table, seed in zip(tables, cell.seeds(), strict=True):
            assert set(table) == {*COLUMNS, *CONTROL_COLUMNS}
            for column in ("online_performance", "final_performance", "online_loss", "weight_norm"):
                assert np.isfinite(table[column]).all(), column
            assert (table["episodes"] >= 1).all()
            rows = cell.trained.path(seed).with_suffix(ROLLOUTS).read_text().splitlines()
            assert rows[0] == ",".join(ROLLOUT_COLUMNS)
            stream = stream_named(cell.config.stream.label)
            assert len(rows) == 1 + stream.tasks * stream.rollouts
            assert cell.trained.path(seed).with_suffix(POLICY).exists()
            steps = [int(row.split(",")[1]) for row in rows[1:]]
            assert steps[-1] == stream.tasks * stream.steps
    # Another method meets the same tasks.
    first = {cell.method: cell.trained.table(0)["online_performance"][0] for cell in cells}
    assert len(first) == 2


def test_scores_curves_and_leaderboard_of_agents_that_act(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "--runs", str(runs), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {stream["config"]["name"] for stream in found["streams"]} == {
        "shuffled-gridworld",
        "slippery-ant-short",
    }
    assert main(["plot", "--runs", str(runs), "--out", str(tmp_path / "figures")]) == 0
    drawn = sorted(path.name for path in (tmp_path / "figures").glob("returns-*.png"))
    assert len(drawn) == 2
    assert main(["leaderboard", "--runs", str(runs), "--out", str(tmp_path / "board")]) == 0
    assert "return" in (tmp_path / "board" / "README.md").read_text()


@pytest.mark.parametrize("part", ["shuffled-gridworld", "slippery-ant-short"])
def test_watch_writes_moving_pictures(
    part: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(runs.glob(f"{part}*/syre-*"))
    out = tmp_path / "seen" / "agent.gif"
    assert main(["watch", str(folder), "--seed", "1", "--steps", "12", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "syre, seed 1: return" in printed
    with GifImageFile(out) as image:
        assert image.n_frames > 1
        image.seek(image.n_frames - 1)
        last = np.asarray(image.convert("RGB"))
        image.seek(0)
        assert not np.array_equal(np.asarray(image.convert("RGB")), last)


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["--seed", "7"], "policies are kept of the seeds 0, 1"),
        (["--task", "9"], "has the tasks 0 to"),
        (["--steps", "0"], "at least one step"),
        (["--out", "a.mp4"], "only .gif"),
    ],
)
def test_watch_says_what_is_wrong(
    arguments: list[str], phrase: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(runs.glob("shuffled-gridworld*/none-*"))
    assert main(["watch", str(folder), *arguments]) == 2
    assert phrase in capsys.readouterr().err


def test_watch_of_something_else(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(runs)]) == 2
    assert "is no cell" in capsys.readouterr().err
    damaged = tmp_path / "cell"
    source = next(runs.glob("shuffled-gridworld*/none-*"))
    damaged.mkdir()
    for path in source.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / f"seed-000{POLICY}").write_bytes(b"nothing")
    assert main(["watch", str(damaged)]) == 2
    assert "is damaged" in capsys.readouterr().err
