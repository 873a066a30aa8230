"""What a command prints, and programs run from tests."""

from __future__ import annotations

import os
import subprocess
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
