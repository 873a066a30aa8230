"""One writer per cell: a lock in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from plasticity_bench.errors import InputError
from plasticity_bench.records import Cell


@contextmanager
def locked(cells: Sequence[Cell]) -> Iterator[None]:
    """Holds every cell's lock. Raises InputError where another process holds one."""
    from filelock import FileLock, Timeout

    with ExitStack() as stack:
        for cell in cells:
            lock = FileLock(cell.path / ".lock", timeout=0)
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
