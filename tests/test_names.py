"""A public name means one thing: no class, function or constant is defined in two modules."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.test_layers import MODULES

#: Defined in several modules on purpose: every command has the first three, two adapters the last.
SHARED = {"SUMMARY", "configure", "run", "attach"}
#: The packages that may not repeat a name. To check everything: CHECKED = ("",)
CHECKED = (
    "stats",
    "figures",
    "page",
    "scoring",
    "terminal",
    "leaderboard",
    "tracking",
    "processes",
    "commands",
)


def defined(name: str) -> Iterator[str]:
    """The public names that a module defines at its top level."""
    for node in ast.parse(MODULES[name].read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (part for target in targets for part in ast.walk(target))
            found = [part.id for part in names if isinstance(part, ast.Name)]
        else:
            continue
        yield from (text for text in found if not text.startswith("_"))


def repeated() -> dict[str, list[str]]:
    """Public name -> the modules that define it, for names that several define."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in sorted(MODULES):
        for name in defined(module):
            if module not in places[name]:
                places[name].append(module)
    return {name: modules for name, modules in places.items() if len(modules) > 1}


def within(module: str, package: str) -> bool:
    return not package or f"{module}.".startswith(f"{package}.")


def test_a_public_name_is_defined_in_one_module() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for name, modules in repeated().items():
        for package in CHECKED if name not in SHARED else ():
            if any(within(module, package) for module in modules):
                found[package].append(f"{name}: {', '.join(modules)}")
    lines = [f"{package or 'all'}: {line}" for package, own in found.items() for line in own]
    assert not lines, "\n".join(lines)


def test_repeated_names_are_found() -> None:
    assert repeated()["SUMMARY"] == sorted(
        name for name in MODULES if name.startswith("commands.") and "SUMMARY" in defined(name)
    )
    assert "attach" in repeated()
    assert {"RANKED_BY", "CellScores", "summarise_metrics"} <= set(defined("scoring.scores"))
    assert "LINE_HEIGHT" in set(defined("figures.intervals"))  # one of two in an assignment
