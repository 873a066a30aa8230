"""Atomic writes: a file is always either the old one or the new one, even if the process is killed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from plasticity_bench.errors import CannotWrite, InputError


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a temporary file next to ``path``, then renames it to ``path``.

    Args:
        path: The file. Its folder is made if it is missing.
        write: Writes the content to the open file that it is given.

    Raises:
        CannotWrite: The disk is full or the folder is not writable; ``path`` is unchanged.
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
        system_error = _system_error(error)
        if system_error is None:
            raise
        raise CannotWrite(
            f"cannot write {path}: {system_error.strerror or system_error}; what was recorded before is "
            "unchanged: free space or choose another folder, then run the same command again"
        ) from error


def remove_leftovers(folder: Path, writer: int | None = None) -> None:
    """Removes temporary files of processes that were killed. The caller must hold the folder's lock.

    ``writer``: number of the process; None: of all processes.
    """
    for path in folder.glob(f".*.{writer or '*'}.tmp"):
        with suppress(OSError):
            path.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """``write_atomic`` for bytes."""
    write_atomic(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> None:
    """``write_atomic`` for text, in UTF-8. Line ends are written as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as indented JSON with sorted keys, so that equal values give equal files."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def _system_error(error: BaseException) -> OSError | None:
    """The operating system's error, also if torch's writer raised another error because of it."""
    cause: BaseException | None = error if isinstance(error, Exception) else None
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause


def cannot_read(path: Path, error: OSError, gone: str) -> InputError:
    """The error to raise if a file cannot be read. Its advice destroys nothing: the content may be sound.

    Args:
        path: The file.
        error: What the system said.
        gone: The advice if there is no such file.
    """
    missing = isinstance(error, FileNotFoundError)
    advice = (
        gone if missing else "it may be sound: make it a file that you can read (its owner, rights, disk)"
    )
    return InputError(f"cannot read {path}: {error.strerror or error}; {advice}")


def sha256(data: bytes) -> str:
    """The hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()
