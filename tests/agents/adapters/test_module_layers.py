"""Layers that module_layers finds in a torch module, and modules that it refuses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import nn

from plasticity_bench.agents.adapters.module_layers import module_layers
from plasticity_bench.agents.adapters.torch_adapter import attach
from plasticity_bench.errors import InputError
from tests.support.attached import residual


class Twice(nn.Module):
    """A network with a middle part that the test makes."""

    def __init__(self, way: Callable[[Any, torch.Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.way = way
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: torch.Tensor, extra: torch.Tensor | None = None) -> Any:
        if extra is not None:
            x = x + extra
        return self.way(self, x)


class Swish(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x) if x.dim() > 0 else x


class Neighbours(nn.Module):
    """Every unit contributes to the next one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x.roll(1, 1)


def linears(*widths: int) -> dict[str, nn.Module]:
    return {f"l{i}": nn.Linear(a, b) for i, (a, b) in enumerate(itertools.pairwise(widths))}


#: (modules between layers, why it is unknown which units are read; "" if it is known).
WAYS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "chain": (lambda: Twice(lambda m, x: m.l1(m.l0(x).relu()), **linears(4, 6, 3)), ""),
    "own activation": (
        lambda: Twice(lambda m, x: m.l1(m.act(m.l0(x))), act=Swish(), **linears(4, 6, 3)),
        "",
    ),
    "own mixing": (
        lambda: Twice(lambda m, x: m.l1(m.act(m.l0(x))), act=Neighbours(), **linears(4, 6, 3)),
        '"neighbours" between "l0" and "l1" is not known',
    ),
    "softmax": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Softmax(1), nn.Linear(6, 3)), '"softmax"'),
    "roll": (lambda: Twice(lambda m, x: m.l1(m.l0(x).relu().roll(1, 1)), **linears(4, 6, 3)), '"roll"'),
    "two readers": (
        lambda: Twice(lambda m, x: m.l1(h := m.l0(x).relu()) + m.l2(h), **linears(4, 6, 6, 6)),
        "read by l1 and l2",
    ),
    "branches": (
        lambda: Twice(lambda m, x: torch.cat([m.l0(x), m.l1(x)], 1), **linears(4, 4, 4)),
        'joined with others ("cat")',
    ),
    "outputs of two layers": (
        lambda: Twice(lambda m, x: (h := m.l0(x).relu(), m.l1(h)), **linears(4, 6, 3)),
        "l1 and the output",
    ),
    "used twice": (
        lambda: Twice(lambda m, x: m.l2(m.l1(m.l1(m.l0(x)).relu())), **linears(4, 6, 6, 3)),
        '"l1" is used 2 times',
    ),
    "a sum": (
        lambda: Twice(lambda m, x: m.l2(m.l0(x) + m.l1(m.l0.weight.sum() + x)), **linears(4, 4, 4, 3)),
        'parameters of "l0" are used outside it',
    ),
    "residual": (
        lambda: Twice(lambda m, x: m.l2(m.l1(h := m.l0(x).relu()).relu() + h), **linears(4, 6, 6, 3)),
        "residual sum",
    ),
    "a gate": (
        lambda: Twice(lambda m, x: m.l2(m.l0(x) * m.l1(x).sigmoid()), **linears(4, 4, 4, 3)),
        'joined with others ("mul")',
    ),
    "images of units": (
        lambda: nn.Sequential(
            nn.Linear(4, 8), nn.ReLU(), nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 3, 2), nn.Flatten()
        ),
        '"unflatten"',
    ),
    "groups": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=2), nn.Flatten()),
        "groups of channels",
    ),
    "channels last": (
        lambda: Twice(
            lambda m, x: m.l1(m.l0(x).relu().permute(0, 2, 3, 1).flatten(1)),
            l0=nn.Conv2d(1, 4, 2),
            l1=nn.Linear(4, 3),
        ),
        '"permute"',
    ),
    "rows of images": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Linear(4, 3)),
        "channels are not flattened",
    ),
    "positions as examples": (
        lambda: Twice(
            lambda m, x: m.l1(m.l0(x).relu().flatten(2)), l0=nn.Conv2d(1, 4, 2), l1=nn.Linear(4, 3)
        ),
        '"flatten" between',
    ),
    "sequences": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(10, 3)),
        "5 units become 10",
    ),
    "a second normalisation": (
        lambda: nn.Sequential(
            nn.Linear(4, 5), nn.Identity(), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3)
        ),
        "",
    ),
    "a forward of its own": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), Scaled(5, 3)),
        '"2" has a forward of its own',
    ),
}


class Scaled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flip(-1))


@pytest.mark.parametrize("way", WAYS)
def test_units_are_paired_where_that_is_known_and_only_there(way: str) -> None:
    make, reason = WAYS[way]
    found = module_layers(make())
    assert (not found.unpaired) == (not reason)
    assert reason in found.unpaired
    assert not found.unordered or "outside" in reason


def test_what_is_not_supported_gives_one_line() -> None:
    def line(model: nn.Module, method: str = "l2") -> str:
        parameters = list(model.parameters())
        with pytest.raises(InputError) as caught:
            attach(method, model, torch.optim.SGD(parameters, 0.1))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    tied = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    cast(nn.Linear, tied[2]).weight = cast(nn.Linear, tied[0]).weight
    assert '"2.weight" and "0.weight" are one tensor' in line(tied)
    assert "Embedding" in line(nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 2)))
    assert "GRU" in line(nn.Sequential(nn.GRU(3, 4), nn.Linear(4, 2)))
    assert "BatchNorm1d" in line(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)))
    twice = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.LayerNorm(4), nn.Linear(4, 2))
    assert '"2" (LayerNorm)' in line(twice)
    assert "one forward pass" in line(nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2)))
    own = nn.Sequential(nn.Linear(4, 2))
    own.register_parameter("scale", nn.Parameter(torch.ones(1)))
    assert "its own parameters: scale" in line(own)
    lone = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5, bias=False), nn.Linear(5, 2))
    assert "LayerNorm" in line(lone)
    assert "redo needs to know which layer reads which units" in line(residual(), "redo")
    assert "hidden units" in line(nn.Conv2d(1, 2, 2), "cbp")


def test_a_layer_without_a_gradient_is_no_update_that_methods_can_share() -> None:
    model = Twice(lambda m, x: m.l0(x), **linears(4, 3, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    attached = attach("l2", model, optimizer)
    model(torch.ones(2, 4)).sum().backward()
    with pytest.raises(InputError, match='"l1" got none'):
        optimizer.step()
    attached.detach()
    optimizer.step()


def test_frozen_parameters_of_other_modules_do_not_matter() -> None:
    frozen = nn.Embedding(3, 4).requires_grad_(False)
    model = Twice(lambda m, x: m.l1(m.l0(x).relu()), frozen=frozen, **linears(4, 6, 3))
    assert [layer.name for layer in module_layers(model).layers] == ["l0", "l1"]
