"""Methods on torch modules and torch.optim: the same results as in the benchmark's learner."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from plasticity_bench.agents.adapters.module_layers import module_layers
from plasticity_bench.agents.adapters.torch_adapter import attach
from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.methods.decay import L2
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.errors import InputError
from plasticity_bench.specs import NetworkSpec
from tests.support.attached import INSTANCES, check_against_the_learner

SPEC = NetworkSpec((6,), 4, (8, 5))


def perceptron(layers: list[Layer]) -> nn.Sequential:
    """A torch network with these layers' weights."""
    model = nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 5), nn.ReLU()), nn.Linear(5, 4)
    )
    for ours, theirs in zip(model.parameters(), trainable(layers), strict=True):
        ours.data = theirs.detach()[0].clone()
    return model


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", INSTANCES)
def test_attached_method_does_what_it_does_in_the_learner(name: str, optimizer: str) -> None:
    check_against_the_learner(name, optimizer, SPEC, perceptron)


def test_layers_of_a_network_with_normalisation_and_without_activation() -> None:
    first, norm, second, third = nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 5), nn.Linear(5, 2)
    model = nn.Sequential(nn.Flatten(), first, norm, nn.Tanh(), second, nn.Dropout(), third, nn.Softmax(-1))
    layers = module_layers(model).layers
    assert [layer.hidden for layer in layers] == [True, False, False]
    assert layers[0].gain is norm.weight
    assert layers[0].shift is norm.bias
    assert layers[1].gain is None
    for layer, module in zip(layers, (first, second, third), strict=True):
        assert layer.weight is module.weight
        assert layer.bias is module.bias
        assert float(module.weight.detach().abs().max()) <= layer.weight_bound
        assert float(module.bias.detach().abs().max()) <= layer.bias_bound


def test_features_are_those_of_the_last_training_batch_and_hooks_can_be_copied() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    attached = attach("cbp", model, torch.optim.Adam(model.parameters()))
    x = torch.randn(7, 3)
    model(x).sum().backward()
    with torch.no_grad():
        model(torch.randn(1, 3))
    (layer, _) = attached.parts["network"].layers
    assert layer.features is not None
    torch.testing.assert_close(layer.features, model[:2](x).detach())
    twin = copy.deepcopy(model)
    twin(x[:2])
    pickle.loads(pickle.dumps(model))(x[:2])
    assert len(layer.features) == 7


def one_step(method: Any, detach: bool = False) -> torch.Tensor:
    """All parameters of a small network after one step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    attached = attach(method, model, optimizer)
    if detach:
        attached.detach()
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def test_names_instances_and_factories_serve_as_methods_until_they_are_detached() -> None:
    decayed, plain = one_step("l2:strength=0.5"), one_step("none")
    assert not torch.equal(decayed, plain)
    assert torch.equal(one_step(L2(0.5)), decayed)
    assert torch.equal(one_step(lambda: L2(0.5)), decayed)
    assert torch.equal(one_step("l2:strength=0.5", detach=True), plain)


def test_a_network_that_is_not_in_the_loss_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    attach("upgd", model, optimizer)
    before = copy.deepcopy(model.state_dict())
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_not_supported_gives_one_line() -> None:
    def line(method: str | Method, *modules: nn.Module, **options: Any) -> str:
        model = nn.Sequential(*modules)
        groups = options.pop("groups", list)
        with pytest.raises(InputError) as caught:
            attach(method, model, torch.optim.SGD(groups(model.parameters()), 0.1))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    linear = nn.Linear(2, 2)
    assert "layer-norm+l2 changes the network" in line("layer-norm+l2", linear, nn.ReLU(), nn.Linear(2, 2))
    assert "leave lr out" in line("l2:lr=0.1", linear)
    assert "Conv1d" in line("l2", nn.Conv1d(1, 1, 1), linear)
    parametrised = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    assert "ParametrizedLinear" in line("l2", parametrised)
    assert "LayerNorm" in line("l2", nn.LayerNorm(2), linear, nn.ReLU())
    assert "at least one" in line("l2", nn.ReLU(), groups=lambda _: [nn.Parameter(torch.ones(1))])
    assert "hidden units" in line("redo", linear)
    assert "frozen" in line("l2", copy.deepcopy(linear).requires_grad_(False))
    assert "every parameter" in line("l2", linear, groups=lambda p: list(p)[:1])
    assert "one learning rate" in line(
        "l2", linear, groups=lambda p: [{"params": [q], "lr": 1.0 / q.dim()} for q in p]
    )
    optimizer = torch.optim.SGD(linear.parameters(), 0.1)
    attach("l2", nn.Sequential(linear), optimizer)
    with pytest.raises(InputError, match="closure"):
        optimizer.step(lambda: 0.0)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5)])
def test_orthogonal_weights_are_torchs(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def layer(*leading: int) -> Layer:
        weight, bias = (nn.Parameter(torch.empty(*leading, *s)) for s in (shape, shape[:1]))
        return Layer("linear1", "linear", weight, bias, True, 0.0, 0.0, orthogonal=1.4)

    alone = layer()
    weight, bias = alone.fresh(SeedRng((5,), "method", stacked=False))
    assert not bias.any()
    assert float(weight.square().mean().sqrt()) == pytest.approx(alone.initial_std(alone.weight), rel=1e-5)
    stacked = layer(3).fresh(SeedRng((4, 5, 6), "method"))[0]
    assert torch.equal(stacked[1], weight)
    numbers = SeedRng((5,), "method", stacked=False).normal(alone.weight)
    monkeypatch.setattr(torch.Tensor, "normal_", lambda self, *_, **__: self.copy_(numbers))
    assert torch.equal(nn.init.orthogonal_(torch.empty(shape), 1.4), weight)


def test_hare_tortoise_predicts_with_the_average() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    attached = attach("hare-tortoise:decay=0.8,period=0", model, optimizer)
    slow = [p.detach().clone() for p in model.parameters()]
    generator = torch.Generator().manual_seed(0)
    for _ in range(7):
        optimizer.zero_grad()
        model(torch.randn(10, 6, generator=generator, dtype=torch.float64)).square().mean().backward()
        optimizer.step()
        slow = [0.8 * s + 0.2 * p.detach() for s, p in zip(slow, model.parameters(), strict=True)]
    fast = [p.detach().clone() for p in model.parameters()]
    with attached.predicting():
        for found, wanted, other in zip(model.parameters(), slow, fast, strict=True):
            torch.testing.assert_close(found.detach(), wanted)
            assert not torch.equal(found.detach(), other)
    assert all(torch.equal(found, wanted) for found, wanted in zip(model.parameters(), fast, strict=True))
