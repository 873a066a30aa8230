"""Worker processes for slow work in independent parts: reading tables, bootstraps, figures."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from plasticity_bench.errors import RunFailed
from plasticity_bench.processes.main_module import hidden_main

Argument = TypeVar("Argument")
Returned = TypeVar("Returned")


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


#: Fewer parts than this are finished before the processes have started.
MIN_PARTS = 32


class Workers:
    """``count`` processes, started for the first work of at least ``least`` parts.

    Before that, and if ``count`` is 1, the work is done in this process. Results come in order and do not
    depend on the count. An exception in a worker is raised here. If it is safe, the processes are forked, so
    that they share what this one has imported; else they are spawned.
    """

    def __init__(self, count: int, least: int = MIN_PARTS) -> None:
        self.count, self.least = count, least
        self._pool: ProcessPoolExecutor | None = None
        self._begun = self._forks = False

    def map(self, function: Callable[[Argument], Returned], items: Iterable[Argument]) -> Iterator[Returned]:
        """``function`` of every item, in order. Both are pickled if a process does the work.

        Raises RunFailed if a process was killed.
        """
        parts = list(items)
        if self.count == 1 or (not self._begun and len(parts) < self.least):
            return map(function, parts)
        with one_thread_each():
            if self._pool is None:
                self._begun, self._forks = True, may_fork()
                context = multiprocessing.get_context("fork" if self._forks else "spawn")
                self._pool = ProcessPoolExecutor(self.count, context, _start, (os.getpid(),))
            with _broken_pool_is_run_failed(), hidden_main():
                results = self._pool.map(function, parts)
            return _checked(results)

    def renew(self) -> None:
        """Ends forked processes, so that the next ones share what this one has imported since.

        Call it once all results are taken. Spawned processes stay.
        """
        if self._pool is not None and self._forks:
            self._pool.shutdown()
            self._pool = None
            # Python reports a thread as ended a moment before the system does.
            deadline = time.monotonic() + 1
            while not may_fork() and threading.active_count() == 1 and time.monotonic() < deadline:
                time.sleep(0.001)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def may_fork() -> bool:
    """Whether a fork is safe: on Linux, if this process has one thread, native threads included.

    A fork copies the locks that other threads hold, which nobody then releases. On other systems their own
    libraries may not survive a fork.
    """
    try:
        return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def exit_with_parent(parent: int) -> None:
    """Ends this process within a fraction of a second after its parent process, in a background thread."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start(parent: int) -> None:
    exit_with_parent(parent)
    # A terminal sends Ctrl-C to all processes; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A forked process inherits the parent's handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _checked(results: Iterator[Returned]) -> Iterator[Returned]:
    """The same results. Raises RunFailed if a process was killed."""
    with _broken_pool_is_run_failed():
        yield from results


@contextmanager
def _broken_pool_is_run_failed() -> Iterator[None]:
    """Turns the pool's error about a killed process into RunFailed."""
    try:
        yield
    except BrokenProcessPool as error:
        raise RunFailed("a worker process was killed (out of memory?)") from error


@contextmanager
def one_thread_each() -> Iterator[None]:
    """A context in which numerical libraries use one thread per process.

    It holds for processes started in it, and for this one if it imports numpy for the first time in it. On a
    busy machine, threads that wait for each other cost several times what they compute.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
