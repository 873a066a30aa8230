"""One writer at a time: locks as files, which a process that is killed holds no longer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from plasticity_bench.errors import InputError

#: Seconds that a lock is waited for: ``is_held`` takes it for a moment.
WAIT = 0.5


@contextmanager
def locked(folders: Sequence[Path]) -> Iterator[None]:
    """Holds the lock of every folder. Raises InputError where another process holds one."""
    _allow_open_files(len(folders))
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(hold_lock(folder / ".lock", folder, "choose another --runs folder"))
        yield


@contextmanager
def hold_lock(file: Path, what: Path, otherwise: str) -> Iterator[None]:
    """Holds the lock ``file``, which says who writes ``what``; ``otherwise``: what to do but wait.

    Raises InputError where another process holds it, or where it cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file, timeout=WAIT)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"{what} is being written by another process; wait for it, or {otherwise}") from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot lock {what}: {reason}; {otherwise}") from error
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
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
