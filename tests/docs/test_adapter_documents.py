"""The examples and the code in docs/adapters.md run as they stand."""

from __future__ import annotations

import re
import runpy
import sys

import pytest

from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.specs import NetworkSpec
from tests.support.paths import REPOSITORY

PAGE = (REPOSITORY / "docs" / "adapters.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_code_blocks_run(block: int) -> None:
    exec(compile(BLOCKS[block], f"docs/adapters.md block {block}", "exec"), {"__name__": "__main__"})


def test_the_page_has_a_block_for_every_library() -> None:
    modules = ["torch_adapter", "avalanche", "sb3"]
    assert [re.findall(r"plasticity_bench\.agents\.adapters\.(\w+) import", block) for block in BLOCKS] == [
        [module] for module in modules
    ]


def test_commands_on_the_page_name_streams_and_methods_that_exist() -> None:
    commands = re.findall(
        r"^python -m plasticity_bench run --method (\S+) --stream (\S+)$", PAGE, re.MULTILINE
    )
    assert len(commands) == 3
    for method, stream in commands:
        choose_method(method)
        if "my_package" not in stream:
            assert choose_stream(stream).label


def test_the_table_tells_what_methods_need() -> None:
    rows = re.findall(r"^\| (`.*?`) \| (.*?) \|", PAGE, re.MULTILINE)
    needs = {name: need for names, need in rows for name in re.findall(r"`([\w-]+)`", names)}
    listed = sorted(set(needs) & set(METHODS))
    assert len(listed) > 15
    plain = NetworkSpec((4,), 2, (8,))
    for name in listed:
        cls = choose_method(name).cls
        wanted = "nothing more"
        if cls().network(plain) != plain:
            wanted = "not built yet"
        elif cls.needs_features:
            wanted = "one by one"
        elif cls.needs_order:
            wanted = "trace"
        assert wanted in needs[name], name


@pytest.mark.parametrize(
    ("name", "arguments", "lines"),
    [("pytorch_loop.py", ["cbp:rate=1e-3", "2"], 2), ("avalanche_naive.py", ["reset"], 5)],
)
def test_examples_run(
    name: str,
    arguments: list[str],
    lines: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(f"{REPOSITORY}/examples/{name}", run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    accuracies = [float(re.findall(r"accuracy (0\.\d+)", line)[0]) for line in printed if "accuracy" in line]
    assert len(accuracies) == lines
    assert min(accuracies) > 0.5
