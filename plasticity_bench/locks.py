"""One writer per cell: a lock in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from plasticity_bench.errors import InputError
from plasticity_bench.records import Cell

#: Seconds that a lock is waited for: ``held`` takes it for a moment.
WAIT = 0.5


@contextmanager
def locked(cells: Sequence[Cell]) -> Iterator[None]:
    """Holds every cell's lock. Raises InputError where another process holds one."""
    from filelock import FileLock, Timeout

    with ExitStack() as stack:
        for cell in cells:
            lock = FileLock(cell.path / ".lock", timeout=WAIT)
            try:
                stack.enter_context(lock)
            except Timeout:
                raise InputError(
                    f"{cell.path} is being written by another process; "
                    "wait for it, or choose another --runs folder"
                ) from None
            except (OSError, NotImplementedError) as error:
                reason = getattr(error, "strerror", None) or error
                raise InputError(
                    f"cannot lock {cell.path}: {reason}; choose another --runs folder"
                ) from error
        yield


def held(folder: Path) -> bool:
    """Whether another process holds the lock of the cell in ``folder``; False where there are no locks."""
    from filelock import FileLock, Timeout

    path = folder / ".lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
