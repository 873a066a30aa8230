"""The MNIST loader: against torchvision and a plain idx parse, on a small data set, and on damaged caches."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plasticity_bench.tasks import mnist_data, mnist_files
from tests.support.mnist_small import SETS, Publish, check_small, empty_folders, message, truncate
from tests.support.paths import SHARED_DATA


def genuine_folder() -> Path:
    folder = Path(os.environ.get("PLASTICITY_BENCH_DATA") or SHARED_DATA)
    for dataset in SETS:
        for name in mnist_files.FILES[dataset]:
            if not (folder / dataset / "raw" / name).is_file():
                pytest.skip(f"the published {name} of {dataset} is not in {folder} (PLASTICITY_BENCH_DATA)")
    return folder


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    return empty_folders(tmp_path, monkeypatch)


@pytest.fixture
def publish(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Publish:
    return Publish(folders[0], monkeypatch)


def parse_idx(content: bytes) -> np.ndarray:
    """An idx file of bytes, read by simple code."""
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


# ---- the genuine files


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    source, cache = genuine_folder(), tmp_path_factory.mktemp("genuine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLASTICITY_BENCH_CACHE", str(cache))
        for dataset in SETS:
            mnist_data.load_mnist(dataset, root=source)
    return source, cache


@pytest.mark.parametrize("dataset", SETS)
def test_published_files(
    dataset: str, genuine: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision.datasets

    source, cache = genuine
    monkeypatch.setenv("PLASTICITY_BENCH_CACHE", str(cache))
    data = mnist_data.load_mnist(dataset)
    assert data.train_images.shape == (60000, 784)
    assert data.test_images.shape == (10000, 784)
    root = tmp_path / "torchvision"
    (root / dataset / "raw").mkdir(parents=True)
    for name in mnist_files.FILES[dataset]:
        (root / dataset / "raw" / name).symlink_to(source / dataset / "raw" / name)
    for part in ("train", "test"):
        images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
        assert isinstance(images, np.memmap)
        assert not images.flags.writeable
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        prefix = "train" if part == "train" else "t10k"
        raw = source / dataset / "raw"
        plain = parse_idx(gzip.decompress((raw / f"{prefix}-images-idx3-ubyte.gz").read_bytes()))
        np.testing.assert_array_equal(images, plain.reshape(-1, 784))
        plain = parse_idx(gzip.decompress((raw / f"{prefix}-labels-idx1-ubyte.gz").read_bytes()))
        np.testing.assert_array_equal(labels, plain)
        theirs = getattr(torchvision.datasets, dataset)(root, train=part == "train", download=True)
        np.testing.assert_array_equal(images, theirs.data.numpy().reshape(-1, 784))
        np.testing.assert_array_equal(labels, theirs.targets.numpy())
    assert mnist_data.find(dataset).state == "cached"


def test_known_values(genuine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Published facts: the first labels, the class counts, the mean and the deviation."""
    monkeypatch.setenv("PLASTICITY_BENCH_CACHE", str(genuine[1]))
    mnist, fashion = mnist_data.load_mnist("MNIST"), mnist_data.load_mnist("FashionMNIST")
    assert mnist.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.train_labels).tolist() == counts
    assert np.bincount(fashion.train_labels).tolist() == [6000] * 10
    assert mnist.train_images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert mnist.train_images.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    assert fashion.train_images.mean() / 255 == pytest.approx(0.2860, abs=5e-5)


def test_later_loads_are_light(genuine: tuple[Path, Path]) -> None:
    code = (
        "import sys, time; from plasticity_bench.tasks import mnist_data\n"
        "start = time.perf_counter()\n"
        "data = mnist_data.load_mnist('MNIST')\n"
        "spent = time.perf_counter() - start\n"
        "print(int(data.train_labels[0]), spent, [m for m in ('torch', 'torchvision', 'avalanche') "
        "if m in sys.modules])"
    )
    environment = {
        **os.environ,
        "PLASTICITY_BENCH_CACHE": str(genuine[1]),
        "PLASTICITY_BENCH_DATA": "/nowhere",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    label, spent, modules = done.stdout.strip().split(" ", 2)
    assert (label, modules) == ("5", "[]")
    assert float(spent) < 0.25  # 0.002 s on an idle machine
    assert done.stderr == ""


# ---- small files


@pytest.mark.parametrize("dataset", SETS)
def test_small_files(
    dataset: str, publish: Publish, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = publish(dataset)
    before = {path: path.stat().st_mtime_ns for path in folders[0].rglob("*")}
    assert mnist_data.find(dataset).state == "packed"
    check_small(mnist_data.load_mnist(dataset), arrays)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"Unpacking {dataset} once into {folders[1] / dataset}\n"
    assert {path: path.stat().st_mtime_ns for path in folders[0].rglob("*")} == before  # only ever read
    check_small(mnist_data.load_mnist(dataset), arrays)
    assert capsys.readouterr().err == ""
    assert mnist_data.find(dataset).state == "cached"
    left = {path.name for path in folders[1].rglob("*") if path.is_file()} - {".lock", "index.json"}
    assert left == {f"{field.name}.npy" for field in fields(mnist_data.MnistData)} | set(arrays)


def test_root_takes_the_place_of_the_data_folder(publish: Publish, tmp_path: Path) -> None:
    arrays = publish(into=tmp_path / "elsewhere" / "MNIST" / "raw")
    assert mnist_data.find("MNIST").state == "missing"
    check_small(mnist_data.load_mnist(root=tmp_path / "elsewhere"), arrays)


def test_processes_at_once_unpack_once(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = publish()
    mnist_files._avalanche("MNIST")  # imported before the fork
    log, original = tmp_path / "log", mnist_data._materialise
    start = multiprocessing.get_context("fork").Barrier(3)

    def slow(*args: Any) -> None:
        with open(log, "a") as file:
            file.write("unpacked\n")
        time.sleep(0.5)
        original(*args)

    def work() -> None:
        start.wait(20)
        check_small(mnist_data.load_mnist(), arrays)

    monkeypatch.setattr(mnist_data, "_materialise", slow)
    workers = [multiprocessing.get_context("fork").Process(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert log.read_text() == "unpacked\n"


# ---- a damaged cache


CACHE_DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(truncate(path.read_bytes())),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "garbage of the same size": lambda path: path.write_bytes(b"x" * path.stat().st_size),
    "another shape": lambda path: path.write_bytes(path.read_bytes().replace(b"(30, 784)", b"(784, 30)")),
    "too long": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "one flipped bit": lambda path: path.write_bytes(
        path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])
    ),
    "another type": lambda path: path.write_bytes(path.read_bytes().replace(b"'|u1'", b"'|i1'")),
}


@pytest.mark.parametrize("damage", CACHE_DAMAGES)
def test_damaged_cache_is_made_again(
    damage: str, publish: Publish, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = publish()
    mnist_data.load_mnist()
    path = folders[1] / "MNIST" / "train_images.npy"
    before = path.read_bytes()
    CACHE_DAMAGES[damage](path)
    assert not path.exists() or path.read_bytes() != before
    capsys.readouterr()
    check_small(mnist_data.load_mnist(), arrays)
    message = capsys.readouterr().err
    assert str(path) in message
    assert "making it again" in message
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": 1}', '{"format": 1, "arrays": {"a": 3}}']
)
def test_damaged_index(text: str, publish: Publish, folders: tuple[Path, Path]) -> None:
    arrays = publish()
    mnist_data.load_mnist()
    (folders[1] / "MNIST" / "index.json").write_text(text)
    check_small(mnist_data.load_mnist(), arrays)
    assert json.loads((folders[1] / "MNIST" / "index.json").read_text())["format"] == mnist_data.FORMAT


def test_cache_of_another_format_is_made_again(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = publish()
    mnist_data.load_mnist()
    monkeypatch.setattr(mnist_data, "FORMAT", mnist_data.FORMAT + 1)
    assert mnist_data.find("MNIST").state == "packed"
    check_small(mnist_data.load_mnist(), arrays)


def test_find_sees_a_changed_byte(publish: Publish, folders: tuple[Path, Path]) -> None:
    publish()
    mnist_data.load_mnist()
    path = folders[1] / "MNIST" / "test_images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = mnist_data.find("MNIST")
    assert found.state == "damaged"
    assert str(path) in found.problem
    assert "delete" in found.problem


def test_killed_while_writing(publish: Publish, folders: tuple[Path, Path]) -> None:
    """Leftovers of a killed process (a temporary file, arrays without an index) are removed."""
    arrays = publish()
    folder = folders[1] / "MNIST"
    folder.mkdir(parents=True)
    (folder / ".train_images.npy.12345.tmp").write_bytes(b"half")
    (folder / "train_images.npy").write_bytes(b"old")
    check_small(mnist_data.load_mnist(), arrays)
    assert not list(folder.glob(".*.tmp"))


# ---- other input


def test_cache_folder_that_cannot_be_made(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PLASTICITY_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    said = message(mnist_data.load_mnist)
    assert str(tmp_path / "file" / "cache") in said
    assert "PLASTICITY_BENCH_CACHE" in said


def test_unknown_name() -> None:
    assert 'did you mean "FashionMNIST"?' in message(lambda: mnist_data.load_mnist("FashonMNIST"))
    assert 'did you mean "MNIST"?' in message(lambda: mnist_data.find("MINST"))


def test_default_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    monkeypatch.setenv("PLASTICITY_BENCH_DATA", " ")
    monkeypatch.delenv("PLASTICITY_BENCH_CACHE")
    user = Path(platformdirs.user_cache_dir("plasticity_bench"))
    assert (mnist_data.cache_folder(), mnist_data.data_folder()) == (user, user / "data")
    monkeypatch.setenv("PLASTICITY_BENCH_DATA", "~/mnist")
    assert mnist_data.data_folder() == Path.home() / "mnist"
