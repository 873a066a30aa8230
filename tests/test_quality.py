"""Checks of the repository: style, types, the wheel's content, and what must not be committed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.command_line import run
from tests.support.paths import REPOSITORY


def committed() -> list[Path]:
    """The committed files; without git (an unpacked source distribution) all files."""
    try:
        names = run("git", "ls-files", "--cached", "--others", "--exclude-standard").split("\n")
    except (AssertionError, OSError):
        names = [str(path.relative_to(REPOSITORY)) for path in REPOSITORY.rglob("*")]
    return [REPOSITORY / name for name in names if name and (REPOSITORY / name).is_file()]


def test_ruff_finds_nothing() -> None:
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".")
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".")


def test_mypy_finds_nothing(tmp_path: Path) -> None:
    """Through the links in plasticity_bench/, mypy finds the root folders under their import names."""
    run(sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), "plasticity_bench", "tests", "benchmarks")


def test_the_wheel_holds_every_module(tmp_path: Path) -> None:
    """A subpackage that is not in the list of packages is silently left out of the wheel."""
    copy = tmp_path / "source"
    usual = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "runs", ".*")

    def ignored(folder: str, names: list[str]) -> set[str]:
        # The submissions are large. The package of the same name must be copied.
        large = {"submissions"} if Path(folder) == REPOSITORY / "leaderboard" else set()
        return usual(folder, names) | large

    shutil.copytree(REPOSITORY, copy, ignore=ignored)
    script = (
        "import sys; from setuptools import build_meta; "
        f"print(build_meta.build_wheel({str(tmp_path)!r}), file=sys.stderr)"
    )
    run(sys.executable, "-c", script, cwd=copy)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = set()
    for path in committed():
        name = path.relative_to(REPOSITORY)
        if path.suffix == ".py" and name.parts[0] in ("envs", "agents", "tasks"):
            wanted.add(f"plasticity_bench/{name.as_posix()}")
        elif name.parts[0] == "plasticity_bench" and (path.suffix == ".py" or len(name.parts) > 2):
            wanted.add(name.as_posix())
    assert wanted <= held
    top = {name.split("/")[0] for name in held if ".dist-info" not in name}
    assert top == {"plasticity_bench"}, "nothing else may land in site-packages"


@pytest.mark.parametrize("folder", ["envs", "agents", "tasks"])
def test_root_folders_are_not_importable_by_their_own_names(folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"import plasticity_bench.{folder}" in done.stderr


def test_nothing_of_this_machine_is_committed() -> None:
    # Written in pieces, so that this file does not find itself.
    hosts = re.compile(
        "|".join(("files." + "pythonhosted", "pypi" + r"\.org/simple", "download." + r"pytorch\.org"))
    )
    home = re.compile(r"(?<![\w.])/(?:root|home/\w+|" + "work/main" + r")/")
    for path in committed():
        if path.suffix in (".png", ".svg", ".ico") or path.name.endswith(".gz"):
            continue
        text = path.read_text(encoding="utf-8")
        assert not hosts.search(text), path
        assert not home.search(text), path
    assert not [path for path in committed() if path.name.endswith((".lock", "lock.json"))]


def test_modules_stay_readable() -> None:
    theirs = REPOSITORY / "leaderboard/submissions"  # sources of submitted methods
    ours = [path for path in committed() if path.suffix == ".py" and theirs not in path.parents]
    long = [path for path in ours if len(path.read_text().splitlines()) > 320]
    assert not long


def test_ci_runs_exactly_the_readmes_test_command() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    script = (REPOSITORY / ".ci" / "run").read_text()
    assert 'pip install -e ".[test]"' in readme
    assert "README.md" in script
