"""The examples in the docstrings of the public API run as they are written."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.support.paths import REPOSITORY

FOLDERS = ("agents", "envs", "tasks")


def with_examples() -> list[str]:
    """Modules whose docstrings hold an example."""
    paths = (path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("*.py")))
    names = (
        path.relative_to(REPOSITORY).with_suffix("").as_posix().removesuffix("/__init__").replace("/", ".")
        for path in paths
        if ">>>" in path.read_text()
    )
    return [f"plasticity_bench.{name}" for name in names]


@pytest.mark.parametrize("name", with_examples())
def test_examples_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed


#: What authors of methods, streams and training loops use.
PUBLIC = (
    "agents.methods.base:Method",
    "agents.methods.base:MethodInfo",
    "agents.rng:SeedRng",
    "agents.optim:FlatOptimizer",
    "agents.blocks:blocks",
    "agents.supervised:SupervisedLearner",
    "agents.adapters.torch_adapter:attach",
    "agents.adapters.sb3:attach",
    "agents.adapters.avalanche:PlasticityPlugin",
    "tasks.base:Stream",
    "envs.variables:Variables",
    "envs.slippery:SlipperyAnt",
)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_api_is_described_with_arguments_and_an_example(name: str) -> None:
    module, _, attribute = name.partition(":")
    text = getattr(importlib.import_module(f"plasticity_bench.{module}"), attribute).__doc__
    assert "Example:" in text
    assert "Args:" in text or name.endswith(":Method")


def test_attach_describes_what_it_shares_in_the_same_words() -> None:
    from plasticity_bench.agents.adapters import avalanche, sb3, torch_adapter

    texts = [
        " ".join(str(described.__doc__).split())
        for described in (torch_adapter.attach, sb3.attach, avalanche.PlasticityPlugin)
    ]
    method = "method: A name with settings as on the command line"
    for text in texts:
        assert method in text
        assert "The method continues from it, and the weights stay as they are" in text
        for heading in ("Args:", "Raises:", "Example:"):
            assert heading in text
