"""Every diagnostic against an independent computation, written from its definition in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from plasticity_bench.agents import diagnostics
from plasticity_bench.agents.layers import Layer, parameters
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.specs import NetworkSpec
from tests.support.learners import finish, learner


@pytest.fixture
def features() -> torch.Tensor:
    """Three seeds, 64 examples, 16 units after a ReLU: some silent, one nearly so, one seed throughout."""
    generator = torch.Generator().manual_seed(1)
    x = torch.relu(torch.randn(3, 64, 16, generator=generator))
    x[0, :, :3] = 0
    x[0, :, 3] *= 1e-3
    x[1] *= 7.5  # every measure but a norm ignores the scale
    x[2] = 0
    return x


def direct_ranks(matrix: np.ndarray) -> dict[str, float]:
    """From a direct SVD in float64, term by term."""
    s = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    centred = (
        np.linalg.svd(matrix.astype(np.float64) - matrix.mean(0, dtype=np.float64), compute_uv=False) ** 2
    )
    p = [v / s.sum() for v in s if v > 0]
    return {
        "effective_rank": math.exp(-sum(v * math.log(v) for v in p)),
        "srank": next(k for k in range(1, len(s) + 1) if s[:k].sum() / s.sum() >= 0.99),
        "stable_rank": float((matrix.astype(np.float64) ** 2).sum() / s[0] ** 2),
        "covariance_rank": next(k for k in range(1, len(s) + 1) if centred[:k].sum() / centred.sum() >= 0.99),
    }


def one_layer(features: torch.Tensor) -> Layer:
    nothing = torch.nn.Parameter(torch.zeros(1))
    return Layer("linear1", "linear", nothing, nothing, True, 1.0, 1.0, features)


def test_ranks_against_a_direct_svd(features: torch.Tensor) -> None:
    found = diagnostics.layer_diagnostics([one_layer(features)])
    for seed in (0, 1):
        for name, value in direct_ranks(features[seed].numpy()).items():
            assert float(found[name][seed]) == pytest.approx(value, rel=1e-6), name
    assert [float(found[name][2]) for name in ("effective_rank", "srank", "stable_rank")] == [0, 0, 0]


def test_ranks_of_wide_features(features: torch.Tensor) -> None:
    wide = features[:2, :10]  # fewer examples than units
    found = diagnostics.layer_diagnostics([one_layer(wide)])
    for seed in (0, 1):
        for name, value in direct_ranks(wide[seed].numpy()).items():
            assert float(found[name][seed]) == pytest.approx(value, rel=1e-6), name


def test_the_three_ranks_are_named_exactly() -> None:
    """methods.md: on one 64x16 Gaussian matrix they are about 16, 8.3 and 15.5; they are not each other."""
    matrix = torch.randn(1, 64, 16, generator=torch.Generator().manual_seed(0))
    values = diagnostics.singular_values(diagnostics.gram(matrix))
    assert float(diagnostics.share_rank(values)) == 16
    assert 6 < float(diagnostics.stable_rank(values)) < 10
    assert 15 < float(diagnostics.effective_rank(values)) < 16


@pytest.mark.parametrize("rank", [1, 3, 16])
def test_equal_singular_values_count_themselves(rank: int) -> None:
    orthogonal = torch.linalg.qr(torch.randn(64, 16, dtype=torch.float64))[0]
    orthogonal[:, rank:] = 0
    values = diagnostics.singular_values(diagnostics.gram(orthogonal.unsqueeze(0)))
    assert float(diagnostics.effective_rank(values)) == pytest.approx(rank)
    assert float(diagnostics.stable_rank(values)) == pytest.approx(rank)
    assert float(diagnostics.share_rank(values)) == rank


def test_dormancy_by_redos_definition(features: torch.Tensor) -> None:
    found = diagnostics.layer_diagnostics([one_layer(features)])
    for seed in range(3):
        activity = np.abs(features[seed].numpy()).mean(0)
        scores = activity / (activity.mean() + 1e-9)
        assert float(found["dormant_fraction"][seed]) == pytest.approx((scores <= 0.025).mean())
        assert float(found["dormant_fraction_tau0"][seed]) == pytest.approx((scores <= 0).mean())
        dead = [all(features[seed, :, unit] == 0) for unit in range(16)]
        assert float(found["dead_fraction"][seed]) == pytest.approx(np.mean(dead))
    assert float(found["dormant_fraction"][0]) == pytest.approx(4 / 16)  # three silent, one nearly
    assert float(found["dormant_fraction_tau0"][0]) == pytest.approx(3 / 16)
    assert float(found["dormant_fraction"][2]) == 1


@pytest.mark.parametrize("examples", [64, 12])  # more and fewer than units
def test_clones_by_their_definition(features: torch.Tensor, examples: int) -> None:
    features = features[:, :examples].clone()
    features[0, :, 5] = 3 * features[0, :, 4] + 2  # clones, whatever their scale and offset
    features[0, :, 6] = features[0, :, 4] + 1e-3 * features[0, :, 7]
    features[0, :, 8] = -features[0, :, 4]  # its opposite is no clone
    features[1, :, :2] = 7.0  # constant units have none
    features[1, :, 3] = features[1, :, 4] * 1e-4
    found = diagnostics.layer_diagnostics([one_layer(features)])["cloned_fraction"]
    for seed in range(3):
        x = features[seed].double().numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.corrcoef(x.T)
        cloned = [any(correlation[i, j] > 0.99 for j in range(16) if j != i) for i in range(16)]
        assert float(found[seed]) == pytest.approx(np.mean(cloned)), seed
    assert float(found[0]) == 3 / 16
    assert float(found[1]) == 2 / 16
    assert float(found[2]) == 0


def test_units_that_are_constant_but_for_rounding_are_no_clones() -> None:
    constant = torch.full((1, 64, 4), 1000.0)
    constant[0, ::2] += 1e-4 * torch.rand(4)
    moving = torch.randn(1, 64, 2)
    found = diagnostics.layer_diagnostics([one_layer(torch.cat([constant, moving], 2))])
    assert float(found["cloned_fraction"]) == 0


def test_units_of_all_layers_count_alike(features: torch.Tensor) -> None:
    """Fractions are over units, so a wide layer has more weight; ranks are means over layers."""
    small = torch.zeros(3, 64, 4)
    found = diagnostics.layer_diagnostics([one_layer(features), one_layer(small)])
    assert float(found["dead_fraction"][0]) == pytest.approx((3 + 4) / 20)
    alone = diagnostics.layer_diagnostics([one_layer(features)])
    assert float(found["effective_rank"][0]) == pytest.approx(float(alone["effective_rank"][0]) / 2)


def test_convolution_units_are_channels_over_examples_and_positions() -> None:
    network = StackedNetwork(
        NetworkSpec((1, 12, 12), 3, (), channels=(4,)),
        SeedRng([0, 1], "init"),
        torch.device("cpu"),
        torch.float32,
    )
    x = torch.randn(2, 5, 1, 12, 12)
    with torch.no_grad():
        network.forward(x)
    layer = network.layers[0]
    by_hand = torch.relu(torch.nn.functional.conv2d(x[1], layer.weight[1], layer.bias[1]))
    units = diagnostics.unit_features(layer)
    assert units.shape == (2, 5 * 8 * 8, 4)
    torch.testing.assert_close(units[1], by_hand.movedim(1, -1).reshape(-1, 4).detach())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_diverged_networks_give_nan_and_leave_other_seeds_alone(features: torch.Tensor, bad: float) -> None:
    alone = diagnostics.layer_diagnostics([one_layer(features)])
    features[1, 5, 5] = bad
    found = diagnostics.layer_diagnostics([one_layer(features)])
    for name, values in found.items():
        assert math.isnan(values[1]), name
        assert float(values[0]) == float(alone[name][0]), name


def test_norms_in_a_run_are_those_of_a_network_trained_by_torch() -> None:
    """Weight, gradient and update norm of the first task, recomputed with plain torch modules."""
    made = learner("none", (5, 6), stream="permuted-digits:tasks=2")
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 100),
        torch.nn.ReLU(),
        torch.nn.Linear(100, 100),
        torch.nn.ReLU(),
        torch.nn.Linear(100, 10),
    )
    with torch.no_grad():
        for ours, theirs in zip(parameters(made.layers), net.parameters(), strict=True):
            theirs.copy_(ours[1])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    x, y = made.current.batches(0, made.stream.steps)
    probe_x, probe_y = made.current.probe()
    correct = 0
    for inputs, labels in zip(x[:, 1], y[:, 1], strict=True):
        before = [p.detach().clone() for p in net.parameters()]
        outputs = net(inputs)
        correct += int((outputs.argmax(-1) == labels).sum())
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(outputs, labels).backward()
        optimizer.step()

    def norm(tensors: list[torch.Tensor]) -> float:
        return math.sqrt(sum(float((t.double() ** 2).sum()) for t in tensors))

    update = norm([p.detach() - old for p, old in zip(net.parameters(), before, strict=True)])
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(probe_x[1]), probe_y[1]).backward()
    finish(made)
    row = made.rows[1][0]
    assert row["online_performance"] == correct / y[:, 1].numel()
    assert row["weight_norm"] == pytest.approx(norm([p.detach() for p in net.parameters()]), rel=1e-4)
    assert row["update_norm"] == pytest.approx(update, rel=1e-2)
    assert row["gradient_norm"] == pytest.approx(
        norm([p.grad for p in net.parameters() if p.grad is not None]), rel=1e-2
    )
