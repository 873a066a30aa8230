"""Replaces a submission's folder in one go: it is written as a draft, then moved into place.

A process that is killed leaves the old folder or the new one, never a mixture.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plasticity_bench.storage.locks import hold_lock


@contextmanager
def submission_lock(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing the submission in ``folder``.

    Raises:
        InputError: if another process is writing it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.parent / f".{folder.name}.lock"
    with hold_lock(file, folder, "choose another --out folder"):
        try:
            yield
        finally:
            # The folder of submissions should hold nothing but submissions. The lock is still held: a process
            # that has the file open notices that it was removed.
            with suppress(OSError):
                file.unlink()


@contextmanager
def draft_folder(folder: Path) -> Iterator[Path]:
    """A path for a draft of ``folder`` on the same disk. What is there at the end is removed."""
    place = folder.parent / f".{folder.name}.{os.getpid()}.tmp"
    try:
        place.mkdir(parents=True)
        yield place / folder.name
    finally:
        shutil.rmtree(place, ignore_errors=True)


def move_into_place(draft: Path, folder: Path) -> None:
    """Replaces ``folder`` by ``draft``.

    This takes two renames. If the process is killed between them, ``recover`` restores the old folder.
    """
    if folder.exists():
        os.replace(folder, _old(folder))
    os.replace(draft, folder)
    shutil.rmtree(_old(folder), ignore_errors=True)


def recover(folder: Path) -> None:
    """Undoes or completes a ``move_into_place`` that was killed."""
    if not _old(folder).exists():
        return
    with submission_lock(folder):
        if not _old(folder).exists():
            return
        if folder.exists():
            shutil.rmtree(_old(folder))
        else:
            os.replace(_old(folder), folder)


def _old(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"
