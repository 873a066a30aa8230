"""TypeScript's compiler, which checks the types of the web page's scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.npm import npm_package

TSC, SKIP = "PLASTICITY_BENCH_TSC", "PLASTICITY_BENCH_SKIP_TSC"
#: The version that npm installs if there is no compiler.
VERSION = "5.9.3"
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
    """The compiler that npm has installed, or None; and why there is none."""
    modules, problem = npm_package("typescript", VERSION)
    if modules is None:
        return None, f"tsc is not on PATH, and {problem}"
    return str(modules / ".bin" / ("tsc.cmd" if os.name == "nt" else "tsc")), ""


def type_errors(scripts: Sequence[Path]) -> list[str]:
    """The compiler's lines on these scripts, which share one global scope."""
    done = subprocess.run(
        [compiler(), *STRICT, *map(str, scripts)], capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines() or ([done.stderr] if done.returncode else [])
