"""Syre's properties, shown in double precision with parts of the benchmark's learner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from plasticity_bench.agents.layers import parameters
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.methods.decay import L2
from plasticity_bench.agents.methods.none import NoMethod
from plasticity_bench.agents.methods.syre import Syre
from plasticity_bench.agents.networks import StackedNetwork, squared_error_gradient
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.specs import NetworkSpec, OptimizerSpec

HIDDEN, GROUPS = 25, 5
CPU = torch.device("cpu")


class Bench:
    """A two-layer ReLU teacher-student problem, full batch, the student's hidden units in clone groups."""

    def __init__(self, method: Method, optimizer: OptimizerSpec, seed: int = 0, cloned: bool = True) -> None:
        spec = NetworkSpec((8,), 1, (HIDDEN,))
        teacher = StackedNetwork(spec, SeedRng([1000 + seed], "init"), CPU, torch.float64)
        with torch.no_grad():
            for parameter in parameters(teacher.layers):
                parameter.mul_(4)  # the initial distribution is small for a teacher
            rng = SeedRng([seed], "data")
            self.x = rng.normal(torch.empty(1, 200, 8, dtype=torch.float64))
            self.y = teacher.forward(self.x)
            self.network = StackedNetwork(spec, SeedRng([seed], "init"), CPU, torch.float64)
            first, second = self.network.layers
            if cloned:  # unit i starts equal to unit i % GROUPS, in its inputs, bias and output
                for parameter in (first.weight, first.bias):
                    parameter.copy_(parameter[:, :GROUPS].repeat_interleave(HIDDEN // GROUPS, 1))
                second.weight.copy_(second.weight[..., :GROUPS].repeat_interleave(HIDDEN // GROUPS, -1))
            self.optimizer = FlatOptimizer(self.network.flat, self.network.gradient, optimizer)
            self.method = method
            method.setup(self.network.layers, SeedRng([seed], "method"))
        self.gradients = self.network.train_step(squared_error_gradient)

    @torch.no_grad()
    def train(self, steps: int) -> None:
        """Full-batch steps with the method's hooks."""
        for _ in range(steps):
            self.gradients(self.x, self.y)
            self.method.before_update(self.network.layers, self.optimizer)
            self.optimizer.step()

    @torch.no_grad()
    def loss(self) -> float:
        """Mean squared error."""
        return float((self.network.forward(self.x) - self.y).square().mean())

    @torch.no_grad()
    def feature_rank(self) -> int:
        """Singular values of the hidden features above 1e-3 of the largest."""
        self.network.forward(self.x)
        features = self.network.layers[0].features
        assert features is not None
        values = torch.linalg.svdvals(features[0])
        return int((values > 1e-3 * values[0]).sum())


ARMS = ("none", "l2", "syre gamma=1e-4", "syre gamma=1e-3")


@pytest.fixture(scope="module", params=ARMS)
def escaped(request: pytest.FixtureRequest) -> tuple[str, Bench]:
    """Every variant after the same 20,000 steps of gradient descent with step size 0.05."""
    methods: dict[str, Method] = {
        "none": NoMethod(),
        "l2": L2(strength=2e-3),  # torch's weight decay is twice the paper's gamma
        "syre gamma=1e-4": Syre(strength=2e-4),
        "syre gamma=1e-3": Syre(strength=2e-3),
    }
    bench = Bench(methods[request.param], OptimizerSpec("sgd", 0.05))
    assert bench.feature_rank() == GROUPS  # the effective weights start cloned, not the offset ones
    bench.train(20_000)
    return request.param, bench


def test_syre_escapes_cloned_units_and_the_others_do_not(escaped: tuple[str, Bench]) -> None:
    arm, bench = escaped
    if arm.startswith("syre"):
        assert bench.feature_rank() >= 22
        assert bench.loss() < 0.03
    else:
        assert GROUPS <= bench.feature_rank() <= GROUPS + 1
        assert bench.loss() > 0.15


def test_an_offset_without_decay_leaves_a_symmetric_point_symmetric() -> None:
    """Proposition 1: in the offset form, gradient descent on loss(theta + theta_0) follows psi's own path."""
    plain = Bench(NoMethod(), OptimizerSpec("sgd", 0.05))
    offset = SeedRng([9], "method").normal(plain.network.flat.unsqueeze(0))[0] * 0.01
    theta = (plain.network.flat - offset).requires_grad_()
    for _ in range(200):
        (gradient,) = torch.autograd.grad(functional_loss(plain, theta + offset), theta)
        with torch.no_grad():
            theta -= 0.05 * gradient
    plain.train(200)
    torch.testing.assert_close((theta + offset).detach(), plain.network.flat, rtol=0, atol=1e-12)


@pytest.mark.parametrize("anisotropy", [0.0, 0.1])
def test_force_off_a_symmetric_point_is_minus_two_gamma_p_theta0(anisotropy: float) -> None:
    """At P psi = 0 the loss has no gradient along P, so what acts is -2 gamma P D theta_0."""
    gamma = 1e-3
    bench = Bench(Syre(strength=2 * gamma, anisotropy=anisotropy), OptimizerSpec("sgd", 0.05))
    first, second = bench.network.layers
    with torch.no_grad():
        bench.gradients(bench.x, bench.y)
        bench.method.before_update(bench.network.layers, bench.optimizer)

    def along(tensors: list[torch.Tensor]) -> torch.Tensor:
        """The swap of clones 0 and 1, as P = u u^T: differences of their weights, biases and outputs."""
        weight, bias, out = tensors
        parts = (weight[0, 0] - weight[0, 1], (bias[0, 0] - bias[0, 1])[None], out[0, :, 0] - out[0, :, 1])
        return torch.cat(parts) / 2**0.5

    syre = bench.method
    assert isinstance(syre, Syre)
    scale = [1 + d for d in syre.deviation] if syre.deviation else [torch.ones(())] * 4
    scaled = [o * d for o, d in zip(syre.offset, scale, strict=True)]
    # The centre enters as D (psi - theta_0); P D psi vanishes only for D = 1, so it is subtracted.
    tilt = [d * p.detach() for d, p in zip(scale, parameters(bench.network.layers), strict=True)]
    gradients = [first.weight.grad, first.bias.grad, second.weight.grad]
    force = -along([g for g in gradients if g is not None])
    expected = 2 * gamma * (along(scaled[:3]) - along(tilt[:3]))
    assert float(expected.abs().max()) > 1e-7
    torch.testing.assert_close(force, expected, rtol=1e-9, atol=1e-15)


def functional_loss(bench: Bench, flat: torch.Tensor) -> torch.Tensor:
    """The bench's loss at other weights, written without the product's network."""
    parts = []
    for p in parameters(bench.network.layers):
        start = p.storage_offset()
        parts.append(flat[start : start + p.numel()].view(p.shape[1:]))
    w1, b1, w2, b2 = parts
    outputs = torch.relu(bench.x[0] @ w1.T + b1) @ w2.T + b2
    return (outputs - bench.y[0]).square().mean()


@pytest.mark.parametrize(
    ("spec", "decoupled", "reference"),
    [
        (OptimizerSpec("sgd", 0.05), False, torch.optim.SGD),
        (OptimizerSpec("sgd", 0.05), True, torch.optim.SGD),
        (OptimizerSpec("sgd", 0.02, momentum=0.9), False, torch.optim.SGD),
        (OptimizerSpec("adam", 0.01), False, torch.optim.Adam),
        (OptimizerSpec("adam", 0.01), True, torch.optim.AdamW),
    ],
    ids=["SGD", "SGD decoupled", "SGD momentum", "Adam coupled", "AdamW"],
)
def test_offset_form_and_shifted_decay_give_the_same_trajectory(
    spec: OptimizerSpec, decoupled: bool, reference: Callable[..., torch.optim.Optimizer]
) -> None:
    """theta under torch's own weight decay in loss(theta + theta_0), against psi under ours."""
    strength = 0.03
    bench = Bench(Syre(strength=strength, sigma=0.5, decoupled=decoupled), spec, cloned=False)
    syre = bench.method
    assert isinstance(syre, Syre)
    offset = torch.zeros_like(bench.network.flat)
    for p, o in zip(parameters(bench.network.layers), syre.offset, strict=True):
        offset[p.storage_offset() : p.storage_offset() + p.numel()] = o.flatten()
    theta = (bench.network.flat - offset).clone().requires_grad_()
    more: dict[str, Any] = {"momentum": spec.momentum} if spec.momentum else {}
    optimizer = reference([theta], lr=spec.lr, weight_decay=strength, **more)
    for _ in range(200):
        bench.train(1)
        optimizer.zero_grad()
        functional_loss(bench, theta + offset).backward()
        optimizer.step()
        torch.testing.assert_close((theta + offset).detach(), bench.network.flat, rtol=0, atol=1e-9)


def test_offset_is_relative_to_each_parameters_initial_deviation() -> None:
    bench = Bench(Syre(sigma=0.01), OptimizerSpec("sgd", 0.05), cloned=False)
    syre = bench.method
    assert isinstance(syre, Syre)
    big = StackedNetwork(
        NetworkSpec((400,), 10, (300,), init="kaiming"), SeedRng([0], "init"), CPU, torch.float64
    )
    syre.setup(big.layers, SeedRng([0], "method"))
    for layer, offset in zip(big.layers, syre.offset[::2], strict=True):
        spread = float(layer.weight.detach().std())
        assert float(offset.std()) == pytest.approx(0.01 * spread, rel=0.1)
    # Biases that start at zero would keep their symmetry: they take their weights' deviation.
    assert float(syre.offset[1].std()) == pytest.approx(
        0.01 * float(big.layers[0].weight.detach().std()), rel=0.2
    )


def test_small_anisotropy_survives_float32() -> None:
    """1 + 1e-9 is 1 in float32; the decay must still differ between parameters."""
    network = StackedNetwork(NetworkSpec((8,), 1, (25,)), SeedRng([0], "init"), CPU, torch.float32)
    syre = Syre(strength=1.0, anisotropy=1e-9)
    syre.setup(network.layers, SeedRng([0], "method"))
    assert syre.deviation is not None
    assert all(d.abs().max() > 0 for d in syre.deviation)
    assert all(torch.unique(d).numel() == d.numel() for d in syre.deviation)
