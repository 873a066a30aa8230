"""A public name of agents/, envs/, tasks/ and the contract is defined in one module of the project."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import REPOSITORY

#: Each adapter has an ``attach``: the same function for another library.
SHARED = {"attach"}
OWN = ("agents", "envs", "tasks", "plasticity_bench/contract")


def public_names(path: Path) -> Iterator[str]:
    """Classes, functions and constants that a module defines at its top."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        else:
            continue
        yield from (name for name in found if not name.startswith("_"))


def test_no_public_name_has_two_meanings() -> None:
    modules = defaultdict(set)
    for folder in ("agents", "envs", "tasks", "plasticity_bench"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            module = path.relative_to(REPOSITORY).as_posix()
            if module.startswith(tuple(f"plasticity_bench/{own}/" for own in OWN[:3])):
                continue  # a link to a folder of the root
            for name in public_names(path):
                modules[name].add(module)
    twice = {
        name: sorted(places)
        for name, places in modules.items()
        if len(places) > 1 and any(place.startswith(tuple(f"{own}/" for own in OWN)) for place in places)
    }
    assert set(twice) == SHARED, twice
