"""Dropout, batch normalisation and normalize-and-project: against independent computations."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from plasticity_bench.agents.gradients import AutogradStep, ReluPerceptronStep
from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.agents.networks import (
    StackedNetwork,
    cross_entropy_gradient,
)
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.errors import InputError
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import NetworkSpec
from tests.support.learners import few_test_images, finish, learner
from tests.support.method_bench import Bench

PERCEPTRON = NetworkSpec((6,), 4, (9, 7))
CONVOLUTION = NetworkSpec((2, 14, 14), 4, (7,), channels=(3, 6), kernel=3)
KINDS = pytest.mark.parametrize("spec", [PERCEPTRON, CONVOLUTION], ids=["perceptron", "convolution"])
SEEDS = (0, 4, 5)
MNIST = "permuted-mnist:tasks=2,images=384,epochs=2"


@pytest.fixture(autouse=True)
def quickly_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    few_test_images(monkeypatch, 100)


def network_of(method: str, spec: NetworkSpec) -> StackedNetwork:
    changed = create_method(method).network(spec)
    made = StackedNetwork(changed, SeedRng(SEEDS, "init"), torch.device("cpu"), torch.float64)
    made.rng = SeedRng(SEEDS, "method")
    return made


def batch(spec: NetworkSpec) -> tuple[torch.Tensor, torch.Tensor]:
    y = functional.one_hot(torch.randint(0, 4, (len(SEEDS), 8)), 4).double()
    return torch.randn(len(SEEDS), 8, *spec.inputs, dtype=torch.float64), y


def batch_normalised(net: StackedNetwork, seed: int) -> nn.Sequential:
    """One seed's network of torch's modules."""
    made: list[nn.Module] = []
    for layer in net.layers:
        out, inputs = layer.weight.shape[1:3]
        if layer.kind == "conv":
            made += [nn.Conv2d(inputs, out, net.spec.kernel), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
            continue
        made += [nn.Flatten(), nn.Linear(inputs, out)]
        made += [nn.BatchNorm1d(out), nn.ReLU()] if layer.hidden else []
    theirs = nn.Sequential(*made).double()
    with torch.no_grad():
        for other, ours in zip(theirs.parameters(), trainable(net.layers), strict=True):
            other.copy_(ours[seed])
    return theirs


@KINDS
def test_batch_norm_is_torchs(spec: NetworkSpec) -> None:
    """Outputs, gradients and statistics of three training batches; each seed compared with a network."""
    net = network_of("batch-norm", spec)
    with torch.no_grad():
        for parameter in trainable(net.layers):  # gains and shifts too, away from their initial values
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    theirs = [batch_normalised(net, s) for s in range(len(SEEDS))]
    step = net.train_step(cross_entropy_gradient)
    for _ in range(3):
        x, y = batch(spec)
        with torch.no_grad():
            outputs = step(x, y)
        for s, module in enumerate(theirs):
            module.zero_grad()
            expected = module(x[s])
            torch.testing.assert_close(outputs[s], expected.detach())
            functional.cross_entropy(expected, y[s]).backward()
            for other, ours in zip(module.parameters(), trainable(net.layers), strict=True):
                assert ours.grad is not None
                torch.testing.assert_close(ours.grad[s], other.grad, rtol=1e-8, atol=1e-11)
    x, _ = batch(spec)
    running = [tensor for layer in net.layers for tensor in layer.buffers()]
    before = [tensor.clone() for tensor in running]
    for s, module in enumerate(theirs):
        module.eval()
        torch.testing.assert_close(net.forward(x)[s], module(x[s]))
        buffers = [b for name, b in module.named_buffers() if "num" not in name]
        for statistic, buffer in zip(running, buffers, strict=True):
            torch.testing.assert_close(statistic[s], buffer)
    assert all(torch.equal(now, then) for now, then in zip(running, before, strict=True))


def test_the_bias_that_batch_norm_takes_out_has_no_gradient() -> None:
    net = network_of("batch-norm", PERCEPTRON)
    net.gradient.fill_(1)
    net.train_step(cross_entropy_gradient)(*batch(PERCEPTRON))
    assert [bool(layer.bias.grad.any()) for layer in net.layers if layer.bias.grad is not None] == [
        False,
        False,
        True,
    ]


def test_batch_statistics_of_a_seed_do_not_see_other_seeds() -> None:
    net, (x, y) = network_of("batch-norm", PERCEPTRON), batch(PERCEPTRON)
    other = network_of("batch-norm", PERCEPTRON)
    net.train_step(cross_entropy_gradient)(x, y)
    x[1:] *= 100
    other.train_step(cross_entropy_gradient)(x, y)
    for ours, theirs in zip(net.extras()["statistics"], other.extras()["statistics"], strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert not torch.equal(ours[1], theirs[1])


def test_resets_restore_running_statistics() -> None:
    for method, fresh in (("batch-norm+reset", [0, 1]), ("batch-norm+layer-reset", [1])):
        made = learner(method)
        while made.task == 0:
            made.advance()
        for i, layer in enumerate(made.layers[:-1]):
            mean, variance = layer.buffers()
            assert (not mean.any() and bool((variance == 1).all())) == (i in fresh)
    made = learner("batch-norm+redo:tau=0.9,period=112")
    while made.task == 0:
        made.advance()
    mean, variance = made.layers[0].buffers()
    again = mean == 0
    assert 0 < int(again.sum()) < again.numel()
    assert torch.equal(again, variance == 1)


def test_batch_norm_is_refused_for_single_examples_and_with_layer_norm() -> None:
    with pytest.raises(InputError, match="more than one example"):
        learner("batch-norm", stream="online-permuted-mnist:tasks=2,batch_size=1")
    with pytest.raises(InputError, match="two normalisations"):
        learner("layer-norm+batch-norm")


def dropped(net: StackedNetwork, seed: int, x: torch.Tensor, factors: list[torch.Tensor]) -> torch.Tensor:
    """One seed's network with these factors of every hidden layer."""
    for layer, factor in zip(net.layers, [*factors, None], strict=True):
        weight, bias = layer.weight[seed], layer.bias[seed]
        if layer.kind == "conv":
            x = functional.relu(functional.conv2d(x, weight, bias)) * factor[seed][..., None, None]  # type: ignore[index]
            x = functional.max_pool2d(x, 2)
            continue
        x = functional.linear(x.flatten(1), weight, bias)
        x = functional.relu(x) * factor[seed] if factor is not None else x
    return x


@KINDS
def test_dropout_multiplies_hidden_activations_by_drawn_factors(spec: NetworkSpec) -> None:
    net = network_of("dropout:p=0.4", spec)
    step = net.train_step(cross_entropy_gradient)
    assert isinstance(step, AutogradStep if spec.channels else ReluPerceptronStep)
    x, y = batch(spec)
    rng = SeedRng(SEEDS, "method")
    widths = [layer.bias.shape[1] for layer in net.layers[:-1]]
    factors = [rng.kept(torch.empty(len(SEEDS), 8, w, dtype=torch.float64), 0.4) for w in widths]
    step.keep_features = True
    with torch.no_grad():
        outputs = step(x, y)
    plain = StackedNetwork(spec, SeedRng(SEEDS, "init"), torch.device("cpu"), torch.float64)
    for s in range(len(SEEDS)):
        expected = dropped(net, s, x[s], factors)
        torch.testing.assert_close(outputs[s], expected.detach())
        loss = functional.cross_entropy(expected, y[s])
        for ours, gradient in zip(
            trainable(net.layers), torch.autograd.grad(loss, trainable(net.layers)), strict=True
        ):
            assert ours.grad is not None
            torch.testing.assert_close(ours.grad[s], gradient[s], rtol=1e-8, atol=1e-11)
    # Predictions are the whole network's, and the first layer's activations are recorded before dropping.
    assert torch.equal(net.forward(x), plain.forward(x))
    kept = net.layers[0].features
    step(x, y)
    assert torch.equal(net.layers[0].features, kept)  # type: ignore[arg-type]


def test_factors_of_dropout_have_their_distribution_and_seeds_their_own() -> None:
    rng, alone = SeedRng((3, 9), "method"), SeedRng((9,), "method")
    factors = rng.kept(torch.empty(2, 100, 501), 0.3)
    assert torch.equal(factors[1:], alone.kept(torch.empty(1, 100, 501), 0.3))
    assert float((factors == 0).float().mean()) == pytest.approx(0.3, abs=0.005)
    assert set(factors.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.7))}
    plain = SeedRng((9,), "method", stacked=False).kept(torch.empty(100, 501), 0.3)
    assert torch.equal(plain, factors[1])
    assert not torch.equal(rng.kept(torch.empty(2, 100, 501), 0.3), factors)


@pytest.mark.parametrize("stream", ["permuted-digits:tasks=2", MNIST])
@pytest.mark.parametrize("method", ["dropout:p=0.5", "batch-norm"])
def test_online_performance_is_that_of_the_network_that_predicts(method: str, stream: str) -> None:
    """Each batch's accuracy, taken by hand before the update on it, in evaluation mode."""
    made = learner(method, (2, 3), stream=stream)
    other = learner(method, (2, 3), stream=stream)
    correct = torch.zeros(2)
    while other.task == 0:
        other.piece = 1
        (x,), (y,) = other.current.batches(other.step, other.step + 1)
        correct += (other.network.forward(x).argmax(-1) == y).float().mean(1)
        other.advance()
    while made.task == 0:
        made.advance()
    found = [rows[0]["online_performance"] for rows in made.rows]
    np.testing.assert_allclose(found, (correct / made.stream.steps).numpy(), rtol=1e-5)
    for ours, theirs in zip(trainable(made.layers), trainable(other.layers), strict=True):
        assert torch.equal(ours, theirs)  # the evaluation changes nothing


@pytest.mark.parametrize("method", ["dropout", "batch-norm", "layer-norm"])
def test_diagnostics_leave_no_trace(method: str) -> None:
    made = learner(method)
    made.advance()
    made.current = made.source.task(0)
    before = copy.deepcopy(made.state_dict())
    with torch.no_grad():
        first = made._diagnostics([p.detach().clone() for p in trainable(made.layers)])
        second = made._diagnostics([p.detach().clone() for p in trainable(made.layers)])
    assert str(made.state_dict()) == str(before)
    assert all(torch.equal(first[name], second[name]) for name in first)


def norms(layers: list[Layer]) -> list[np.ndarray]:
    return [np.sqrt((layer.weight.detach().numpy() ** 2).reshape(2, -1).sum(1)) for layer in layers]


@pytest.mark.parametrize("stream", ["permuted-digits:tasks=2", MNIST])
def test_projected_weights_keep_their_initial_norm_and_direction_of_change(stream: str) -> None:
    made = learner("normalize-and-project", stream=stream, dtype=torch.float64)
    initial = norms(made.layers)
    while made.task == 0:
        made.advance()
    for layer, norm, start in zip(made.layers, norms(made.layers), initial, strict=True):
        if not layer.hidden:
            assert not np.allclose(norm, start, rtol=1e-3)  # the output layer is free
            assert layer.bias.any()
            continue
        np.testing.assert_allclose(norm, start, rtol=1e-12)
        assert not layer.bias.any()
        assert layer.gain is not None
        assert layer.shift is not None
        joint = np.sqrt((layer.gain.detach() ** 2 + layer.shift.detach() ** 2).sum(1))
        np.testing.assert_allclose(joint, layer.bias.shape[1] ** 0.5, rtol=1e-12)
        assert layer.shift.any()


def test_projection_scales_what_the_optimizer_left() -> None:
    bench = Bench(create_method("normalize-and-project:output=true"), "normalised", "adam")
    twin = Bench(create_method("none"), "normalised", "adam")
    starts = [layer.weight.detach().clone() for layer in bench.layers]
    for layer in twin.layers[:-1]:
        layer.bias.data.zero_()
    bench.step()
    twin.step()
    for layer, plain, start in zip(bench.layers, twin.layers, starts, strict=True):
        for s in range(2):
            moved = plain.weight.detach()[s]
            expected = moved * float(start[s].norm()) / float(moved.norm())
            torch.testing.assert_close(layer.weight.detach()[s], expected, rtol=1e-12, atol=0)
        if layer.gain is not None and layer.shift is not None and plain.gain is not None:
            ratio = layer.gain.detach() / plain.gain.detach()
            assert plain.shift is not None
            torch.testing.assert_close(layer.shift.detach(), plain.shift.detach() * ratio[:, :1])
            assert float((ratio - ratio[:, :1]).abs().max()) < 1e-12


def test_parts_of_normalize_and_project_can_be_left_out() -> None:
    alone = finish(learner("normalize-and-project:project=false"))
    assert np.array_equal(alone, finish(learner("layer-norm")), equal_nan=True)
    made = learner("normalize-and-project:normalize=false", dtype=torch.float64)
    initial = norms(made.layers)
    finish(made)
    np.testing.assert_allclose(norms(made.layers)[:2], initial[:2], rtol=1e-12)
    assert all(layer.gain is None and layer.bias.any() for layer in made.layers[:-1])


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("dropout:p=1", "below 1"),
        ("dropout:p=-0.1", "at least 0"),
    ],
)
def test_mistakes_are_one_line(text: str, phrase: str) -> None:
    with pytest.raises(InputError) as caught:
        create_method(text)
    assert phrase in str(caught.value)
    assert "\n" not in str(caught.value)
