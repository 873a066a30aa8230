"""TypeScript's compiler, which checks the types of the web page's scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from filelock import FileLock
from platformdirs import user_cache_path

TSC, SKIP = "PLASTICITY_BENCH_TSC", "PLASTICITY_BENCH_SKIP_TSC"
#: The version that npm installs if there is no compiler.
VERSION = "5.9.3"
#: Seconds that npm may take.
INSTALL_SECONDS = 200
STRICT = (
    "--noEmit",
    "--allowJs",
    "--checkJs",
    "--strict",
    "--target",
    "es2022",
    "--lib",
    "es2022,dom,dom.iterable",
)


def compiler() -> str:
    """The path of ``tsc``. Fails the test if there is none, unless the environment allows to skip it.

    It is the one that PLASTICITY_BENCH_TSC names, else the one on PATH; else npm installs one into the cache
    folder of the user.
    """
    given = os.environ.get(TSC, "")
    found, problem = shutil.which(given or "tsc"), f"{given} is not there"
    if not found and not given:
        found, problem = _installed()
    if found:
        return found
    text = f"no TypeScript compiler: {problem}; install npm, set {TSC} to the path of tsc, or set {SKIP}=1"
    text += " to leave out the type check of the web page's scripts"
    if os.environ.get(SKIP) == "1":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


def _installed() -> tuple[str | None, str]:
    """(the compiler that npm installed or None, the reason if there is none)."""
    npm = shutil.which("npm")
    if npm is None:
        return None, "neither tsc nor npm is on PATH"
    folder = user_cache_path("plasticity_bench") / f"typescript-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        path = folder / "node_modules" / ".bin" / ("tsc.cmd" if os.name == "nt" else "tsc")
        if not path.exists():
            command = [
                npm,
                "install",
                "--prefix",
                str(folder),
                "--no-save",
                "--no-package-lock",
                "--no-audit",
            ]
            try:
                done = subprocess.run(
                    [*command, "--no-fund", f"typescript@{VERSION}"],
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=INSTALL_SECONDS,
                )
            except subprocess.TimeoutExpired:
                return None, f"npm did not finish within {INSTALL_SECONDS} seconds"
            if done.returncode or not path.exists():
                lines = [line for line in done.stderr.splitlines() if line.strip()]
                return None, f"npm failed ({lines[0] if lines else done.returncode})"
    return str(path), ""


def type_errors(scripts: Sequence[Path]) -> list[str]:
    """The compiler's lines on these scripts, which share one global scope."""
    done = subprocess.run(
        [compiler(), *STRICT, *map(str, scripts)], capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines() or ([done.stderr] if done.returncode else [])
