"""What a class of a script computes with is part of its source, so that a change of it is another method."""

from __future__ import annotations

import ast
import linecache

import pytest

from plasticity_bench.plugins import plugin_of

SCRIPT = """
import math
from dataclasses import dataclass
from functools import partial

import torch

from plasticity_bench.agents.methods import Method, MethodInfo

SCALE = 1e-3
TABLE = {"b": [1, 2], "a": {3, 4}}
START = torch.zeros(3)
ACTIONS = [lambda x: x + 1]
SCALED = partial(math.pow, 2)
COUNT = 2
unused = 1
grad = 1

def inner(x):
    return x * SCALE

def helper(x, factor=COUNT):
    return [inner(x) + START.sum() for _ in range(1)]

class Base(Method):
    def after_update(self, layers, optimizer):
        helper(TABLE["a"])
        ACTIONS[0](SCALED(layers.grad))

@dataclass
class Ours(Base):
    info = MethodInfo(name="ours", summary="does something")
    strength: float = -1e-3
    factor = COUNT

    def before_update(self, layers, optimizer):
        self.factor * math.cos(0)
"""


def executed(text: str, name: str = "<a cell>") -> dict:
    """The namespace of a notebook in which this is a cell."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space: dict = {"__name__": "__main__"}
    exec(compile(text, name, "exec", dont_inherit=True), space)
    return space


def source(text: str) -> str:
    return plugin_of(executed(text)["Ours"]).source.decode()


def test_it_holds_all_that_the_class_uses() -> None:
    text = source(SCRIPT)
    ast.parse(text)
    parts = ("SCALE = 0.001\n", "def inner(x):\n", "def helper(x, factor=COUNT):\n", "class Base(Method):\n")
    places = [text.index(part) for part in (*parts, "@dataclass\nclass Ours(Base):\n")]
    assert places == sorted(places)
    for part in ("set([3, 4])", "# START: Tensor with the SHA-256 ", "# Ours.factor = 2\n"):
        assert part in text
    for part in ("unused", "grad = 1", "import", "strength = ", "class Method"):
        assert part not in text
    assert source(SCRIPT) == text == source(f"\n\n{SCRIPT}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 1e-3", "SCALE = 1e-2"),
        ("[1, 2]", "[1, 3]"),
        ("zeros(3)", "ones(3)"),
        ("x + 1", "x + 2"),
        ("pow, 2", "pow, 3"),
        ("COUNT = 2", "COUNT = 3"),
        ("x * SCALE", "x / SCALE"),
        ('helper(TABLE["a"])', "pass"),
        ("cos", "sin"),
    ],
)
def test_a_change_is_another_source(old: str, new: str) -> None:
    assert old in SCRIPT
    assert source(SCRIPT) != source(SCRIPT.replace(old, new))


def test_changes_that_no_text_shows() -> None:
    space = executed(SCRIPT)
    sources = [plugin_of(space["Ours"]).source]
    space["SCALE"] = 5
    sources.append(plugin_of(space["Ours"]).source)
    space["Ours"].factor = 7
    sources.append(plugin_of(space["Ours"]).source)
    exec(compile("def other(self, layers, optimizer): pass", "<other>", "exec"), space)
    space["Ours"].before_update = space["other"]
    sources.append(plugin_of(space["Ours"]).source)
    made = 'def make(scale):\n    class Ours(Method):\n        info = MethodInfo(name="o", summary="s")\n'
    made += "        def after_update(self, layers, optimizer):\n            scale\n    return Ours\n"
    space = executed(f"{SCRIPT}\n{made}", "<made>")
    sources += [plugin_of(space["make"](scale)).source for scale in (1, 2)]
    assert len(set(sources)) == 6


def test_a_class_that_is_defined_twice_in_a_script() -> None:
    again = SCRIPT[SCRIPT.index("@dataclass") :].replace("cos", "sin")
    twice = f"{SCRIPT}\nFirst = Ours\n{again}"
    space = executed(twice)
    first, second = (plugin_of(space[name]).source.decode() for name in ("First", "Ours"))
    assert "cos" in first
    assert "sin" not in first
    assert "sin" in second
