"""The examples in docstrings run as they are written, and the public names have one."""

from __future__ import annotations

import doctest
import importlib
from operator import attrgetter
from typing import Any

import pytest

import plasticity_bench
from tests.test_layers import MODULES

WITH_EXAMPLES = sorted(name for name, path in MODULES.items() if name and ">>>" in path.read_text())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the examples of ``api`` use without a definition."""
    folder = tmp_path_factory.mktemp("runs")
    stream = "permuted-digits:tasks=3"
    results = plasticity_bench.run("l2", stream, seeds=2, runs=folder, jobs=1, progress=False)
    return {"folder": folder, "results": results}


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name: str, request: pytest.FixtureRequest) -> None:
    names = request.getfixturevalue("recorded") if name.startswith("api.") else {}
    module = importlib.import_module(f"plasticity_bench.{name}")
    found = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
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
    "api.training:run",
    "api.results:load",
    "api.results:Results.tables",
    "api.results:Results.scores",
    "api.results:Results.plot",
    "api.checking:check",
    "api.catalog:methods",
    "api.catalog:streams",
)
#: Those that take no arguments.
WITHOUT_ARGUMENTS = {
    *("agents.methods.base:Method", "api.results:Results.tables", "api.results:Results.scores"),
    *("api.catalog:methods", "api.catalog:streams"),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_api_is_described_with_arguments_and_an_example(name: str) -> None:
    module, _, attribute = name.partition(":")
    text = attrgetter(attribute)(importlib.import_module(f"plasticity_bench.{module}")).__doc__
    assert "Example:" in text
    assert "Args:" in text or name in WITHOUT_ARGUMENTS


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
