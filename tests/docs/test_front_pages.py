"""README.md, CONTRIBUTING.md and the pages next to them: links, commands, results, and what they list."""

from __future__ import annotations

import inspect
import io
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from plasticity_bench.agents.adapters import sb3, torch_adapter
from plasticity_bench.cli import build_parser
from plasticity_bench.records.cells import Cell, find_cells
from plasticity_bench.records.tables import COLUMNS
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.terminal import print_scores
from tests.support import actionlint, browser, slurm, typescript
from tests.support.paths import REPOSITORY

PAGES: tuple[str, ...] = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "leaderboard/SUBMITTING.md")
PAGES += ("benchmarks/README.md", "docs/records.md", "docs/evidence.md", "docs/gpu.md")
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def commands(page: str) -> list[list[str]]:
    """The arguments of every ``python -m plasticity_bench`` in the page's blocks of commands."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", text_of(page), re.DOTALL):
        for line in block.splitlines():
            _, program, rest = line.partition("python -m plasticity_bench")
            if program:
                found.append(shlex.split(rest, comments=True))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = (REPOSITORY / page).parent
    for link in LINK.findall(text_of(page)):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        found = folder / path if path else REPOSITORY / page
        assert found.exists(), link
        assert not anchor or anchor in anchors(found), link


def test_the_readme_is_short() -> None:
    lines = text_of("README.md").splitlines()
    assert len(lines) <= 120
    assert lines.index("## The result") < 40


def test_commands_are_accepted() -> None:
    seen = set()
    for page in PAGES:
        for arguments in commands(page):
            args = build_parser().parse_args(arguments)
            seen.add(args.command)
            methods = args.method if args.command in ("run", "sweep") else ()
            for method in methods:
                if ".py" not in method:
                    choose_method(method)
    assert {"run", "compare", "sweep", "report", "list", "new", "check", "submit", "leaderboard"} <= seen


def test_the_result_is_what_the_recorded_seeds_give() -> None:
    (shown,) = re.findall(r"```text\n(.*?)```", text_of("README.md"), re.DOTALL)
    cells: list[Cell] = []
    for name in ("none", "reset", "syre"):
        cells += find_cells(REPOSITORY / "leaderboard" / "submissions" / name / "records")
    stream = shown.partition(":")[0]
    console = Console(file=io.StringIO(), width=200)
    print_scores([cell for cell in cells if cell.stream == stream], console)
    printed = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert printed[: len(shown.splitlines())] == shown.splitlines()


def test_the_method_of_the_readme_is_the_example() -> None:
    (block,) = [
        text
        for text in re.findall(r"```python\n(.*?)```", text_of("README.md"), re.DOTALL)
        if "class " in text
    ]
    assert block[block.index("        for layer") :] in text_of("examples/sign_decay.py")
    head = "from dataclasses import dataclass\nfrom typing import ClassVar\n"
    head += "from plasticity_bench.agents.methods import Method, MethodInfo\n"
    ours: dict[str, Any] = {}
    exec(compile(head + block, "README.md", "exec", dont_inherit=True), ours)
    theirs = runpy.run_path(str(REPOSITORY / "examples" / "sign_decay.py"))
    assert vars(ours["SignDecay"]()) == vars(theirs["SignDecay"]())
    assert ours["SignDecay"].info.name == theirs["SignDecay"].info.name


def test_adapters_take_the_method_first() -> None:
    assert 'torch_adapter.attach("syre:strength=1e-3", model, optimizer)' in text_of("README.md")
    assert 'sb3.attach("syre:strength=1e-3", model)' in text_of("README.md")
    assert list(inspect.signature(torch_adapter.attach).parameters)[:3] == ["method", "model", "optimizer"]
    assert list(inspect.signature(sb3.attach).parameters)[:2] == ["method", "model"]


def test_contributing_lists_every_package() -> None:
    (table,) = re.findall(
        r"\| package \| what is in it \|\n\|---\|---\|\n(.*?)\n\n", text_of("CONTRIBUTING.md"), re.DOTALL
    )
    named = {
        name.rstrip("/") for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])
    }
    inside = REPOSITORY / "plasticity_bench"
    packages = {path.parent for path in inside.glob("*/__init__.py")} | set(inside.glob("*.py"))
    missing = {path.stem for path in packages} - named - {"__init__"}
    assert not missing
    gone = {name for name in named if not any((inside / f"{name}{end}").exists() for end in ("", ".py"))}
    assert not gone


def test_variables_that_skip_tests_are_those_of_the_tests() -> None:
    table = set(re.findall(r"PLASTICITY_BENCH_SKIP_\w+", text_of("CONTRIBUTING.md")))
    assert table == {actionlint.SKIP, browser.SKIP, slurm.SKIP, typescript.SKIP}


def test_every_column_is_explained() -> None:
    page = text_of("docs/records.md")
    assert [name for name in COLUMNS if f"`{name}`" not in page] == ["task"]
