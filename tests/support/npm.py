"""Programs that npm installs once, into the cache folder of the user."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

#: Seconds that npm may take.
INSTALL_SECONDS = 200
OPTIONS = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund")


def npm_package(name: str, version: str) -> tuple[Path | None, str]:
    """The folder ``node_modules`` with a package in it, installed if it is missing; or None, and why not."""
    npm = shutil.which("npm")
    if npm is None:
        return None, "npm is not on PATH"
    folder = user_cache_path("plasticity_bench") / f"{name}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    modules = folder / "node_modules"
    with FileLock(folder / ".lock"):
        if (modules / name / "package.json").exists():
            return modules, ""
        try:
            done = subprocess.run(
                [npm, "install", "--prefix", str(folder), *OPTIONS, f"{name}@{version}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=INSTALL_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return None, f"npm did not finish within {INSTALL_SECONDS} seconds"
        if done.returncode or not (modules / name / "package.json").exists():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            return None, f"npm failed ({lines[0] if lines else done.returncode})"
    return modules, ""
