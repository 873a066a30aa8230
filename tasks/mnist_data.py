"""MNIST and Fashion-MNIST as memory-mapped arrays.

The published .gz files are unpacked (``mnist_files``) exactly once; they leave four .npy files in the cache
folder. Every later load maps those and imports neither Avalanche nor torch.

    $PLASTICITY_BENCH_DATA/<dataset>/raw/*.gz             what the user has; only ever read
    $PLASTICITY_BENCH_CACHE/<dataset>/*.npy               the arrays
                                     /index.json          size, shape, sha256 of each; written last
                                     /source/<dataset>/raw/*.gz   verified copies, or downloads
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.storage.files import remove_leftovers, sha256, write_bytes, write_json
from plasticity_bench.tasks.mnist_files import ARRAYS, FILES, missing_files, say, unpack

#: Raised when the cached files change their meaning; an older cache is then made again.
FORMAT = 1


@dataclass(frozen=True, eq=False)
class MnistData:
    """Read-only arrays, mapped from disk: nothing is in memory until it is read."""

    train_images: np.ndarray
    """(60000, 784) uint8, rows of pixels from the upper left"""
    train_labels: np.ndarray
    """(60000,) int64, 0 to 9"""
    test_images: np.ndarray
    """(10000, 784) uint8"""
    test_labels: np.ndarray
    """(10000,) int64"""


@dataclass(frozen=True)
class DataStatus:
    """Folder and state of a data set: "cached" (ready), "packed" (.gz found), "missing" or "damaged"."""

    state: str
    where: Path
    problem: str = ""
    """for "missing" and "damaged": the reason, with the names of the files"""


class _Damaged(Exception):
    """A file in the cache is not what was written there."""


def data_folder() -> Path:
    """The folder searched for the published files, in torchvision's layout: $PLASTICITY_BENCH_DATA."""
    return _folder("PLASTICITY_BENCH_DATA") or _default_folder() / "data"


def cache_folder() -> Path:
    """The writable folder the arrays are kept in: $PLASTICITY_BENCH_CACHE."""
    return _folder("PLASTICITY_BENCH_CACHE") or _default_folder()


def load_mnist(dataset: str = "MNIST", root: Path | None = None) -> MnistData:
    """The data set ``"MNIST"`` or ``"FashionMNIST"``; unpacked, or downloaded, at the first call.

    ``root`` takes the place of ``data_folder()``. Raises InputError if the data is not there and cannot be
    downloaded, if a file is damaged or not the published one, or if the cache folder is not writable.
    """
    _check_name(dataset)
    folder = cache_folder() / dataset
    with contextlib.suppress(_Damaged):  # reported once the lock is held
        if cached := _read_cache(folder):
            return cached
    with _lock(folder, dataset):
        try:
            if cached := _read_cache(folder):
                return cached  # made by the process that held the lock
        except _Damaged as problem:
            say(f"{problem}; making it again")
        _materialise(dataset, (root or data_folder()) / dataset / "raw", folder)
        try:
            made = _read_cache(folder)
        except _Damaged as problem:
            raise InputError(f"{problem}, just after it was written: is the disk sound?") from None
        assert made is not None
        return made


def find(dataset: str, root: Path | None = None) -> DataStatus:
    """Where ``load_mnist`` would take the data from. Hashes whatever it finds; writes and downloads
    nothing."""
    _check_name(dataset)
    folder = cache_folder() / dataset
    try:
        if _read_cache(folder):
            return DataStatus("cached", folder)
    except _Damaged as problem:
        return DataStatus("damaged", folder, f"{problem}; delete {folder}, the next run makes it again")
    except InputError as problem:
        return DataStatus("damaged", folder, str(problem))
    raw = (root or data_folder()) / dataset / "raw"
    try:
        missing = missing_files(dataset, raw, folder)
    except InputError as problem:
        return DataStatus("damaged", raw, str(problem))
    return DataStatus("missing", raw, ", ".join(missing)) if missing else DataStatus("packed", raw)


def _materialise(dataset: str, raw: Path, folder: Path) -> None:
    """Makes the arrays and their index; the caller holds the lock."""
    say(f"Unpacking {dataset} once into {folder}")
    remove_leftovers(folder)
    arrays = unpack(dataset, raw, folder)
    index: dict[str, Any] = {"format": FORMAT, "arrays": {}}
    for key, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        content = buffer.getvalue()
        write_bytes(folder / f"{key}.npy", content)
        index["arrays"][key] = {"shape": array.shape, "bytes": len(content), "sha256": sha256(content)}
    write_json(folder / "index.json", index)


def _read_cache(folder: Path) -> MnistData | None:
    """The arrays, None if they were never made. Raises _Damaged. Everything is hashed: 0.1 s."""
    path = folder / "index.json"
    try:
        index = json.loads(path.read_text())
        if index["format"] != FORMAT:
            return None
        entries = {
            key: (tuple(entry["shape"]), entry["bytes"], entry["sha256"])
            for key in ARRAYS
            for entry in [index["arrays"][key]]
        }
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _Damaged(f"{path} is damaged") from error
    arrays = {}
    for key, (shape, size, digest) in entries.items():
        path = folder / f"{key}.npy"
        try:
            found = path.stat().st_size
            if found != size:
                raise _Damaged(f"{path} is damaged ({found:,} bytes, {size:,} were written)")
            array = np.lib.format.open_memmap(path, mode="r")
            if sha256(path.read_bytes()) != digest:
                raise _Damaged(f"{path} is damaged (its checksum differs from the one recorded)")
        except FileNotFoundError:
            raise _Damaged(f"{path} is gone") from None
        except ValueError as error:
            raise _Damaged(f"{path} is damaged (not an .npy file)") from error
        except OSError as error:
            raise _unreadable(path, error) from error
        if array.shape != shape or array.dtype != ARRAYS[key]:
            raise _Damaged(
                f"{path} is damaged ({array.dtype} {array.shape} instead of {ARRAYS[key]} {shape})"
            )
        arrays[key] = array
    return MnistData(**arrays)


def _unreadable(path: Path, error: OSError) -> InputError:
    reason = error.strerror or error
    return InputError(f"cannot read {path}: {reason}; set PLASTICITY_BENCH_CACHE to a folder you can use")


@contextlib.contextmanager
def _lock(folder: Path, dataset: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            say(f"another process is unpacking {dataset}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise InputError(
            f"cannot write in {folder}: {error.strerror or error}; set "
            "PLASTICITY_BENCH_CACHE to a writable folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _check_name(dataset: str) -> None:
    if dataset not in FILES:
        raise InputError(f'no data set "{dataset}"; {did_you_mean(dataset, FILES)}')


def _folder(variable: str) -> Path | None:
    value = os.environ.get(variable, "").strip()
    return Path(value).expanduser() if value else None


def _default_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("plasticity_bench"))
