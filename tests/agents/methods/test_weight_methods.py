"""Methods that pull or reset weights, compared with independent computations in double precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.stats
import torch

from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.methods.layer_reset import HeadReset, LayerReset
from plasticity_bench.agents.methods.parseval import Parseval
from plasticity_bench.agents.methods.spectral import Spectral
from plasticity_bench.agents.methods.wasserstein_init import WassersteinInit
from plasticity_bench.agents.methods.weight_clipping import WeightClipping
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.errors import InputError
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from tests.support.method_bench import SEEDS, SPECS, Bench, Tensors

both = pytest.mark.parametrize("kind", ["perceptron", "convolution"])


def differentiated(layers: Sequence[Layer], loss: Callable[[Layer, int], torch.Tensor]) -> Tensors:
    """Autograd's gradient of a sum over seeds and layers, for every parameter."""
    wanted = trainable(layers)
    with torch.enable_grad():
        total = torch.stack([loss(layer, s) for layer in layers for s in range(len(SEEDS))]).sum()
    found = torch.autograd.grad(total, wanted, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(wanted, found, strict=True)]


@both
def test_weight_clipping_keeps_to_the_bounds_and_moves_nothing_within(kind: str) -> None:
    bench = Bench(WeightClipping(kappa=1.5), kind)
    bench.move(0.5)
    before = bench.now()
    with torch.no_grad():
        bench.method.after_update(bench.layers, bench.optimizer)
    clipped = iter(zip(before, bench.now(), strict=True))
    for layer in bench.layers:
        fan_in = np.prod(layer.weight.shape[2:])
        for old, new in (next(clipped), next(clipped)):
            bound = 1.5 / fan_in**0.5
            assert (old.abs() > bound).any()
            expected = np.minimum(np.maximum(old.numpy(), -bound), bound)
            np.testing.assert_allclose(new.numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("init", ["torch", "kaiming", "lecun"])
def test_weight_clipping_counts_from_the_range_of_the_initial_weights(init: str) -> None:
    spec = NetworkSpec((6,), 4, (7, 5), init=init)
    network = StackedNetwork(spec, SeedRng(SEEDS, "init"), torch.device("cpu"), torch.float64)
    before = [p.detach().clone() for p in trainable(network.layers)]
    optimizer = FlatOptimizer(network.flat, network.gradient, OptimizerSpec("sgd", 0.1))
    with torch.no_grad():
        clipping = [WeightClipping(kappa=kappa) for kappa in (1.0, 0.8)]
        for method in clipping:
            method.setup(network.layers, SeedRng(SEEDS, "method"))
        clipping[0].after_update(network.layers, optimizer)
        assert all(torch.equal(p, old) for p, old in zip(trainable(network.layers), before, strict=True))
        widest = network.layers[0].weight.abs().max()
        clipping[1].after_update(network.layers, optimizer)
    assert float(network.layers[0].weight.detach().abs().max()) == pytest.approx(
        0.8 * network.layers[0].weight_bound
    )
    assert float(network.layers[0].weight.detach().abs().max()) < float(widest)


@both
def test_wasserstein_force_is_the_gradient_of_the_sorted_formula(kind: str) -> None:
    bench = Bench(WassersteinInit(strength=0.7), kind)
    initial = bench.now()
    for _ in range(3):  # the order found in one update is the start for the next one
        bench.move()
        forces = bench.force()
        for now, start, force in zip(bench.now(), initial, forces, strict=True):
            for s in range(len(SEEDS)):
                values = now[s].flatten().requires_grad_()
                (values.sort().values - start[s].flatten().sort().values).square().mean().backward()
                assert values.grad is not None
                torch.testing.assert_close(force[s].flatten(), 0.7 * values.grad)


def test_wasserstein_penalty_is_scipys_distance_and_ignores_permutations() -> None:
    """Along the force the squared 2-Wasserstein distance falls to zero, and scipy's of order 1 too."""
    bench = Bench(WassersteinInit(strength=1.0))
    with torch.no_grad():
        for p in trainable(bench.layers):
            p.copy_(p.flip(-1))
    assert all(not force.any() for force in bench.force())
    initial = bench.now()
    bench.move(0.1)
    weight, start = bench.now()[0][0].flatten().numpy(), initial[0][0].flatten().numpy()
    assert scipy.stats.wasserstein_distance(weight, start) > 0.01
    for _ in range(400):
        for p, force in zip(trainable(bench.layers), bench.force(), strict=True):
            with torch.no_grad():
                p.sub_(force)
    weight = bench.now()[0][0].flatten().numpy()
    assert scipy.stats.wasserstein_distance(weight, start) < 1e-6
    np.testing.assert_allclose(np.sort(weight), np.sort(start), atol=1e-6)


def spectral_loss(layer: Layer, s: int, k: int) -> torch.Tensor:
    sigma = torch.linalg.svdvals(layer.weight[s].flatten(1))[0]
    loss = (sigma**k - 1).square() + torch.linalg.vector_norm(layer.bias[s]) ** (2 * k)
    if layer.gain is not None and layer.shift is not None:
        loss = loss + ((layer.gain[s] ** k - 1) ** 2).sum() + (layer.shift[s] ** (2 * k)).sum()
    return loss


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_spectral_force_is_the_gradient_through_the_svd(kind: str, k: int) -> None:
    bench = Bench(Spectral(strength=0.3, k=k), kind)
    bench.move(0.1)
    for _ in range(500):  # the vectors are kept: they converge from update to update
        bench.force()
    expected = differentiated(bench.layers, lambda layer, s: 0.3 * spectral_loss(layer, s, k))
    for ours, theirs in zip(bench.force(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@both
def test_spectral_drives_the_largest_singular_value_to_one(kind: str) -> None:
    bench = Bench(Spectral(strength=1.0), kind)
    bench.move(0.5)

    def sigmas() -> torch.Tensor:
        return torch.stack(
            [torch.linalg.svdvals(layer.weight.detach().flatten(2))[:, 0] for layer in bench.layers]
        )

    assert ((sigmas() - 1).abs() > 0.2).all()
    for _ in range(750):
        for p, force in zip(trainable(bench.layers), bench.force(), strict=True):
            with torch.no_grad():
                p.sub_(force, alpha=0.02)
    torch.testing.assert_close(sigmas(), torch.ones_like(sigmas()), rtol=0, atol=1e-2)
    assert all(float(layer.bias.detach().norm(dim=-1).max()) < 0.2 for layer in bench.layers)


@both
def test_parseval_force_is_the_gradient_of_the_formula_without_the_output_layer(kind: str) -> None:
    bench = Bench(Parseval(strength=0.2), kind)
    bench.move()

    def loss(layer: Layer, s: int) -> torch.Tensor:
        if layer is bench.layers[-1]:
            return layer.weight[s].sum() * 0
        w = layer.weight[s].flatten(1)
        off = w @ w.T - 2 * torch.eye(len(w), dtype=w.dtype)
        return 0.2 * (64 / len(w)) ** 2 * torch.linalg.matrix_norm(off, "fro") ** 2

    for ours, theirs in zip(bench.force(), differentiated(bench.layers, loss), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize(("method", "last"), [(HeadReset, 1), (lambda: LayerReset(last=2), 2)])
def test_resets_change_exactly_the_last_layers_and_clear_their_moments(
    kind: str, method: Callable[[], Method], last: int
) -> None:
    bench = Bench(method(), kind, "adam")
    for _ in range(3):
        bench.step()
    before = bench.now()
    bench.boundary()
    fresh = SeedRng(SEEDS, "method")
    untouched = len(trainable(bench.layers[:-last]))
    pairs = list(zip(trainable(bench.layers), before, strict=True))
    for parameter, old in pairs[:untouched]:
        assert torch.equal(parameter, old)
        assert all(moment.any() for moment in bench.optimizer.moments(parameter))
    for parameter, old in pairs[untouched:]:
        assert not torch.equal(parameter, old)
        assert not any(moment.any() for moment in bench.optimizer.moments(parameter))
    for layer in bench.layers[-last:]:
        for parameter, value in zip(layer.parameters(), layer.fresh(fresh), strict=True):
            assert torch.equal(parameter, value)
        if layer.gain is not None and layer.shift is not None:
            assert (layer.gain == 1).all()
            assert (layer.shift == 0).all()


@pytest.mark.parametrize(
    "text",
    [
        "weight-clipping:kappa=-1",
        "spectral:k=0",
        "layer-reset:last=-1",
        "dash:floor=2",
        "dash:updates=0",
        "upgd:beta=1",
        "trac:discounts=0",
    ],
)
def test_settings_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        create_method(text)
