"""Atomic writes: a file is either the old one or the new one, whatever is killed and when."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from plasticity_bench.errors import CannotWrite


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes through a temporary file beside ``path`` and renames it into place.

    Raises CannotWrite, with ``path`` untouched, where the disk is full or the folder is not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        refused = _system_error(error)
        if refused is None:
            raise
        raise CannotWrite(
            f"cannot write {path}: {refused.strerror or refused}; what was recorded before is untouched: "
            "free space or choose another folder, then run the same command again"
        ) from error


def remove_leftovers(folder: Path, writer: int | None = None) -> None:
    """Removes temporary files of writers that were killed: of all, or of the process ``writer``. Only for who
    holds the folder's lock."""
    for path in folder.glob(f".*.{writer or '*'}.tmp"):
        with suppress(OSError):
            path.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """``write_atomic`` for bytes at hand."""
    write_atomic(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> None:
    """``write_atomic`` for text, as UTF-8 with the line ends as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as indented JSON with sorted keys, so that equal values are equal files."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def _system_error(error: BaseException) -> OSError | None:
    """What the system refused, also where torch's writer raised its own error about it (a full disk)."""
    cause: BaseException | None = error if isinstance(error, Exception) else None
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause


def sha256(data: bytes) -> str:
    """The hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()
