"""Networks and the learner against autograd and torch's own modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from plasticity_bench.agents.forward import halve
from plasticity_bench.agents.gradients import AutogradStep, ReluPerceptronStep
from plasticity_bench.agents.layers import parameters
from plasticity_bench.agents.networks import (
    StackedNetwork,
    cross_entropy_gradient,
    squared_error_gradient,
)
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.errors import InputError
from plasticity_bench.seeding import generator
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from tests.support.learners import finish, learner

CPU = torch.device("cpu")
PERCEPTRON = NetworkSpec((6,), 4, (7, 5))
CONVOLUTION = NetworkSpec((2, 14, 14), 4, (7,), channels=(3, 5), kernel=3)


def network(
    spec: NetworkSpec, seeds: tuple[int, ...] = (0, 1, 2), dtype: torch.dtype = torch.float64
) -> StackedNetwork:
    return StackedNetwork(spec, SeedRng(seeds, "init"), CPU, dtype)


def plain_outputs(net: StackedNetwork, seed: int, x: torch.Tensor) -> torch.Tensor:
    """One seed's network, written with torch.nn.functional alone."""
    for layer in net.layers:
        weight, bias = layer.weight[seed], layer.bias[seed]
        if layer.kind == "conv":
            x = functional.max_pool2d(functional.relu(functional.conv2d(x, weight, bias)), 2)
        else:
            x = functional.linear(x.flatten(1), weight, bias)
            x = functional.relu(x) if layer.hidden else x
    return x


@pytest.mark.parametrize("spec", [PERCEPTRON, CONVOLUTION], ids=["perceptron", "convolution"])
@pytest.mark.parametrize("regression", [False, True])
def test_outputs_and_gradients_are_torchs(spec: NetworkSpec, regression: bool) -> None:
    net = network(spec)
    x = torch.randn(3, 8, *spec.inputs, dtype=torch.float64)
    y = torch.randint(0, 4, (3, 8))
    target = torch.randn(3, 8, 4, dtype=torch.float64) if regression else functional.one_hot(y, 4).double()
    step = net.train_step(squared_error_gradient if regression else cross_entropy_gradient)
    with torch.no_grad():
        outputs = step(x, target)
    for seed in range(3):
        expected = plain_outputs(net, seed, x[seed])
        torch.testing.assert_close(outputs[seed], expected.detach())
        loss = (
            functional.mse_loss(expected, target[seed])
            if regression
            else functional.cross_entropy(expected, y[seed])
        )
        theirs = torch.autograd.grad(loss, parameters(net.layers))
        for ours, gradient in zip(parameters(net.layers), theirs, strict=True):
            assert ours.grad is not None
            torch.testing.assert_close(ours.grad[seed], gradient[seed], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 4, 24, 24), (2, 3, 9, 7), (1, 1, 2, 3)])
def test_pooling_is_bit_identical_to_torchs_kernel_with_ties(shape: tuple[int, ...]) -> None:
    """Rounded numbers after a ReLU: most windows have several maxima, and the first gets the gradient."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).round(decimals=0).relu()
    with torch.no_grad():
        assert torch.equal(halve(x), functional.max_pool2d(x, 2))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    pooled = halve(ours)
    assert torch.equal(pooled, functional.max_pool2d(x, 2))
    assert pooled.is_contiguous(), "the next convolution's bits depend on it"
    upstream = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1))
    pooled.backward(upstream)
    functional.max_pool2d(theirs, 2).backward(upstream)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


def test_fused_adam_is_bit_identical_to_torchs_optimizer() -> None:
    rng = torch.Generator().manual_seed(0)
    flat, gradient = torch.randn(1000, generator=rng), torch.zeros(1000)
    theirs = torch.nn.Parameter(flat.clone())
    spec = OptimizerSpec("adam", 3e-3, betas=(0.8, 0.99), eps=1e-6)
    ours = FlatOptimizer(flat, gradient, spec)
    peer = torch.optim.Adam([theirs], lr=3e-3, betas=(0.8, 0.99), eps=1e-6, fused=True)
    for _ in range(20):
        gradient.copy_(torch.randn(1000, generator=rng))
        theirs.grad = gradient.clone()
        ours.step()
        peer.step()
    assert torch.equal(flat, theirs.detach())
    assert torch.equal(ours.state["exp_avg_sq"], peer.state[theirs]["exp_avg_sq"])
    assert ours.step_count.item() == 20


def test_gradients_by_hand_and_by_autograd_are_the_same() -> None:
    net = network(PERCEPTRON)
    x, target = (
        torch.randn(3, 8, 6, dtype=torch.float64),
        functional.one_hot(torch.randint(0, 4, (3, 8)), 4).double(),
    )
    found = []
    for kind in (ReluPerceptronStep, AutogradStep):
        net.gradient.fill_(float("nan"))
        with torch.no_grad():
            kind(net, cross_entropy_gradient)(x, target)
        found.append([p.grad.clone() for p in parameters(net.layers) if p.grad is not None])
    for by_hand, by_autograd in zip(*found, strict=True):
        torch.testing.assert_close(by_hand, by_autograd, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "leaky-relu"])
def test_other_activations_train(activation: str) -> None:
    net = network(NetworkSpec((6,), 4, (7,), activation=activation))
    step = net.train_step(cross_entropy_gradient)
    assert isinstance(step, AutogradStep)
    with torch.no_grad():
        step(
            torch.randn(3, 8, 6, dtype=torch.float64),
            functional.one_hot(torch.randint(0, 4, (3, 8)), 4).double(),
        )
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters(net.layers))


@pytest.mark.parametrize(
    ("init", "bound", "bias"), [("torch", 1 / 8, 1 / 8), ("kaiming", (6 / 64) ** 0.5, 0.0)]
)
def test_initial_distribution(init: str, bound: float, bias: float) -> None:
    net = network(NetworkSpec((64,), 10, (500,), init=init), (0,))
    layer = net.layers[0]
    assert float(layer.weight.detach().abs().max()) == pytest.approx(bound, rel=1e-2)
    assert float(layer.weight.detach().std()) == pytest.approx(layer.initial_std(layer.weight), rel=2e-2)
    assert float(layer.bias.detach().abs().max()) == pytest.approx(bias, rel=2e-2)
    assert layer.fan_in == 64
    reference = torch.nn.Linear(64, 500)
    if init == "torch":
        assert float(reference.weight.detach().abs().max()) == pytest.approx(bound, rel=1e-2)
    assert network(CONVOLUTION).layers[1].fan_in == 3 * 3 * 3


def test_seeds_do_not_depend_on_their_neighbours() -> None:
    """Stacked and single seeds draw the same numbers, and no two generators draw the same sequence."""
    both, alone = SeedRng([3, 9], "method"), SeedRng([9], "method")
    like = torch.empty(2, 4, 5)
    for draw in ("normal", "uniform"):
        assert torch.equal(getattr(both, draw)(like)[1], getattr(alone, draw)(like[:1])[0])
    firsts = {
        generator(s, p, *k).random()
        for s in (0, 1)
        for p in ("data", "init", "method")
        for k in ((), (0,), (1,))
    }
    assert len(firsts) == 18


def test_learner_stacks_convolutions_like_single_networks() -> None:
    stream = "permuted-mnist:tasks=2,images=640"
    stacked = finish(learner("syre", (0, 1), stream=stream))
    alone = finish(learner("syre", (1,), stream=stream))
    np.testing.assert_allclose(alone[0, :, 1:4], stacked[1, :, 1:4], rtol=0.02)


def test_impossible_networks_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="do not fit"):
        network(NetworkSpec((1, 8, 8), 4, (), channels=(3, 3, 3)))
    with pytest.raises(InputError, match="unknown activation"):
        network(NetworkSpec((8,), 4, (), activation="relo"))
