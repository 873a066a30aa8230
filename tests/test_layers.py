"""The floor plan: a package imports only packages below it, and no two modules import each other.

Every import counts: at the top of a module, inside a function, and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

#: From top to bottom. Packages of one line do not import each other. A dotted name is a layer of its own.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("api",),
    ("leaderboard",),
    ("submissions",),
    ("tuning", "tracking", "figures", "page", "terminal", "doctor"),
    ("scoring", "running", "contract", "playback"),
    ("records", "agents.adapters"),
    ("registry",),
    ("agents",),
    ("tasks",),
    ("plugins", "envs"),
    ("class_source",),
    ("specs", "storage", "processes", "seeding", "ranges", "consoles"),
    ("errors", "stats"),
)
#: Modules that import each other for annotations only.
TYPES_OF_EACH_OTHER = {
    frozenset({"agents.gradients", "agents.networks"}),
    frozenset({"agents.layers", "agents.methods.base"}),
}
FOLDERS = {"plasticity_bench": "", "agents": "agents.", "tasks": "tasks.", "envs": "envs."}


def modules() -> dict[str, Path]:
    """Name within plasticity_bench -> file; a package's name stands for its __init__.py."""
    found = {}
    for folder, prefix in FOLDERS.items():
        for path in (REPOSITORY / folder).rglob("*.py"):
            parts = path.relative_to(REPOSITORY / folder).with_suffix("").parts
            name = prefix + ".".join(parts)
            found[name.removesuffix(".__init__").removesuffix("__init__")] = path
    return found


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """The modules of the project that this one imports, anywhere in it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for full in names:
            if full == "plasticity_bench" or not full.startswith("plasticity_bench."):
                continue
            inner = full.removeprefix("plasticity_bench.")
            inside = inner if inner in MODULES else inner.rpartition(".")[0]
            assert inside in MODULES, f"{name} imports {full}, which does not exist"
            if inside:  # the version, which plasticity_bench/__init__.py holds, may be imported everywhere
                yield inside


def layer(name: str) -> tuple[int, str]:
    """(line of the plan, entry in it) of a module: the longest entry that its name begins with."""
    entries = {entry: index for index, line in enumerate(LAYERS) for entry in line}
    fitting = [entry for entry in entries if f"{name}.".startswith(f"{entry}.")]
    assert fitting, f"{name} has no place in the plan"
    entry = max(fitting, key=len)
    return entries[entry], entry


@pytest.mark.parametrize("name", sorted(filter(None, MODULES)))
def test_imports_go_down(name: str) -> None:
    at, own = layer(name)
    for imported in imports(name):
        below, entry = layer(imported)
        assert entry == own or below > at, f"{name} ({own}) imports {imported} ({entry})"


def test_no_modules_import_each_other() -> None:
    """Not in a longer circle either."""
    edges = {
        name: {other for other in imports(name) if frozenset({name, other}) not in TYPES_OF_EACH_OTHER}
        for name in MODULES
        if name
    }
    while True:
        leaves = {name for name, others in edges.items() if not others & edges.keys() - {name}}
        if not leaves:
            break
        edges = {name: others for name, others in edges.items() if name not in leaves}
    assert not edges, f"in a circle, or importing one: {sorted(edges)}"


def test_an_import_that_goes_up_would_be_seen() -> None:
    assert layer("storage.files")[0] > layer("records.cells")[0]
    assert layer("agents.adapters.sb3") == layer("agents.adapters")
    assert layer("agents.adapters.sb3")[0] < layer("agents.methods.base")[0]
    assert "records.checkpoints" in set(imports("running.job"))  # for an annotation
    assert "running.training" in set(imports("running.worker"))  # inside a function
