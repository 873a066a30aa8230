"""What a worker process of a pool does, and how it ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

from plasticity_bench.errors import CannotWrite, InputError, OutOfMemory, RunFailed
from plasticity_bench.processes.signals import SIGNALS


class Work(Protocol):
    """What the workers do; defined in a module, as it travels to them by its name."""

    def __call__(
        self, item: Any, device: str, report: Callable[[float], None], asked: Callable[[], bool], /
    ) -> bool:
        """Does ``item``; ``report`` takes the share done. Returns False where it saved and left early because
        ``asked()``. InputError and RunFailed are told to the pool as they are."""


def serve(connection: Connection, parent: int, device: str, start: Callable[[int], None], work: Work) -> None:
    """A worker's life: ``start``, then item after item out of the pipe, until None or its end."""

    def report(share: float) -> None:
        try:
            connection.send(("share", share))
        except OSError:
            os._exit(1)  # nobody is there any more

    for number in SIGNALS:  # where they could not be held back
        signal.signal(number, signal.SIG_IGN)
    try:
        start(parent)
        connection.send(("ready", None))
        while (item := connection.recv()) is not None:
            try:
                # Whatever comes while it works is the word to leave.
                done = work(item, device, report, connection.poll)
            except (InputError, RunFailed) as error:
                # Subclasses may not travel.
                kinds = (CannotWrite, OutOfMemory, InputError, RunFailed)
                kind = next(kind for kind in kinds if isinstance(error, kind))
                connection.send(("failed", (kind, error.lines)))
            else:
                connection.send(("done", done))
    except (EOFError, ConnectionError):
        return  # the pool is closed
    except BaseException as error:
        connection.send(("failed", (RunFailed, [f"{type(error).__name__}: {error}"])))


def how_it_ended(code: int | None) -> str:
    """``was killed by signal 11 (SIGSEGV)``, from a process's exit code."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    if -code == getattr(signal, "SIGKILL", 9):
        return "was killed by signal 9, often out of memory"
    name = next((known.name for known in signal.Signals if known == -code), "of no name")
    return f"was killed by signal {-code} ({name})"
