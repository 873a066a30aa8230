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

    _allow_open_files(len(cells))
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


def _allow_open_files(count: int) -> None:
    """So many more than a process needs anyway: a lock is an open file, and 1024 is a common limit."""
    try:
        import resource
    except ImportError:  # Windows, where there is no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
