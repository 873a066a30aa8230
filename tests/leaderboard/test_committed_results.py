"""Committed generated files are what the records give: the leaderboard and the tables of the findings."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.boards import board_of_submissions
from tests.support.paths import REPOSITORY as ROOT

TEXTS = ("README.md", "leaderboard.csv", "scores-per-seed.csv", "index.html")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The leaderboard of the committed submissions, generated again next to a copy of them."""
    folder = tmp_path_factory.mktemp("made") / "leaderboard"
    shutil.copytree(ROOT / "leaderboard/submissions", folder / "submissions")
    shutil.copyfile(ROOT / "leaderboard/SUBMITTING.md", folder / "SUBMITTING.md")
    board_of_submissions(folder / "submissions", folder)
    return folder


@pytest.mark.parametrize("name", TEXTS)
def test_the_leaderboard_is_what_its_submissions_give(made: Path, name: str) -> None:
    # Compared as a whole: pytest's diff of a page of a megabyte would take too long.
    equal = (made / name).read_bytes() == (ROOT / "leaderboard" / name).read_bytes()
    assert equal, f"leaderboard/{name} is out of date: python -m plasticity_bench leaderboard"


def test_exactly_the_generated_figures_are_committed(made: Path) -> None:
    # Their bytes depend on matplotlib's version.
    names = [sorted(path.name for path in (at / "figures").iterdir()) for at in (made, ROOT / "leaderboard")]
    assert names[0] == names[1]


def test_the_tables_of_the_findings_are_what_the_data_give() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/findings.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
