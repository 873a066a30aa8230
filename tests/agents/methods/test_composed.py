"""Methods combined with +: they act like both methods, with one name, folder and set of settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from plasticity_bench.agents.layers import Layer
from plasticity_bench.agents.methods import Method, MethodInfo, Paper
from plasticity_bench.agents.methods.composed import composed
from plasticity_bench.agents.methods.decay import L2
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.cli import main
from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import find_cells
from plasticity_bench.records.configuration import configuration, method_folder, plan_cell
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.registry.settings import split_parts
from plasticity_bench.specs import NetworkSpec
from tests.support.learners import DIGITS, finish, learner, supervised
from tests.support.plugins import GOOD


@pytest.mark.parametrize("name", ["l2", "shrink-perturb", "syre", "syre-redrawn", "reset", "layer-norm"])
def test_with_none_it_is_the_other_bit_for_bit(name: str) -> None:
    alone = finish(learner(name))
    for text in (f"none+{name}", f"{name}+none"):
        assert np.array_equal(finish(learner(text)), alone, equal_nan=True)


@dataclass
class ByHand(L2):
    """Layer normalisation and weight decay in one class."""

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        return replace(spec, norm="layer")


def test_layer_norm_and_decay_are_both_by_hand() -> None:
    theirs = SupervisedLearner(supervised(DIGITS), ByHand(strength=0.01), (0, 1))
    expected = finish(theirs)
    for text in ("layer-norm+l2:strength=1e-2", "l2:strength=1e-2+layer-norm"):
        assert np.array_equal(finish(learner(text)), expected, equal_nan=True)


calls: list[str] = []
PAPER, ELSEWHERE = Paper("A, B", "One", 2020, arxiv="2001.00001"), Paper("C, D", "Two", 2021, doi="10.1000/1")


@dataclass
class First(Method):
    """Has a penalty, and a boundary hook that must not be called."""

    info = MethodInfo("first", "a", (PAPER, ELSEWHERE))

    def penalty(self, layers: Sequence[Layer]) -> torch.Tensor:
        return layers[0].weight.square().sum((-1, -2))

    def after_update(self, layers: Sequence[Layer], optimizer: Any) -> None:
        calls.append("first")

    def on_task_end(self, layers: Sequence[Layer], optimizer: Any) -> None:
        calls.append("first's end")


@dataclass
class Second(Method):
    """Has a penalty, and is notified of boundaries."""

    info = MethodInfo(
        "second", "b", (ELSEWHERE,), task_boundaries=True, search_space={"size": (1, 2)}, version=3
    )
    size: float = 2.0

    def penalty(self, layers: Sequence[Layer]) -> torch.Tensor:
        return self.size * layers[1].bias.sum(-1)

    def after_update(self, layers: Sequence[Layer], optimizer: Any) -> None:
        calls.append("second")

    def on_task_end(self, layers: Sequence[Layer], optimizer: Any) -> None:
        calls.append("second's end")


def test_hooks_run_in_order_and_penalties_add_up() -> None:
    cls = composed(First, Second)
    assert cls is composed(First, Second)
    assert cls.info.name == "first+second"
    assert cls.info.task_boundaries
    assert cls.info.version == 3
    assert cls.info.family == "combinations"
    assert cls.info.papers == (PAPER, ELSEWHERE)
    assert cls.info.citation == "A 2020, One, arXiv:2001.00001; C 2021, Two, doi:10.1000/1"
    assert cls.info.search_space == {"second.size": (1, 2)}
    made = cls((First(), Second()))
    assert [made.uses(hook) for hook in ("penalty", "before_update", "after_update")] == [True, False, True]
    layers = learner("none").layers
    torch.testing.assert_close(
        made.penalty(layers), layers[0].weight.square().sum((1, 2)) + 2 * layers[1].bias.sum(1)
    )
    assert composed(L2, L2)((L2(), L2())).penalty(layers) is None
    calls.clear()
    trained = SupervisedLearner(supervised("permuted-digits:tasks=2"), made, (0,))
    finish(trained)
    updates = trained.stream.steps
    one_task = ["first", "second"] * updates + ["second's end"]
    assert calls == 2 * one_task


def test_both_parts_draw_and_both_are_in_the_checkpoint() -> None:
    made = learner("syre+shrink-perturb")
    state = made.trained.method.state_dict()
    assert set(state) == {"syre", "shrink-perturb"}
    assert set(state["shrink-perturb"]) == {"rng", "updates"}
    assert len(state["syre"]["offset"]) == 6


@pytest.mark.parametrize(
    ("text", "settings", "label"),
    [
        ("layer-norm+l2", {}, "layer-norm+l2"),
        ("layer-norm+l2:strength=1e-3", {}, "layer-norm+l2"),
        ("layer-norm+l2:strength=1e-2", {}, "layer-norm+l2:strength=0.01"),
        ("layer-norm+l2", {"l2.strength": "0.01"}, "layer-norm+l2:strength=0.01"),
        ("layer-norm+l2:strength=5", {"l2.strength": "0.01"}, "layer-norm+l2:strength=0.01"),
        ("l2:strength=1e+2+layer-norm", {}, "l2:strength=100+layer-norm"),
        ("layer-norm:lr=0.01+l2", {}, "layer-norm+l2:lr=0.01"),
        ("layer-norm+l2", {"lr": "0.01"}, "layer-norm+l2:lr=0.01"),
        ("layer-norm:lr=3+l2:lr=4", {"lr": "0.01"}, "layer-norm+l2:lr=0.01"),
        (
            "l2:decoupled=true+shrink-perturb:noise=0.2,shrink=0.1",
            {},
            "l2:decoupled=true+shrink-perturb:noise=0.2,shrink=0.1",
        ),
    ],
)
def test_labels_and_folders(text: str, settings: dict[str, str], label: str) -> None:
    chosen = choose_method(text, settings)
    assert chosen.label == label
    assert method_folder(choose_method(label)) == method_folder(chosen)  # a label is read back as its cell
    assert choose_method(label).label == label
    name, _, digits = method_folder(chosen).rpartition("-")
    assert name == chosen.cls.info.name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-+")
    assert len(digits) == 8
    assert msgspec.json.encode(configuration(choose_stream(DIGITS), chosen))


def test_different_compositions_have_different_folders(tmp_path: Path) -> None:
    texts = ["l2", "layer-norm", "layer-norm+l2", "l2+layer-norm", "layer-norm+l2:strength=0.1", "none+l2"]
    texts += ["layer-norm+l2:lr=0.1"]
    assert len({method_folder(choose_method(text)) for text in texts}) == len(texts)
    assert method_folder(choose_method("layer-norm+l2")) == "layer-norm+l2-a9404d08"
    # Another source is another cell; a + in a path is no composition.
    plugin = tmp_path / "a+b" / "noise.py"
    plugin.parent.mkdir()
    found = []
    for source in (GOOD, GOOD + "\n"):
        plugin.write_text(source)
        found.append(choose_method(f"l2+{plugin}:Noise:strength=1e+2"))
    assert found[0].label == "l2+noise:strength=100"
    assert found[0].settings["noise.strength"] == 100
    assert found[0].source == "builtin+noise.py:Noise"
    assert found[0].digest != found[1].digest
    assert method_folder(found[0]) != method_folder(found[1])


def test_splitting() -> None:
    assert split_parts("l2:strength=1e+2") == ["l2:strength=1e+2"]
    assert split_parts("l2:strength=1+none", {"l2", "none"}) == ["l2:strength=1", "none"]
    assert split_parts("a+b:x=1+c.d:E:y=2") == ["a", "b:x=1", "c.d:E:y=2"]
    assert split_parts("odd+name:x=1", {"odd+name"}) == ["odd+name:x=1"]


@pytest.mark.parametrize(
    ("text", "settings", "phrase"),
    [
        ("layer-norm+srye", {}, 'unknown method "srye": did you mean "syre"?'),
        ("layer-norm+", {}, "a method is missing next to a +"),
        ("l2+l2:strength=1", {}, "not with itself"),
        ("layer-norm+l2", {"strength": "1"}, "l2.KEY"),
        ("layer-norm+l2", {"l2.strenght": "1"}, 'did you mean "strength"?'),
        ("layer-norm+l2", {"l2.lr": "1"}, "write lr"),
        ("layer-norm:lr=1+l2:lr=2", {}, "lr is given 2 times"),
        ("layer-norm+l2:strength=x", {}, '"x" is not a finite number'),
    ],
)
def test_mistakes_are_one_line(text: str, settings: dict[str, str], phrase: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_method(text, settings).make()
    assert phrase in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--method", "layer-norm+l2", "--set", "l2.strength=1e-2", "--stream", DIGITS]
    command += ["--seeds", "1", "--no-references", "--device", "cpu", "--jobs", "1", "--runs", str(tmp_path)]
    assert main(command) == 0
    (cell,) = find_cells(tmp_path)
    assert cell.method == "layer-norm+l2:strength=0.01"
    assert cell.path.name.startswith("layer-norm+l2-")
    assert cell.seeds() == [0]
    assert cell.config.network.norm == "layer"
    assert cell.config.method.settings == {"l2.strength": 0.01, "l2.decoupled": False, "lr": None}
    assert "layer-norm+l2:strength=0.01" in capsys.readouterr().out
    before = cell.trained.path(0).stat().st_mtime_ns
    assert main([*command[:2], "layer-norm+l2:strength=0.01", *command[5:]]) == 0  # nothing is missing
    assert cell.trained.path(0).stat().st_mtime_ns == before
    assert plan_cell(DIGITS, cell.method).method.label == cell.method
