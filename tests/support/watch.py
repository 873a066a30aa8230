"""Watches daemons: a test fails if its daemon ends or hangs, whatever the test is waiting for."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def watched(daemons: Mapping[str, subprocess.Popen[bytes]], folder: Path, seconds: float) -> Iterator[None]:
    """In its block, the test fails within a second if one of the ``daemons`` (by name) ends.

    It also fails after ``seconds``. The daemons' logs are ``<name>.out`` in ``folder``. Only for the main
    thread.
    """
    deadline = time.monotonic() + seconds

    def last_words(name: str) -> str:
        lines = (folder / f"{name}.out").read_text(errors="replace").splitlines()
        return "\n".join([f"{name} said last:", *lines[-15:]])

    def look(*_: object) -> None:
        for name, daemon in list(daemons.items()):
            if daemon.poll() is not None:
                pytest.fail(f"{name} ended with exit code {daemon.returncode}; {last_words(name)}")
        if time.monotonic() > deadline:
            pytest.fail("\n".join([f"not done after {seconds:.0f} s", *map(last_words, daemons)]))

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
