"""docs/your-own-method.md: its commands run, its right examples pass and its wrong ones fail as it says."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from plasticity_bench.agents.layers import Layer
from plasticity_bench.agents.methods import Method, MethodInfo
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.contract.checks import CHECKS, examine
from plasticity_bench.contract.results import Verdict
from plasticity_bench.contract.subject import Subject
from tests.support.broken_methods import Case, write
from tests.support.paths import REPOSITORY

PAGE = (REPOSITORY / "docs" / "your-own-method.md").read_text()
#: (the comment before a block, its language, its text)
BLOCKS = re.findall(r"(?:<!-- ([^\n]*) -->\n)?```(\w+)\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = [(mark, text) for mark, language, text in BLOCKS if language == "python"]


def commands() -> list[str]:
    """The blocks of commands that no comment takes out; ``submit`` takes what the page has run before."""
    kept = [(mark, text) for mark, kind, text in BLOCKS if kind == "sh" and not mark.startswith("not run")]
    small = "--stream permuted-digits:tasks=10 --seeds 4"
    assert [mark for mark, text in kept if "--suite quick" in text] == ["on what was run above"]
    texts = [text.replace("--suite quick", small) for _, text in kept]
    return [text.replace("--seeds 4", "--seeds 4 --jobs 1") for text in texts]  # to start four takes longer


def test_the_commands_run_one_after_the_other(tmp_path: Path) -> None:
    found = commands()
    assert len(found) >= 4
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    printed = ""
    for block in found:
        done = subprocess.run(
            ["sh", "-e", "-c", block],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, block + done.stdout + done.stderr
        printed += done.stdout
    assert (folder / "my_method.py").is_file()
    assert "my-method: 15 passed, 1 warning" in printed  # the citation is not there yet
    assert "my-method:strength=0.01" in printed
    assert (folder / "leaderboard" / "submissions" / "my-method" / "source" / "my_method.py").is_file()
    assert "my-method" in (folder / "my-leaderboard" / "README.md").read_text()


def example(text: str, folder: Path) -> Subject:
    assert "self.strength" in text or "strength" not in text
    return Subject(str(write(folder, Case("", text, ()))))


def test_there_are_right_and_wrong_examples() -> None:
    marks = [mark for mark, _ in EXAMPLES]
    assert marks.count("right") >= 3
    assert {"wrong: stack", "wrong: plain", "wrong: random", "wrong: optimizer"} <= set(marks)
    assert set(marks) <= {"right", *(f"wrong: {check.name}" for check in CHECKS)}


@pytest.mark.parametrize("index", range(len(EXAMPLES)))
def test_examples_are_what_the_page_calls_them(index: int, tmp_path: Path) -> None:
    mark, text = EXAMPLES[index]
    subject = example(text, tmp_path)
    if mark == "right":
        rules = ("learning", "random", "stack", "checkpoint", "optimizer", "plain", "convolution", "torch")
        for check in CHECKS:
            if check.name in rules:
                result = examine(check, subject)
                assert result.state == Verdict.PASSED, result
        return
    (check,) = [check for check in CHECKS if f"wrong: {check.name}" == mark]
    result = examine(check, subject)
    assert result.state == Verdict.FAILED
    if check.name == "stack":
        (shown,) = [text for _, language, text in BLOCKS if language == "text"]
        for piece in re.split(r"\.\.\.|\n->?|\n", shown):
            assert piece.strip() in f"{result.detail} {result.fix}"


def test_the_tables_name_what_there_is() -> None:
    hooks = {name for name, value in vars(Method).items() if inspect.isfunction(value) and name[0] != "_"}
    rows = {
        name: row for row in PAGE.splitlines() if row.startswith("|") for name in re.findall(r"`(\w+)", row)
    }
    assert hooks - {"uses"} <= set(rows)
    for name in hooks & set(rows):
        signature = re.search(rf"`{name}\(([^)]*)\)`", PAGE)
        assert signature
        assert signature[1].split(", ") == list(inspect.signature(getattr(Method, name)).parameters)
    assert {f.name for f in fields(MethodInfo)} <= set(rows)
    (layer,) = re.findall(r"\| of a layer \| \|\n\|---\|---\|\n(.*?)\n\n", PAGE, re.DOTALL)
    known = {f.name for f in fields(Layer)} | {name for name in vars(Layer) if name[0] != "_"}
    assert set(re.findall(r"^\| `(\w+)", layer, re.MULTILINE)) <= known
    (optimizer,) = re.findall(r"\| of the optimizer \| \|\n\|---\|---\|\n(.*?)\n\n", PAGE, re.DOTALL)
    assert set(re.findall(r"^\| `(\w+)", optimizer, re.MULTILINE)) <= {"lr", *vars(FlatOptimizer)}
    (checks,) = re.findall(r"\| check \| it fails.*?\n\n", PAGE, re.DOTALL)
    assert {check.name for check in CHECKS} <= set(re.findall(r"\w+", checks))


def test_the_entry_point_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with the page's lines in its pyproject.toml."""
    (toml,) = [text for _, language, text in BLOCKS if language == "toml"]
    group, name, module, cls = re.search(
        r'entry-points\."([\w.]+)"\]\n([\w-]+) = "([\w.]+):(\w+)"', toml
    ).groups()  # type: ignore[union-attr]
    package, _, file = module.partition(".")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    source = write(tmp_path, Case("", EXAMPLES[0][1], ())).read_text()
    (tmp_path / package / f"{file}.py").write_text(source.replace("class Tried", f"class {cls}"))
    info = tmp_path / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{cls}\n")
    monkeypatch.syspath_prepend(tmp_path)
    subject = Subject(name)
    assert subject.chosen.cls.__name__ == cls
    (check,) = [check for check in CHECKS if check.name == "learning"]
    assert examine(check, subject).state == Verdict.PASSED
