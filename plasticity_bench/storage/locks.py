"""One writer at a time: locked files. The lock of a process that is killed is released."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from plasticity_bench.errors import InputError

#: Seconds to wait for a lock, because ``is_held`` takes it for a moment.
WAIT = 0.5


@contextmanager
def locked(folders: Sequence[Path]) -> Iterator[None]:
    """A context that holds the locks of all folders. Raises InputError if another process holds one."""
    _allow_open_files(len(folders))
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(hold_lock(folder / ".lock", folder, "choose another --runs folder"))
        yield


@contextmanager
def hold_lock(file: Path, what: Path, otherwise: str) -> Iterator[None]:
    """A context that holds a lock.

    Args:
        file: The lock file.
        what: The file or folder that it protects, for the message.
        otherwise: What the user can do instead of waiting, for the message.

    Raises:
        InputError: Another process holds the lock, or it cannot be made.
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
    """Whether another process holds the lock of the cell in ``folder``; False if the system has no locks."""
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
    """Raises this process's limit of open files if needed: every lock is an open file, and 1024 is a common
    limit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + 256  # what a process needs apart from the locks
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
