"""A public name means one thing: no class, function or constant is defined in two modules."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.test_layers import MODULES

#: Defined in several modules on purpose: every command has the first three, and every adapter has the last.
SHARED = {"SUMMARY", "configure", "run", "attach"}


def public_names(module: str) -> Iterator[str]:
    """The public classes, functions and constants that a module defines at its top level."""
    for node in ast.parse(MODULES[module].read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = (part for target in targets for part in ast.walk(target))
            names = [part.id for part in parts if isinstance(part, ast.Name)]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def repeated_names() -> dict[str, list[str]]:
    """Public name -> the modules that define it, for names that several modules define."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in sorted(MODULES):
        for name in sorted(set(public_names(module))):
            places[name].append(module)
    return {name: modules for name, modules in places.items() if len(modules) > 1}


def test_a_public_name_is_defined_in_one_module() -> None:
    repeated = {name: modules for name, modules in repeated_names().items() if name not in SHARED}
    assert not repeated, "\n".join(f"{name}: {', '.join(modules)}" for name, modules in repeated.items())


def test_repeated_names_are_found() -> None:
    repeated = repeated_names()
    assert repeated.keys() >= SHARED  # a name that is no longer shared leaves the list
    assert repeated["SUMMARY"] == sorted(
        name for name in MODULES if name.startswith("commands.") and "SUMMARY" in public_names(name)
    )
    assert {"RANKED_BY", "CellScores", "summarise_metrics"} <= set(public_names("scoring.scores"))
    assert "LINE_HEIGHT" in set(public_names("figures.intervals"))  # one of two in an assignment
