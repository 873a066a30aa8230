"""The published files of MNIST and Fashion-MNIST: found, verified, and unpacked into arrays.

Avalanche's data set classes (torchvision underneath: mirrors, md5, idx format) read them, over verified
copies in the cache folder; the user's own files are only ever read. ``folder`` is everywhere the folder of
one data set in the cache, ``raw`` the folder of its .gz files that the user may have.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plasticity_bench.errors import InputError
from plasticity_bench.storage.files import write_bytes

#: Data set -> published file -> md5. Nothing else is accepted under these names.
FILES: Mapping[str, Mapping[str, str]] = {
    "MNIST": {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
}

#: What they unpack to, in the order in which the data set classes have it: array -> type.
ARRAYS = {"train_images": "uint8", "train_labels": "int64", "test_images": "uint8", "test_labels": "int64"}

#: Seconds without an answer after which a mirror counts as unreachable.
TIMEOUT = 20.0

#: What went wrong on the disk rather than on the way from a mirror.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def missing_files(dataset: str, raw: Path, folder: Path, copy: bool = False) -> list[str]:
    """The published files that are neither copied nor in ``raw``; with ``copy`` those in ``raw`` are copied.

    Raises InputError if a file in ``raw`` is damaged or not the published one.
    """
    own, missing = _own_raw(folder, dataset), []
    for name, md5 in FILES[dataset].items():
        if _is_published(own / name, md5):
            continue
        data = _take(raw / name, md5)
        if data is None:
            missing.append(name)
        elif copy:
            write_bytes(own / name, data)
    return missing


def unpack(dataset: str, raw: Path, folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a data set, by the names in ``ARRAYS``; files that are nowhere are downloaded.

    Raises InputError if that fails, whatever the libraries raise.
    """
    missing = missing_files(dataset, raw, folder, copy=True)
    if missing:
        say(f"{', '.join(missing)} not in {raw}: downloading")
    open_data_sets = _avalanche(dataset)
    try:
        return _through_avalanche(open_data_sets, dataset, folder)
    except Exception as error:  # urllib, http, gzip, torchvision and Avalanche raise whatever they like
        reason = _one_line(error)
        if not missing or (isinstance(error, OSError) and error.errno in DISK_ERRORS):
            raise InputError(
                f"cannot unpack {dataset} in {folder}: {reason}; free space or set PLASTICITY_BENCH_CACHE to "
                f"another folder; if that is not it, delete {folder} and run again"
            ) from error
        raise InputError(
            f"{dataset} is not here and could not be downloaded ({reason}); missing: {', '.join(missing)}, "
            f"looked in {raw}{'' if raw.is_dir() else ' (no such folder)'}; put the published files there or "
            "set PLASTICITY_BENCH_DATA to a folder that has them in torchvision's layout; "
            "the streams permuted-digits and bit-flip need no download"
        ) from error


def _avalanche(dataset: str) -> Callable[[str], tuple[Any, Any]]:
    """Avalanche's function from a folder to its training and test set."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            if dataset == "MNIST":
                from avalanche.benchmarks.datasets.external_datasets.mnist import get_mnist_dataset as found
            else:
                from avalanche.benchmarks.datasets.external_datasets.fmnist import get_fmnist_dataset as found
    except Exception as error:  # it writes ~/.avalanche and imports much of what is installed
        raise InputError(
            f"cannot import Avalanche to unpack {dataset}: {_one_line(error)}; it needs a writable home "
            "folder ($HOME) and a whole installation: pip install --upgrade avalanche-lib torchvision"
        ) from error
    return found


def _through_avalanche(
    open_data_sets: Callable[[str], tuple[Any, Any]], dataset: str, folder: Path
) -> dict[str, np.ndarray]:
    """The arrays from Avalanche's data sets over our copies, which download what is not there."""
    import socket

    unpacked = [_own_raw(folder, dataset) / name.removesuffix(".gz") for name in FILES[dataset]]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        for path in unpacked:  # torchvision trusts them unseen; a killed process may have left half of one
            path.unlink(missing_ok=True)
        with contextlib.redirect_stdout(sys.stderr):
            train, test = open_data_sets(str(folder / "source"))
        found = (train.data, train.targets, test.data, test.targets)
        return {
            key: np.ascontiguousarray(tensor.flatten(min(1, tensor.ndim - 1)).numpy(), dtype=dtype)
            for (key, dtype), tensor in zip(ARRAYS.items(), found, strict=True)
        }
    finally:
        socket.setdefaulttimeout(before)
        for path in unpacked:
            path.unlink(missing_ok=True)


def _take(path: Path, md5: str) -> bytes | None:
    """The bytes of a published file, None if there is none. Raises InputError if it is another."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5:
        raise InputError(
            f"{path} is damaged or not the published file ({len(data):,} bytes, md5 {found}, not "
            f"{md5}); copy it there again, or move it away to have it downloaded"
        )
    return data


def _is_published(path: Path, md5: str) -> bool:
    """Whether our own copy is whole; one that is not will be replaced."""
    try:
        return _take(path, md5) is not None
    except InputError:
        return False


def _own_raw(folder: Path, dataset: str) -> Path:
    return folder / "source" / dataset / "raw"


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
