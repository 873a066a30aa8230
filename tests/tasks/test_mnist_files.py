"""The published MNIST files: from a folder, by download, damaged, missing, through Avalanche."""

from __future__ import annotations

import errno
import functools
import gzip
import http.server
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from plasticity_bench.tasks import mnist_data, mnist_files
from tests.support.mnist_small import IMAGES, Publish, check_small, empty_folders, make_idx, message, truncate


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    return empty_folders(tmp_path, monkeypatch)


@pytest.fixture
def publish(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Publish:
    return Publish(folders[0], monkeypatch)


def test_checksums_are_torchvisions() -> None:
    from torchvision.datasets import MNIST, FashionMNIST

    for cls in (MNIST, FashionMNIST):
        assert dict(cls.resources) == mnist_files.FILES[cls.__name__]


def test_other_files_under_the_name_are_refused(
    folders: tuple[Path, Path], publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Well-formed idx files that are not the published ones."""
    published = dict(mnist_files.FILES["MNIST"])
    publish()
    monkeypatch.setitem(mnist_files.FILES, "MNIST", published)
    said = message(mnist_data.load_mnist)
    assert str(folders[0] / "MNIST" / "raw" / IMAGES) in said
    assert "f68b3c2dcbeaaa9fbdd348bbdeb94873" in said


# ---- damaged and missing files


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": truncate,
    "garbage": lambda content: b"not a gzip file at all",
    "empty": lambda content: b"",
    "one bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [IMAGES, "t10k-labels-idx1-ubyte.gz"])
def test_damaged_file(damage: str, name: str, publish: Publish, folders: tuple[Path, Path]) -> None:
    publish()
    path = folders[0] / "MNIST" / "raw" / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    found = mnist_data.find("MNIST")
    assert found.state == "damaged"
    for said in (message(mnist_data.load_mnist), found.problem):
        assert str(path) in said
        assert "damaged" in said
        assert "copy it there again" in said
    assert not list(folders[1].rglob("*.npy"))


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_files_that_torchvision_cannot_read(
    damage: str, publish: Publish, folders: tuple[Path, Path]
) -> None:
    """Any error of the data set classes becomes one line. Checksums fit, so the classes read the files."""
    publish(damage=lambda name, content: DAMAGES[damage](content) if name == IMAGES else content)
    said = message(mnist_data.load_mnist)
    assert said.startswith(f"cannot unpack MNIST in {folders[1] / 'MNIST'}: ")
    assert not list(folders[1].rglob("*ubyte"))  # no half-unpacked file stays behind


@pytest.mark.parametrize(
    "content",
    [
        make_idx(np.zeros((30, 28, 28), np.uint8))[:-5],  # cut short
        make_idx(np.zeros((30, 28), np.uint8)),  # two dimensions
        b"\0\0\x0d\x03" + make_idx(np.zeros((30, 28, 28), np.uint8))[4:],  # says float32
        b"\0\0",
    ],
)
def test_idx_that_torchvision_cannot_read(content: bytes, publish: Publish) -> None:
    publish(damage=lambda name, good: gzip.compress(content) if name == IMAGES else good)
    assert message(mnist_data.load_mnist).startswith("cannot unpack MNIST in ")


def test_missing_and_offline(publish: Publish, folders: tuple[Path, Path]) -> None:
    publish()
    raw = folders[0] / "MNIST" / "raw"
    (raw / IMAGES).unlink()
    assert mnist_data.find("MNIST") == mnist_data.DataStatus("missing", raw, IMAGES)
    said = message(mnist_data.load_mnist)
    missing = re.search(r"; missing: (.*?), looked in ", said)
    assert missing is not None
    assert missing[1] == IMAGES  # the three others are there
    for part in (f"looked in {raw};", "PLASTICITY_BENCH_DATA", "permuted-digits", "bit-flip", "refused"):
        assert part in said


def test_no_such_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLASTICITY_BENCH_DATA", str(tmp_path / "typo"))
    said = message(mnist_data.load_mnist)
    assert f"looked in {tmp_path / 'typo' / 'MNIST' / 'raw'} (no such folder)" in said
    for name in mnist_files.FILES["MNIST"]:
        assert name in said


# ---- downloads


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served over HTTP on this machine, in place of torchvision's mirrors."""
    from torchvision.datasets import MNIST

    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_address[1]}/"])
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_download(publish: Publish, mirror: Path, folders: tuple[Path, Path]) -> None:
    arrays = publish(into=mirror)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(7)
    try:
        check_small(mnist_data.load_mnist(), arrays)
        assert socket.getdefaulttimeout() == 7
    finally:
        socket.setdefaulttimeout(before)
    assert list(folders[0].iterdir()) == []  # a download goes to the cache
    for path in mirror.iterdir():
        path.unlink()
    for path in (folders[1] / "MNIST").glob("*.npy"):
        path.unlink()
    check_small(mnist_data.load_mnist(), arrays)  # made again from what was downloaded


def test_download_of_a_damaged_file(publish: Publish, mirror: Path) -> None:
    publish(into=mirror)
    (mirror / IMAGES).write_bytes(b"<html>please log in to this network</html>")
    assert message(mnist_data.load_mnist).startswith("MNIST is not here and could not be downloaded")


def test_interrupted_download_is_taken_up_again(
    publish: Publish, mirror: Path, folders: tuple[Path, Path]
) -> None:
    arrays = publish(into=mirror)
    own = folders[1] / "MNIST" / "source" / "MNIST" / "raw"
    own.mkdir(parents=True)
    (own / IMAGES).write_bytes(truncate((mirror / IMAGES).read_bytes()))
    for name in arrays:  # torchvision would take these unseen
        (own / name.removesuffix(".gz")).write_bytes(make_idx(np.zeros((1, 28, 28), np.uint8)))
    check_small(mnist_data.load_mnist(), arrays)


# ---- other input


@pytest.mark.parametrize("missing", [False, True])
def test_full_disk(
    missing: bool, publish: Publish, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    if missing:
        (folders[0] / "MNIST" / "raw" / IMAGES).unlink()

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mnist_files, "_through_avalanche", full)
    said = message(mnist_data.load_mnist)
    assert "No space left on device" in said
    assert "free space" in said
    assert "downloaded" not in said


def test_standard_output_is_left_alone(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is for tables and JSON; output of libraries while unpacking goes to standard error."""
    publish()
    original = mnist_files._avalanche("MNIST")

    def talkative(root: str) -> object:
        print("Downloading")
        return original(root)

    monkeypatch.setattr(mnist_files, "_avalanche", lambda dataset: talkative)
    mnist_data.load_mnist()
    out, err = capsys.readouterr()
    assert out == ""
    assert "Downloading" in err


def test_avalanche_that_cannot_be_imported(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    monkeypatch.setitem(sys.modules, "avalanche.benchmarks.datasets.external_datasets.mnist", None)
    said = message(mnist_data.load_mnist)
    assert said.startswith("cannot import Avalanche to unpack MNIST: ")
    assert "$HOME" in said
