"""Runs commands in this process, without workers.

A worker imports torch, which takes longer than the training in small tests."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.processes.pool_worker import Work
from plasticity_bench.processes.signals import Interrupts
from plasticity_bench.running import launch


class PoolHere:
    """Replaces ``pool.Pool``: processes all items in this process, one after the other."""

    def __init__(
        self,
        items: Sequence[Any],
        devices: Sequence[str],
        start: Callable[[int], None],
        work: Work,
        _: object,
    ) -> None:
        self.items, self.device, self.work = items, devices[0], work
        self.failures: dict[int, Exception] = {}

    def run(self, interrupts: Interrupts) -> bool:
        """Runs the items as an undisturbed pool does."""
        for index, item in enumerate(self.items):
            try:
                assert self.work(item, self.device, lambda share: None, lambda: False)
            except (InputError, RunFailed) as error:
                self.failures[index] = error
        return True


@contextlib.contextmanager
def no_workers() -> Iterator[None]:
    """In its block, ``launch.train_missing`` trains in this process, bit-identical to workers."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "Pool", PoolHere)
        torch.set_flush_denormal(True)  # as workers do
        try:
            yield
        finally:
            torch.set_flush_denormal(False)


def run_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with no_workers(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def finish_here(command: Sequence[str]) -> tuple[int, str]:
    """Like ``finish_run`` of benchmarks/kill_and_resume.py, in this process: (exit code, stderr)."""
    assert tuple(command[:3]) == (sys.executable, "-m", "plasticity_bench")
    done = run_here(*command[3:])
    return done.returncode, done.stderr
