"""Avalanche's benchmarks as streams."""

from __future__ import annotations

import io
import json
import random
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from plasticity_bench.cli import main
from plasticity_bench.records.configuration import configuration, stream_folder
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.registry.create import create_stream
from plasticity_bench.tasks.avalanche_data import BENCHMARKS, Benchmark
from plasticity_bench.tasks.avalanche_stream import TESTED
from plasticity_bench.tasks.mnist_data import cache_folder, load_mnist
from tests.support.digits_benchmarks import TRAIN, split_digits
from tests.support.here import no_workers
from tests.support.learners import finish, learner, supervised
from tests.support.mnist_files import needs_mnist
from tests.support.mnist_small import empty_folders, message
from tests.support.paths import REPOSITORY

CPU = torch.device("cpu")
MODULE = "tests.support.digits_benchmarks"
PERMUTED, SPLIT = f"avalanche:{MODULE}:permuted_digits", f"avalanche:{MODULE}:split_digits"
SMALL = f"{PERMUTED}:examples=96"


def source(text: str, seeds: tuple[int, ...] = (0, 1), tasks: int | None = None) -> Any:
    return supervised(text + (f",tasks={tasks}" if tasks else "")).open(seeds, CPU, torch.float32)


def everything(task: Any, steps: int = 6) -> list[torch.Tensor]:
    """All data of a task, seeds first."""
    x, y = task.batches(0, steps)
    ((test_x, test_y),) = task.evaluation()
    return [x.transpose(0, 1), y.transpose(0, 1), *task.probe(), test_x, test_y]


def rows_of(images: np.ndarray) -> dict[bytes, int]:
    return {row.astype(np.float32).tobytes(): i for i, row in enumerate(images)}


def test_a_users_function_becomes_a_stream_of_its_examples() -> None:
    stream = supervised(SMALL)
    assert (stream.tasks, stream.steps, stream.batch) == (3, 6, 16)
    assert stream.network.inputs == (64,)
    assert stream.info.chance == pytest.approx(0.1)
    images, labels = load_digits(return_X_y=True)
    opened = source(SMALL, (0, 4))
    for index in (2, 1):
        x, y = opened.task(index).batches(0, 6)
        assert x.shape == (6, 2, 16, 64)
        assert y.shape == (6, 2, 16)
        ((test_x, test_y),) = opened.task(index).evaluation()
        assert test_x.shape == (2, TESTED, 64)
        for s, seed in enumerate((0, 4)):
            rng = np.random.default_rng(seed)
            pixels = [rng.permutation(64) for _ in range(3)][index]
            train = rows_of(images[:TRAIN, pixels] / 16)
            found = [train[row.numpy().tobytes()] for row in x[:, s].reshape(-1, 64)]
            assert len(set(found)) == 96
            assert np.array_equal(labels[found], y[:, s].flatten())
            held_out = rows_of(images[TRAIN : TRAIN + 60, pixels] / 16)
            tested = [held_out[row.numpy().tobytes()] for row in test_x[s]]
            assert set(np.bincount(tested)) == {16, 17}  # 1,000 of 60
            assert np.array_equal(labels[TRAIN:][tested], test_y[s])


def test_what_a_seed_sees_depends_on_seed_and_index_alone() -> None:
    opened = source(SMALL, (0, 1, 2))
    late, early = everything(opened.task(2)), everything(opened.task(0))
    state = (random.getstate(), np.random.default_rng, torch.random.get_rng_state())
    alone = source(SMALL, (1,), tasks=5)
    assert random.getstate() == state[0]
    assert torch.equal(torch.random.get_rng_state(), state[2])
    for index, stacked in ((0, early), (2, late)):
        for one, many in zip(everything(alone.task(index)), stacked, strict=True):
            assert torch.equal(one[0], many[1])
    assert not torch.equal(late[0][0], late[0][1])
    task = opened.task(1)
    whole = task.batches(0, 6)
    for part in range(2):
        assert torch.equal(whole[part], torch.cat([task.batches(0, 1)[part], task.batches(1, 6)[part]]))


def test_small_experiences_are_seen_again_and_epochs_are_passes() -> None:
    def seen(text: str, steps: int) -> np.ndarray:
        x, _ = source(text, (3,)).task(0).batches(0, steps)
        _, counts = np.unique(x.reshape(-1, 64).numpy(), axis=0, return_counts=True)
        return np.sort(counts)

    assert seen(f"{PERMUTED}:examples=240", 15).tolist() == [2] * TRAIN
    assert seen(f"{PERMUTED}:examples=64,epochs=3", 12).tolist() == [3] * 64


def test_split_classes_come_in_the_order_of_avalanches_seed() -> None:
    wanted = [sorted(e.classes_in_this_experience) for e in split_digits(5, seed=7).train_stream]
    opened = source(f"{SPLIT}:examples=160", (7, 2))
    assert [np.unique(opened.task(i).batches(0, 10)[1][:, 0]).tolist() for i in range(5)] == wanted
    assert [np.unique(opened.task(i).batches(0, 10)[1][:, 1]).tolist() for i in range(5)] != wanted


def test_stacked_and_alone_and_resumed_agree_bit_for_bit() -> None:
    tables = finish(learner("cbp:rate=0.01", (0, 1, 2), SMALL))
    assert np.array_equal(finish(learner("cbp:rate=0.01", (2,), SMALL))[0], tables[2], equal_nan=True)
    made, again = (learner("cbp:rate=0.01", (0, 1, 2), SMALL) for _ in range(2))
    made.piece = again.piece = 4
    for _ in range(3):
        made.advance()
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert (again.task, again.step) == (1, 4)
    whole = learner("cbp:rate=0.01", (0, 1, 2), SMALL)
    whole.piece = 4
    assert np.array_equal(finish(again), finish(whole), equal_nan=True)
    assert np.array_equal(finish(again), tables, equal_nan=True)


@needs_mnist
def test_permuted_mnist_is_mnist_under_avalanches_permutations() -> None:
    text = "avalanche:PermutedMNIST:tasks=2,examples=32,architecture=cnn"
    opened = source(text, (5,))
    x, y = opened.task(1).batches(0, 2)
    assert x.shape == (2, 1, 16, 1, 28, 28)
    rng = np.random.RandomState(5)
    pixels = [rng.permutation(784) for _ in range(2)][1]
    data = load_mnist("MNIST")
    published = {row.tobytes(): i for i, row in enumerate(data.train_images)}
    unpermuted = np.empty((32, 784), np.uint8)
    unpermuted[:, pixels] = np.round((x.reshape(-1, 784).numpy() * 0.3081 + 0.1307) * 255)
    found = [published[row.tobytes()] for row in unpermuted]
    assert np.array_equal(data.train_labels[found], y.flatten())
    assert not list(cache_folder().glob("MNIST/source/MNIST/raw/*ubyte"))  # unpacked, and put away


@needs_mnist
def test_split_mnist_from_the_published_files() -> None:
    opened = source("avalanche:SplitMNIST:examples=320", (1,))
    torch.manual_seed(1)  # as Avalanche orders classes
    order = torch.randperm(10).tolist()
    for i in range(5):
        assert np.unique(opened.task(i).batches(0, 20)[1]).tolist() == sorted(order[2 * i : 2 * i + 2])
    x, _ = opened.task(0).probe()
    assert x.shape == (1, 320, 784)
    assert float(x.min()) == pytest.approx(-0.1307 / 0.3081, rel=1e-4)


def test_run_records_scores_and_extends_a_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text((REPOSITORY / "tests/support/digits_benchmarks.py").read_text())
    runs, text = tmp_path / "runs", f"avalanche:{file}:permuted_digits:examples=96"
    command = ["run", "--method", "none", "--no-references", "--stream", text, "--json"]
    command += ["--runs", str(runs), "--jobs", "1", "--device", "cpu"]
    assert main([*command, "--seeds", "1"]) == 0
    (scored,) = json.loads(capsys.readouterr().out)["streams"]
    assert [row["method"] for row in scored["methods"]] == ["none"]
    before = {path: path.read_bytes() for path in runs.rglob("seed-000.*")}
    assert len(before) == 2
    with no_workers():
        assert main([*command, "--seeds", "2"]) == 0
    assert all(path.read_bytes() == data for path, data in before.items())
    assert len(list(runs.rglob("seed-001.csv"))) == 1
    capsys.readouterr()
    file.write_text(file.read_text() + "\n# changed\n")
    assert main([*command, "--seeds", "2"]) == 2
    assert "stream.digest differ" in capsys.readouterr().err


def test_names_settings_and_folders() -> None:
    chosen = choose_stream("avalanche:PermutedMNIST:n_experiences=20,epochs=2")
    assert chosen.make().tasks == 20
    assert chosen.label == "avalanche:PermutedMNIST:epochs=2,tasks=20"
    assert choose_stream(chosen.label).settings == chosen.settings
    assert stream_folder(chosen) == "avalanche.PermutedMNIST-v1_epochs=2_tasks=20"
    assert (
        stream_folder(choose_stream(PERMUTED))
        == "avalanche.tests.support.digits_benchmarks.permuted_digits-v1"
    )
    config = configuration(choose_stream(PERMUTED), choose_method("l2"))
    assert len(str(config.stream.digest)) == 64
    assert not configuration(choose_stream("avalanche:SplitMNIST"), choose_method("l2")).stream.digest
    for name, facts in BENCHMARKS.items():
        stream = supervised(f"avalanche:{name}")
        assert stream.network.outputs == facts.classes
        assert stream.info.name == f"avalanche:{name}"
        assert callable(Benchmark(name).function)
    assert create_stream("avalanche:SplitCIFAR10:architecture=cnn").network.inputs == (3, 32, 32)


def failing(seed: int) -> Any:
    raise OSError("no\nsuch host")


def no_tensors() -> Any:
    """A benchmark whose experiences hold something else."""
    experience = types.SimpleNamespace(dataset=[("text", 0)], current_experience=0)
    return types.SimpleNamespace(train_stream=[experience] * 2, test_stream=[])


def test_unsupported_benchmarks_give_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def line(name: str) -> str:
        return message(lambda: supervised(f"avalanche:{name}").open((0,), CPU, torch.float32).task(0))

    assert 'did you mean "SplitMNIST"' in line("SplitMnist")
    assert 'no function "permuted": did you mean "permuted_digits"' in line(f"{MODULE}:permuted")
    assert "cannot import nowhere" in line("nowhere:f")
    assert "cannot be made: OSError: no such host" in line(f"{__name__}:failing")
    assert "cannot be made" in line(f"{MODULE}:split_digits:tasks=3")  # 10 classes in 3
    assert 'unknown architecture "mpl"' in line("SplitMNIST:architecture=mpl")
    assert "examples must be at least 16" in line("SplitMNIST:examples=8")
    assert "do not fit" in line(f"{MODULE}:permuted_digits:architecture=cnn")
    assert "has no attribute" in line(f"{__name__}:no_tensors")
    empty_folders(tmp_path, monkeypatch)
    assert "MNIST is not here and could not be downloaded" in line("SplitMNIST")
    monkeypatch.setattr("torchvision.datasets.CIFAR10.url", "http://127.0.0.1:9/cifar.tar.gz")
    found = line("SplitCIFAR10")
    assert "avalanche:SplitCIFAR10 cannot be made: URLError" in found
    assert "its data belongs in" in found
    assert "avalanche:SplitMNIST" in message(lambda: choose_stream("split-mnist"))
