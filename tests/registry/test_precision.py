"""Number types of products: their effect, and that they are recorded in separate cells."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError
from plasticity_bench.records.configuration import configuration, plan_cell, stream_folder
from plasticity_bench.registry import precision
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.running.training import capture_record
from tests.support.learners import DIGITS, few_test_images, finish, learner, shorten_digits
from tests.support.mnist_files import needs_mnist
from tests.support.paths import REPOSITORY


@pytest.mark.parametrize("name", METHODS)
def test_bf16_trains_and_is_not_float32(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_digits(monkeypatch, 40)
    stream = "permuted-digits:tasks=2"
    plain, rounded = learner(name, stream=stream), learner(name, stream=stream, precision="bf16")
    tables = finish(plain), finish(rounded)
    assert rounded.network.flat.dtype == torch.float32
    assert rounded.network.flat.isfinite().all()
    # Online accuracy of the first task: far less than training gives. A tuner of scales goes another way.
    tolerance = 0.1 if name == "trac" else 0.03
    assert np.abs(tables[0][:, 0, 1] - tables[1][:, 0, 1]).max() < tolerance
    assert not np.array_equal(tables[0][:, 0, 2], tables[1][:, 0, 2]), "the same losses"


def test_products_in_bf16_are_within_their_rounding() -> None:
    """Gradients of one batch with the same weights, with 8 bits of precision instead of 24."""
    exact = learner()
    rounded = learner(precision="bf16")
    for made in (exact, rounded):
        x, y = made.current.batches(0, 1)
        made.trained.gradients(x[0], made._target(y, x.dtype)[0])
    g, r = exact.network.gradient, rounded.network.gradient.double()
    error = float((g - r).norm() / g.norm())
    assert 2**-10 < error < 2**-4  # some units cross zero


@needs_mnist
def test_convolutions_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    few_test_images(monkeypatch)
    stream = "permuted-mnist:tasks=2,images=256,epochs=1"
    table, other = finish(learner(stream=stream, precision="bf16")), finish(learner(stream=stream))
    assert not np.array_equal(table[..., 2], other[..., 2])
    assert np.abs(table[:, 0, 3] - other[:, 0, 3]).max() < 0.1


def test_float32_is_what_was_recorded_before_there_were_others() -> None:
    for text in (DIGITS, f"{DIGITS},precision=float32"):
        chosen = choose_stream(text)
        assert stream_folder(chosen) == "permuted-digits-v1_tasks=3"
        assert "precision" not in configuration(chosen, choose_method("l2")).to_bytes().decode()


def test_another_precision_is_another_folder() -> None:
    chosen = choose_stream(f"{DIGITS},precision=bf16")
    assert stream_folder(chosen) == "permuted-digits-v1_precision=bf16_tasks=3"
    config = configuration(chosen, choose_method("l2"))
    assert config.stream.settings == {"tasks": 3, "precision": "bf16"}
    assert config.stream.label == "permuted-digits:precision=bf16,tasks=3"


def test_run_records_and_scores_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--method", "l2", "--stream", "permuted-digits:tasks=2", "--seeds", "1", "--jobs", "1"]
    assert main([*command, "--device", "cpu", "--runs", str(tmp_path), "--precision", "bf16", "--json"]) == 0
    assert "precision=bf16" in capsys.readouterr().out
    paths = sorted(tmp_path.glob("permuted-digits-v1_precision=bf16_tasks=2/*/seed-000.json"))
    assert [path.parent.name.partition("-")[0] for path in paths] == ["l2", "none", "reset"]
    origin = json.loads(paths[0].read_text())
    assert origin["precision"] == "bf16"
    assert "captured" not in origin


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "tf32", "--device", "cpu"], "tf32 needs an NVIDIA GPU"),
        (["--stream", f"{DIGITS},precision=tf32", "--device", "cpu"], "tf32 needs an NVIDIA GPU"),
        (["--stream", f"{DIGITS},precision=f16", "--device", "cpu"], 'unknown precision "f16"'),
        (["--suite", "control", "--precision", "bf16"], "agents that act are trained in float32 only"),
        (
            ["--stream", f"{DIGITS},precision=bf16", "--precision", "bf16"],
            'setting "precision" is given twice',
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_bad_input(
    command: str, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--runs" if command == "run" else "--out", str(tmp_path / "runs")]
    assert main([command, "--method", "l2", *arguments, *out]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "runs").exists()


def test_a_worker_is_set_up_before_anything_runs_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    seen: list[object] = []
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda d: seen.append(os.environ["CUBLAS_WORKSPACE_CONFIG"])
    )
    kept = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        for name, products in (("tf32", "high"), ("bf16", "highest"), ("float32", "highest")):
            precision.set_up_device(torch.device("cuda:0"), name)
            assert torch.get_float32_matmul_precision() == products
            assert torch.backends.cudnn.allow_tf32 == (name == "tf32")
            assert torch.backends.cudnn.deterministic
    finally:
        torch.set_float32_matmul_precision(kept[0])
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = kept[1], False
    assert seen == [":4096:8"] * 3
    with pytest.raises(InputError, match="tf32 needs an NVIDIA GPU"):
        precision.set_up_device(torch.device("cpu"), "tf32")


def test_what_is_recorded_of_captured_steps() -> None:
    updater = SimpleNamespace(replayed=7, reason="")
    assert capture_record(SimpleNamespace(updater=updater)) == {"captured": True, "replayed": 7}
    updater.reason = "changes too often"
    assert capture_record(SimpleNamespace(updater=updater))["not_captured"] == "changes too often"
    none = {"captured": False, "replayed": 0}
    assert capture_record(learner()) == {**none, "not_captured": "no graphs on cpu"}
    assert capture_record(SimpleNamespace())["not_captured"] == "an agent that acts"
    updater = SimpleNamespace(replayed=0, reason="")
    assert (
        capture_record(SimpleNamespace(updater=updater))["not_captured"] == "the method acts at every update"
    )


def test_committed_records_are_of_float32() -> None:
    """No record in the repository has a name that this setting would give."""
    paths = list((REPOSITORY / "leaderboard" / "submissions").glob("*/records/*"))
    assert paths
    assert not [path for path in paths if "precision" in path.name]
    assert plan_cell("permuted-digits", "l2").stream.settings == {"tasks": 300, "sgd": 0.0}
