"""The workflows of CI: valid, with no more rights than they need, and doing what the documents say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.actionlint import workflow_errors
from tests.support.boards import board_of_submissions
from tests.support.paths import REPOSITORY
from tests.support.submission_bench import edit_table, submit

FOLDER = REPOSITORY / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
PROJECT = (REPOSITORY / "pyproject.toml").read_text()


def workflow(name: str) -> dict[Any, Any]:
    """A workflow; YAML reads its key ``on`` as True."""
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text())


def steps(name: str) -> Iterator[dict[str, Any]]:
    """The steps of all jobs."""
    for job in workflow(name)["jobs"].values():
        yield from job["steps"]


def test_actionlint_finds_nothing() -> None:
    assert [path.stem for path in FILES] == ["docs", "submission", "tests"]
    assert workflow_errors(FILES) == []


def test_a_broken_workflow_is_found(tmp_path: Path) -> None:
    text = (FOLDER / "submission.yml").read_text()
    wrong = {"inputs.count": "inputs.number", "runs-on: ubuntu": "runs-at: ubuntu"}
    path = tmp_path / "broken.yml"
    for right, broken in wrong.items():
        assert right in text
        path.write_text(text.replace(right, broken, 1))
        assert workflow_errors([path]), broken


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_rights_are_those_of_a_reader(path: Path) -> None:
    text, name = path.read_text(), path.stem
    assert workflow(name)["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in text
    assert "secrets" not in re.sub(r"#.*", "", text)
    for step in steps(name):
        # Text of a pull request in a script would be run as a part of it.
        assert "${{" not in step.get("run", ""), step
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
    for job, content in workflow(name)["jobs"].items():
        if "permissions" in content:
            assert (name, job) == ("docs", "publish")
            assert not any("run" in step for step in content["steps"])


def test_the_tests_are_the_readmes_command_on_the_oldest_python() -> None:
    assert [step["run"] for step in steps("tests") if "run" in step][-1] == ".ci/run"
    oldest = re.search(r'^requires-python = ">=([\d.]+)"', PROJECT, re.MULTILINE)
    assert oldest
    (job,) = workflow("tests")["jobs"].values()
    assert job["strategy"]["matrix"]["python"][0] == oldest[1]
    assert [step["with"]["path"] for step in steps("tests") if step.get("id") == "data"] == ["data"]


def test_the_site_is_built_strictly() -> None:
    scripts = [step["run"] for step in steps("docs") if "run" in step]
    assert scripts == ['python -m pip install -e ".[docs]"', "python -m mkdocs build --strict"]
    assert re.search(r"^docs = ", PROJECT, re.MULTILINE)


def test_a_replay_is_started_by_hand_and_caches_nothing() -> None:
    jobs = workflow("submission")["jobs"]
    assert jobs["verify"]["if"] == "github.event_name == 'pull_request'"
    assert jobs["replay"]["if"] == "github.event_name == 'workflow_dispatch'"
    assert "cache" not in re.sub(r"#.*", "", (FOLDER / "submission.yml").read_text())
    inputs = workflow("submission")[True]["workflow_dispatch"]["inputs"]
    assert inputs["trust"] == {
        "description": "Run the code of submissions. Read it first",
        "required": True,
        "default": False,
        "type": "boolean",
    }
    # Only the code of the branch itself is installed, and it runs in its own folder.
    installed = [step["run"] for step in steps("submission") if "install" in step.get("run", "")]
    assert installed == ["python -m pip install -e ./base"] * 2


class PullRequest:
    """A clone with a leaderboard of two submissions, and a change to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        self.submissions = self.folder / "leaderboard" / "submissions"
        self.ran = folder / "ran"
        self.runs = folder / "runs"
        (self.folder / "leaderboard").mkdir(parents=True)
        shutil.copy(REPOSITORY / "leaderboard" / "SUBMITTING.md", self.folder / "leaderboard")
        for name in ("none", "reset"):
            submit(self.submissions, self.runs, name)
        self.generate()
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments: str) -> None:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")

    def generate(self) -> None:
        board_of_submissions(self.submissions, self.folder / "leaderboard")

    def write_trap(self) -> None:
        """Code in the root of the clone that leaves a trace if Python ever imports it."""
        package = self.folder / "plasticity_bench"
        package.mkdir()
        for path in (package / "__init__.py", self.folder / "sitecustomize.py"):
            path.write_text(f"open({str(self.ran)!r}, 'w').close()\n")

    def verify(self) -> subprocess.CompletedProcess[str]:
        """What the script says, called in the clone."""
        programs = self.folder.parent / "bin"
        programs.mkdir(exist_ok=True)
        python = programs / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        return subprocess.run(
            [str(REPOSITORY / ".ci" / "verify-submissions"), "."],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def change(tmp_path: Path) -> PullRequest:
    return PullRequest(tmp_path)


def test_a_sound_submission_passes(change: PullRequest) -> None:
    submit(change.submissions, change.runs, "l2")
    change.generate()
    change.commit()
    done = change.verify()
    assert done.returncode == 0, done.stderr
    assert "changed: l2\n1 submissions with 2 seeds" in done.stdout
    assert done.stdout.endswith("the submissions and the leaderboard agree\n")


def test_a_leaderboard_that_was_not_generated_again_fails(change: PullRequest) -> None:
    submit(change.submissions, change.runs, "l2")
    change.commit()
    done = change.verify()
    assert done.returncode == 1
    assert "leaderboard/README.md is out of date" in done.stderr


def test_a_changed_table_fails(change: PullRequest) -> None:
    edit_table(next(change.submissions.rglob("none/**/seed-000.csv")), "0.5", "0.6")
    change.commit()
    done = change.verify()
    assert done.returncode == 1
    assert "seed-000.csv" in done.stdout


def test_other_changes_are_refused(change: PullRequest) -> None:
    change.write_trap()
    change.commit()
    done = change.verify()
    assert done.returncode == 1
    assert "plasticity_bench/__init__.py changes too; a pull request with a submission" in done.stderr


def test_code_of_the_clone_is_never_run(change: PullRequest) -> None:
    change.write_trap()
    change.commit()
    test_a_sound_submission_passes(change)
    assert not change.ran.exists()


def test_code_of_a_submission_is_never_run(change: PullRequest) -> None:
    source = change.submissions / "none" / "source" / "plasticity_bench.py"
    source.parent.mkdir()
    source.write_text(f"open({str(change.ran)!r}, 'w').close()\n")
    change.commit()
    done = change.verify()
    assert done.returncode == 1
    assert "plasticity_bench.py" in done.stdout
    assert not change.ran.exists()


def test_links_instead_of_folders_are_refused(change: PullRequest) -> None:
    (change.submissions / "l2").symlink_to(change.submissions / "none")
    change.commit()
    done = change.verify()
    assert done.returncode == 1
    assert "leaderboard/submissions/l2 is not a folder" in done.stderr
