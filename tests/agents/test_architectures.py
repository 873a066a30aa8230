"""Methods that change the network: against torch.nn, and what they must not change elsewhere."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from msgspec import structs
from torch import nn
from torch.nn import functional

from plasticity_bench.agents.gradients import AutogradStep, ReluPerceptronStep
from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.networks import (
    StackedNetwork,
    cross_entropy_gradient,
)
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.errors import InputError
from plasticity_bench.records.configuration import configuration, method_folder, plan_cell
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.registry.create import create_method
from plasticity_bench.running.plan import open_cells, update_multiplications
from plasticity_bench.specs import NetworkSpec, layer_shapes, parameter_count
from plasticity_bench.storage.files import write_json
from tests.support.documents import made_config
from tests.support.learners import DIGITS, finish, learner

PERCEPTRON = NetworkSpec((6,), 4, (9, 7))
CONVOLUTION = NetworkSpec((2, 14, 14), 4, (7,), channels=(3, 6), kernel=3)
DIGITS_NETWORK = NetworkSpec((64,), 10, (100, 100))
METHODS = ("layer-norm", "crelu", "deep-fourier", "layer-norm+crelu", "layer-norm+deep-fourier")


class Doubled(nn.Module):
    """Two functions of the units (dimension 1), one after the other."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        if self.name == "crelu":
            return torch.cat([functional.relu(z), functional.relu(-z)], 1)
        return torch.cat([torch.sin(z), torch.cos(z)], 1)


class ChannelNorm(nn.Module):
    """Layer normalisation of an image over channels and positions, one gain and shift per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        z = functional.layer_norm(z, z.shape[1:])
        return z * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def network_of(
    method: str, spec: NetworkSpec, seeds: tuple[int, ...] = (0, 1, 2), dtype: torch.dtype = torch.float64
) -> StackedNetwork:
    changed = create_method(method).network(spec)
    return StackedNetwork(changed, SeedRng(seeds, "init"), torch.device("cpu"), dtype)


def module(method: str, spec: NetworkSpec, widths: tuple[int, ...]) -> nn.Sequential:
    """The same network of torch.nn's modules; ``widths``: of all hidden layers, before the activation."""
    made: list[nn.Module] = []
    size, channels, width = spec.inputs[-1], spec.inputs[0], 0
    factor = 2 if "crelu" in method or "fourier" in method else 1

    def finish_layer(norm: nn.Module) -> None:
        made.extend([norm] if "layer-norm" in method else [])
        made.append(nn.ReLU() if factor == 1 else Doubled("crelu" if "crelu" in method else "fourier"))

    for out in widths[: len(spec.channels)]:
        made.append(nn.Conv2d(channels, out, spec.kernel))
        finish_layer(ChannelNorm(out))
        made.append(nn.MaxPool2d(2))
        channels, size = factor * out, (size - spec.kernel + 1) // 2
    made.append(nn.Flatten())
    width = channels * size**2 if spec.channels else spec.inputs[0]
    for out in widths[len(spec.channels) :]:
        made.append(nn.Linear(width, out))
        finish_layer(nn.LayerNorm(out))
        width = factor * out
    return nn.Sequential(*made, nn.Linear(width, spec.outputs)).double()


@pytest.mark.parametrize("spec", [PERCEPTRON, CONVOLUTION], ids=["perceptron", "convolution"])
@pytest.mark.parametrize("method", METHODS)
def test_outputs_and_gradients_are_those_of_torchs_modules(method: str, spec: NetworkSpec) -> None:
    net = network_of(method, spec)
    with torch.no_grad():
        for parameter in trainable(net.layers):  # gains and shifts too, away from where they start
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    x, y = torch.randn(3, 8, *spec.inputs, dtype=torch.float64), torch.randint(0, 4, (3, 8))
    step = net.train_step(cross_entropy_gradient)
    assert isinstance(step, AutogradStep)
    with torch.no_grad():
        outputs = step(x, functional.one_hot(y, 4).double())
    for seed in range(3):
        theirs = module(method, spec, (*net.spec.channels, *net.spec.hidden))
        with torch.no_grad():
            for other, ours in zip(theirs.parameters(), trainable(net.layers), strict=True):
                other.copy_(ours[seed])
        expected = theirs(x[seed])
        torch.testing.assert_close(outputs[seed], expected.detach())
        functional.cross_entropy(expected, y[seed]).backward()
        for other, ours in zip(theirs.parameters(), trainable(net.layers), strict=True):
            assert ours.grad is not None
            assert other.grad is not None
            torch.testing.assert_close(ours.grad[seed], other.grad, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_features_are_the_activations_of_every_hidden_layer(method: str) -> None:
    net = network_of(method, CONVOLUTION)
    net.forward(torch.randn(3, 8, *CONVOLUTION.inputs, dtype=torch.float64))
    factor = 1 if method == "layer-norm" else 2
    for layer in net.layers[:-1]:
        assert layer.features is not None
        assert layer.features.shape[:2] == (3, 8)
        assert layer.features.shape[2] == factor * layer.weight.shape[1]


@pytest.mark.parametrize(
    ("method", "hidden", "count"),
    [
        ("none", (100, 100), 17610),
        ("layer-norm", (100, 100), 17610 + 400),
        ("crelu", (75, 75), 17710),
        ("deep-fourier", (50, 50), 9310),
    ],
)
def test_parameter_counts(method: str, hidden: tuple[int, ...], count: int) -> None:
    net = network_of(method, DIGITS_NETWORK, (0,))
    assert net.spec.hidden == hidden
    assert parameter_count(net.spec) == count == sum(p.numel() for p in trainable(net.layers))


@pytest.mark.parametrize("spec", [PERCEPTRON, CONVOLUTION, DIGITS_NETWORK, NetworkSpec((20,), 1, (5,))])
def test_crelu_has_as_many_parameters_as_whole_widths_allow(spec: NetworkSpec) -> None:
    changed = create_method("crelu").network(spec)
    found, wanted = parameter_count(changed), parameter_count(spec)
    assert all(new <= old for new, old in zip(changed.hidden, spec.hidden, strict=True))
    for by in (-1, 1):
        other = NetworkSpec(
            spec.inputs,
            spec.outputs,
            tuple(max(1, width + by) for width in changed.hidden),
            tuple(max(1, width + by) for width in changed.channels),
            spec.kernel,
            "crelu",
        )
        assert abs(parameter_count(other) - wanted) >= abs(found - wanted)


def test_narrower_networks_start_from_the_initial_distribution_of_their_fan_in() -> None:
    net = network_of("crelu", DIGITS_NETWORK, (0,))
    second = net.layers[1]
    assert second.fan_in == 150
    assert float(second.weight.detach().abs().max()) == pytest.approx(150**-0.5, rel=1e-2)


def test_layer_norm_starts_with_gain_one_and_shift_zero_and_learns_both() -> None:
    made = learner("layer-norm")
    hidden, last = made.layers[:-1], made.layers[-1]
    assert last.gain is None
    assert last.shift is None
    norms = [(layer.gain, layer.shift) for layer in hidden]
    for gain, shift in norms:
        assert gain is not None
        assert shift is not None
        assert bool((gain == 1).all())
        assert not bool(shift.any())
    finish(made)
    for gain, shift in norms:
        assert gain is not None
        assert shift is not None
        assert not bool((gain == 1).any())
        assert not bool((shift == 0).any())


def test_gain_and_shift_count_in_the_norms() -> None:
    made = learner("layer-norm", (3,))
    tables = finish(made)[0]
    everything = torch.cat([p.detach().flatten() for p in trainable(made.layers)]).double()
    assert tables[-1, 11] == pytest.approx(float(everything.norm()))  # weight_norm of the last task
    weights = torch.cat([p.detach().flatten() for layer in made.layers for p in layer.parameters()]).double()
    assert float(everything.norm()) > 1.05 * float(weights.norm())


def test_reset_restores_gain_and_shift() -> None:
    made = learner("layer-norm+reset")
    while made.task == 0:
        made.advance()
    for layer in made.layers[:-1]:
        assert layer.gain is not None
        assert layer.shift is not None
        assert bool((layer.gain == 1).all())
        assert not bool(layer.shift.any())
        assert not any(m.any() for p in (layer.gain, layer.shift) for m in made.trained.optimizer.moments(p))


def test_decay_leaves_gain_and_shift_alone() -> None:
    made = learner("layer-norm+l2:strength=0.5")
    made.network.gradient.zero_()
    with torch.no_grad():
        made.trained.method.before_update(made.layers, made.trained.optimizer)
    for layer in made.layers[:-1]:
        assert layer.weight.grad is not None
        assert bool(layer.weight.grad.any())
        for parameter in (layer.gain, layer.shift):
            assert parameter is not None
            assert parameter.grad is not None
            assert not bool(parameter.grad.any())


def test_plain_networks_keep_the_step_by_hand() -> None:
    for method, kind in (("none", ReluPerceptronStep), ("layer-norm", AutogradStep), ("crelu", AutogradStep)):
        assert type(network_of(method, PERCEPTRON).train_step(cross_entropy_gradient)) is kind


def test_impossible_networks_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="two activations"):
        learner("crelu+deep-fourier")
    with pytest.raises(InputError, match='unknown norm "group"'):
        StackedNetwork(
            NetworkSpec((6,), 4, (5,), norm="group"),
            SeedRng([0], "init"),
            torch.device("cpu"),
            torch.float32,
        )


@pytest.mark.parametrize("spec", [PERCEPTRON, CONVOLUTION], ids=["perceptron", "convolution"])
@pytest.mark.parametrize("method", ["none", *METHODS])
def test_expected_work_counts_the_multiplications(method: str, spec: NetworkSpec) -> None:
    net = network_of(method, spec)
    net.forward(torch.randn(3, 1, *spec.inputs, dtype=torch.float64))
    work = 0
    for layer, shape in zip(net.layers, layer_shapes(net.spec), strict=True):
        positions = math.prod(layer.features.shape[3:]) if layer.features is not None else 1
        assert layer.weight.shape[1:] == shape.weight
        work += layer.weight[0].numel() * positions
    assert update_multiplications(structs.replace(made_config(), network=net.spec)) == 3 * 16 * work


#: What version 1 of the protocol recorded for permuted-digits, before networks could be normalised.
RECORDED = {
    "inputs": [64],
    "outputs": 10,
    "hidden": [100, 100],
    "channels": [],
    "kernel": 5,
    "activation": "relu",
    "init": "torch",
}


def test_cells_recorded_before_normalisation_stay_valid(tmp_path: Path) -> None:
    plan = plan_cell(DIGITS, "none")
    config = configuration(plan.stream, plan.method)
    assert json.loads(config.to_bytes())["network"] == RECORDED
    assert method_folder(choose_method("none")) == "none-5e75a74e"
    path = tmp_path / "permuted-digits-v1_tasks=3" / "none-5e75a74e"
    path.mkdir(parents=True)
    write_json(path / "config.json", {**config.as_json(), "network": RECORDED})
    assert open_cells(tmp_path, [plan], [0])[0].cell.path == path
    changed = configuration(choose_stream(DIGITS), choose_method("layer-norm"))
    assert changed.network == replace(config.network, norm="layer")
