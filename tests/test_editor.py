"""An editor finds the definition of an imported name of agents, tasks and envs, in an editable install."""

from __future__ import annotations

import os
from pathlib import Path

import jedi
import pytest

from tests.support.paths import REPOSITORY

#: Import -> the file in which its last name is defined.
DEFINITIONS = {
    "from plasticity_bench.agents.methods.decay import L2": "agents/methods/decay.py",
    "from plasticity_bench.tasks.base import SupervisedStream": "tasks/base.py",
    "from plasticity_bench.envs.slippery import SlipperyAnt": "envs/slippery.py",
    "from plasticity_bench.agents.adapters.torch_adapter import attach": "agents/adapters/torch_adapter.py",
    "from plasticity_bench.registry.choices import Chosen": "plasticity_bench/registry/choices.py",
    "from plasticity_bench import run": "plasticity_bench/api/training.py",
}
LINKS = [REPOSITORY / "plasticity_bench" / name for name in ("agents", "tasks", "envs")]


@pytest.mark.skipif(not all(map(Path.is_symlink, LINKS)), reason="a checkout without symbolic links")
@pytest.mark.parametrize("statement", DEFINITIONS)
def test_an_editor_opens_the_definition(statement: str) -> None:
    found = jedi.Script(statement, project=jedi.Project(REPOSITORY)).goto(
        1, len(statement) - 1, follow_imports=True
    )
    assert [os.path.realpath(str(each.module_path)) for each in found] == [
        os.path.realpath(REPOSITORY / DEFINITIONS[statement])
    ]
    assert found[0].line


def test_the_links_are_relative() -> None:
    """An absolute one would lead nowhere in another clone."""
    for link in filter(Path.is_symlink, LINKS):
        assert os.readlink(link) == f"../{link.name}"
