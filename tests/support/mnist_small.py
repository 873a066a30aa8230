"""A small data set in place of the published one, and empty data and cache folders."""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plasticity_bench.errors import InputError
from plasticity_bench.tasks import mnist_data, mnist_files

SETS = ("MNIST", "FashionMNIST")
IMAGES = "train-images-idx3-ubyte.gz"


def empty_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An empty data folder and an empty cache folder, and mirrors that refuse at once."""
    from torchvision.datasets import MNIST, FashionMNIST

    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("PLASTICITY_BENCH_DATA", str(data))
    monkeypatch.setenv("PLASTICITY_BENCH_CACHE", str(cache))
    for cls in (MNIST, FashionMNIST):
        monkeypatch.setattr(cls, "mirrors", ["http://127.0.0.1:9/"])
    return data, cache


def make_idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


class Publish:
    """Makes a small data set count as the published one, and writes its files into a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch

    def __call__(
        self,
        dataset: str = "MNIST",
        into: Path | None = None,
        damage: Callable[[str, bytes], bytes] | None = None,
    ) -> dict[str, np.ndarray]:
        import torchvision.datasets

        rng = np.random.default_rng(7)
        arrays = {
            "train-images-idx3-ubyte.gz": rng.integers(0, 256, (30, 28, 28), np.uint8),
            "train-labels-idx1-ubyte.gz": rng.integers(0, 10, 30, np.uint8),
            "t10k-images-idx3-ubyte.gz": rng.integers(0, 256, (12, 28, 28), np.uint8),
            "t10k-labels-idx1-ubyte.gz": rng.integers(0, 10, 12, np.uint8),
        }
        raw = into or self.folder / dataset / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        md5s = {}
        for name, array in arrays.items():
            content = gzip.compress(make_idx(array), mtime=0)
            content = damage(name, content) if damage else content
            (raw / name).write_bytes(content)
            md5s[name] = hashlib.md5(content).hexdigest()
        self.monkeypatch.setitem(mnist_files.FILES, dataset, md5s)
        self.monkeypatch.setattr(getattr(torchvision.datasets, dataset), "resources", list(md5s.items()))
        return arrays


def check_small(data: mnist_data.MnistData, arrays: dict[str, np.ndarray]) -> None:
    published = list(arrays.values())
    np.testing.assert_array_equal(data.train_images, published[0].reshape(30, 784))
    np.testing.assert_array_equal(data.train_labels, published[1])
    np.testing.assert_array_equal(data.test_images, published[2].reshape(12, 784))
    np.testing.assert_array_equal(data.test_labels, published[3])


def message(action: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)
