"""Worker processes for what takes long and falls into parts: reading tables, bootstraps, figures."""

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

Given = TypeVar("Given")
Found = TypeVar("Found")


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


#: Fewer parts than this are done before the processes have started.
LEAST = 32


class Workers:
    """``count`` processes, started at the first work of at least ``least`` parts; until then, and with one,
    all is done here.

    Results come in order, and are the same for any count. What a worker raises is raised here. Where it is
    safe, processes are forked and know what this one has imported; else they are spawned.
    """

    def __init__(self, count: int, least: int = LEAST) -> None:
        self.count, self.least = count, least
        self._pool: ProcessPoolExecutor | None = None
        self._begun = self._forks = False

    def map(self, function: Callable[[Given], Found], items: Iterable[Given]) -> Iterator[Found]:
        """``function`` of every item; both travel to the processes."""
        parts = list(items)
        if self.count == 1 or (not self._begun and len(parts) < self.least):
            return map(function, parts)
        with one_thread_each():
            if self._pool is None:
                self._begun, self._forks = True, may_fork()
                context = multiprocessing.get_context("fork" if self._forks else "spawn")
                self._pool = ProcessPoolExecutor(self.count, context, _start, (os.getpid(),))
            with _told():
                results = self._pool.map(function, parts)
            return _told_of(results)

    def renew(self) -> None:
        """Once all results are taken: ends forked processes, so that the next to start know what this one has
        imported since. Spawned ones stay."""
        if self._pool is not None and self._forks:
            self._pool.shutdown()
            self._pool = None
            # Python takes a thread for ended a moment before the system does.
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
    """Whether this process has one thread, native ones counted, so that a copy of it holds no lock for ever.
    Asked on Linux only: elsewhere the system's own libraries may not survive a fork."""
    try:
        return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def live_with(parent: int) -> None:
    """Ends this process soon after the one that started it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start(parent: int) -> None:
    live_with(parent)
    # A terminal sends Ctrl-C to all; the process that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A forked process has what this one had asked for.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _told_of(results: Iterator[Found]) -> Iterator[Found]:
    with _told():
        yield from results


@contextmanager
def _told() -> Iterator[None]:
    """Of a process that was killed: while work is handed over, or while results are taken."""
    try:
        yield
    except BrokenProcessPool as error:
        raise RunFailed("a worker process was killed (out of memory?)") from error


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started within compute on one thread, and this one where numpy is imported within for the
    first time: on a busy machine threads that wait for each other cost several times what they compute."""
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
