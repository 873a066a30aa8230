"""What a command prints, and programs run from tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support.paths import REPOSITORY


def expect_one_line(err: str, *phrases: str) -> None:
    assert err.startswith("plasticity_bench: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    for phrase in phrases:
        assert phrase in err


def run(*command: str, cwd: Path = REPOSITORY, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def in_fresh_process(text: str, *arguments: str, stdin: str | None = None) -> str:
    """What a Python program prints; ``stdin``: the program, given as ``python -``."""
    command = [sys.executable, *(["-c", textwrap.dedent(text)] if stdin is None else ["-"]), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
