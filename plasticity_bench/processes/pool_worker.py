"""What a worker process of a pool does, and how it ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

from plasticity_bench.errors import CannotWrite, InputError, OutOfMemory, RunFailed
from plasticity_bench.processes.signals import STOP_SIGNALS


class Work(Protocol):
    """What the workers do with an item. Defined in a module, because it is pickled by its name."""

    def __call__(
        self, item: Any, device: str, report: Callable[[float], None], should_stop: Callable[[], bool], /
    ) -> bool:
        """Processes ``item``; calls ``report`` with the share done, from 0 to 1.

        Returns False if it saved and stopped early because ``should_stop()``. InputError and RunFailed are
        passed on to the pool.
        """


def serve(connection: Connection, parent: int, device: str, start: Callable[[int], None], work: Work) -> None:
    """The main function of a worker: calls ``start``, then processes items from the pipe.

    Ends when it receives None, or when the pipe is closed.
    """

    def report(share: float) -> None:
        try:
            connection.send(("share", share))
        except OSError:
            os._exit(1)  # the pool's process is gone

    for number in STOP_SIGNALS:  # on systems that cannot block them
        signal.signal(number, signal.SIG_IGN)
    try:
        start(parent)
        connection.send(("ready", None))
        while (item := connection.recv()) is not None:
            try:
                # Any message that arrives during the work is the request to stop.
                done = work(item, device, report, connection.poll)
            except (InputError, RunFailed) as error:
                # Subclasses may not be picklable.
                kinds = (CannotWrite, OutOfMemory, InputError, RunFailed)
                kind = next(kind for kind in kinds if isinstance(error, kind))
                connection.send(("failed", (kind, error.lines)))
            else:
                connection.send(("done", done))
    except (EOFError, ConnectionError):
        return  # the pool is closed
    except BaseException as error:
        connection.send(("failed", (RunFailed, [f"{type(error).__name__}: {error}"])))


def exit_reason(code: int | None) -> str:
    """``was killed by signal 11 (SIGSEGV)``, from a process's exit code."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    if -code == getattr(signal, "SIGKILL", 9):
        return "was killed by signal 9, often out of memory"
    name = next((known.name for known in signal.Signals if known == -code), "of no name")
    return f"was killed by signal {-code} ({name})"
