"""The definitions of fire, adamo, swr and l2-er, checked by independent computations."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from plasticity_bench.agents.layers import feature_gradient, trainable
from plasticity_bench.agents.methods.adamo import AdamO
from plasticity_bench.agents.methods.fire import Fire
from plasticity_bench.agents.methods.l2_er import L2EffectiveRank, differentiable_effective_rank
from plasticity_bench.agents.methods.swr import SelectiveWeightReinit
from plasticity_bench.agents.networks import StackedNetwork, cross_entropy_gradient
from plasticity_bench.agents.rng import SeedRng
from tests.support.learners import learner
from tests.support.method_bench import SEEDS, SPECS, Bench, Tensors

CPU = torch.device("cpu")
every = pytest.mark.parametrize("kind", SPECS)
both = pytest.mark.parametrize("kind", ["perceptron", "convolution"])


@both
@pytest.mark.parametrize("iterations", [3, 60])
def test_fire_iterates_on_the_singular_values_and_keeps_the_vectors(kind: str, iterations: int) -> None:
    bench = Bench(Fire(iterations), kind)
    bench.move()
    before = [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in bench.layers]
    bench.boundary()
    for layer, (weight, bias) in zip(bench.layers, before, strict=True):
        assert torch.equal(layer.bias, bias)
        for s in range(len(SEEDS)):
            positions = [()] if weight.dim() == 3 else list(np.ndindex(*weight.shape[3:]))
            for position in positions:
                at = (s, slice(None), slice(None), *position)
                u, values, v = np.linalg.svd(weight[at].numpy(), full_matrices=False)
                values = values / np.sqrt((values**2).sum())
                for _ in range(iterations):
                    values = 1.5 * values - 0.5 * values**3
                if iterations == 60:
                    np.testing.assert_allclose(values, 1)
                out, columns = weight[at].shape
                expected = np.sqrt(out / columns) / len(positions) * (u * values) @ v
                np.testing.assert_allclose(layer.weight[at].detach().numpy(), expected, atol=1e-10)


def test_fire_leaves_a_matrix_of_zeros() -> None:
    bench = Bench(Fire())
    with torch.no_grad():
        bench.layers[1].weight[0].zero_()
    bench.boundary()
    assert not bench.layers[1].weight[0].any()
    assert torch.isfinite(bench.network.flat).all()


@both
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_adamo_is_the_optimizers_step_and_a_gradient_step_of_the_penalty(kind: str, optimizer: str) -> None:
    """Per seed and tensor: torch.optim with only the task's gradients, and autograd for the penalty."""
    lr, strength = 0.01, 0.7
    bench = Bench(AdamO(strength), kind, optimizer, lr)
    bench.move()
    theirs = [p.requires_grad_() for p in bench.now()]
    step = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](theirs, lr=lr)
    wide = tall = 0
    for _ in range(4):
        penalty = torch.zeros((), dtype=torch.float64)
        for p in theirs:
            for own in p if p.dim() > 2 else ():
                w = own.flatten(1)
                smaller = min(w.shape)
                gram = w @ w.T if w.shape[0] == smaller else w.T @ w
                wide, tall = wide + (w.shape[0] < w.shape[1]), tall + (w.shape[0] > w.shape[1])
                penalty = penalty + (gram - torch.eye(smaller)).square().sum()
        slopes = torch.autograd.grad(penalty, theirs, allow_unused=True)
        for p, gradient in zip(theirs, bench.step(), strict=True):
            p.grad = gradient
        step.step()
        with torch.no_grad():
            for p, slope in zip(theirs, slopes, strict=True):
                if slope is not None:
                    p.sub_(slope, alpha=lr * strength)
        for ours, other in zip(bench.now(), theirs, strict=True):
            torch.testing.assert_close(ours, other.detach(), rtol=1e-9, atol=1e-11)
    assert wide
    assert tall or kind == "convolution"


@both
def test_swr_redraws_the_numbers_of_least_utility(kind: str) -> None:
    share, period = 0.07, 2
    bench = Bench(SelectiveWeightReinit(share, period), kind, "adam", 0.01)
    rngs = [SeedRng([seed], "method", stacked=False) for seed in SEEDS]
    owed: dict[int, float] = {}
    redrawn = 0
    for update in range(1, 9):
        bench.network.gradient.copy_(
            torch.randn(bench.network.gradient.shape, generator=bench.generator, dtype=torch.float64)
        )
        with torch.no_grad():
            bench.optimizer.step()
            before = bench.now()
            moments = [[m.clone() for m in bench.optimizer.moments(p)] for p in trainable(bench.layers)]
            bench.method.after_update(bench.layers, bench.optimizer)
        if update % period:
            for now, old in zip(bench.now(), before, strict=True):
                assert torch.equal(now, old)
            continue
        tensors = list(trainable(bench.layers))
        for i, parameter in enumerate(tensors):
            layer = bench.layers[i // 2]
            assert parameter.grad is not None
            owed[i] = owed.get(i, 0.0) + share * before[i][0].numel()
            count, owed[i] = int(owed[i]), owed[i] % 1
            for s in range(len(SEEDS)):
                fresh = rngs[s].uniform(before[i][s]) * (layer.bias_bound if i % 2 else layer.weight_bound)
                utility = (before[i][s] * parameter.grad[s]).abs().flatten().tolist()
                chosen = sorted(range(len(utility)), key=utility.__getitem__)[:count]
                expected = before[i][s].flatten()
                expected[chosen] = fresh.flatten()[chosen]
                assert torch.equal(parameter.detach()[s].flatten(), expected)
                for moment, was in zip(bench.optimizer.moments(parameter), moments[i], strict=True):
                    kept = was[s].flatten()
                    kept[chosen] = 0
                    assert torch.equal(moment[s].flatten(), kept)
                redrawn += count
    assert redrawn > 20


def features_of(kind: str, x: torch.Tensor, own: Tensors) -> tuple[Tensors, torch.Tensor]:
    """Hidden features, examples by units, and outputs of one network in plain torch."""
    found = []
    tensors = iter(own)
    for weight, bias in zip(tensors, tensors, strict=False):
        if weight.dim() == 4:
            x = functional.conv2d(x, weight, bias).relu()
            found.append(x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]))
            x = functional.max_pool2d(x, 2)
            continue
        x = functional.linear(x.flatten(1), weight, bias)
        if len(weight) == SPECS[kind].outputs:
            break
        if SPECS[kind].norm:
            x = functional.layer_norm(x, x.shape[1:], next(tensors), next(tensors))
        x = x.relu()
        found.append(x)
    return found, x


@every
def test_l2_er_is_the_gradient_of_its_loss(kind: str) -> None:
    """Autograd of cross entropy minus the mean effective rank by singular value decomposition, one network
    at a time; then the decay."""
    method = L2EffectiveRank(strength=0.2, rank=0.3)
    network = StackedNetwork(SPECS[kind], SeedRng(SEEDS, "init"), CPU, torch.float64)
    with torch.no_grad():
        method.setup(network.layers, SeedRng(SEEDS, "method"))
    step = network.train_step(cross_entropy_gradient)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(SEEDS), 9, *SPECS[kind].inputs, generator=generator, dtype=torch.float64)
    y = torch.randint(4, (len(SEEDS), 9), generator=generator)
    target = functional.one_hot(y, 4).double()
    step(x, target)
    plain = [p.grad.clone() for p in trainable(network.layers) if p.grad is not None]
    step.feature_gradient = partial(feature_gradient, method)
    step(x, target)
    for s in range(len(SEEDS)):
        own = [p.detach()[s].clone().requires_grad_() for p in trainable(network.layers)]
        features, outputs = features_of(kind, x[s], own)
        ranks = []
        for matrix in features:
            values = torch.linalg.svdvals(matrix)
            share = (values / values.sum())[values > 1e-6 * values[0]]
            ranks.append((-(share * share.log()).sum()).exp())
        assert len(ranks) == sum(layer.hidden for layer in network.layers)
        loss = functional.cross_entropy(outputs, y[s]) - 0.3 * sum(ranks, torch.zeros(())) / len(ranks)
        expected = torch.autograd.grad(loss, own)
        for p, gradient in zip(trainable(network.layers), expected, strict=True):
            assert p.grad is not None
            torch.testing.assert_close(p.grad[s], gradient, rtol=1e-7, atol=1e-10)
        assert not torch.allclose(plain[0][s], expected[0])
    with torch.no_grad():
        added = [p.grad.clone() for p in trainable(network.layers) if p.grad is not None]
        method.before_update(network.layers, learner("none").trained.optimizer)
    for layer in network.layers:
        for p in layer.parameters():
            i = [q is p for q in trainable(network.layers)].index(True)
            torch.testing.assert_close(p.grad, added[i] + 0.2 * p.detach())


def test_effective_rank_of_known_matrices_and_its_gradient_where_values_vanish() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.randn(9, 2, generator=generator, dtype=torch.float64) @ torch.randn(
        2, 5, generator=generator, dtype=torch.float64
    )
    matrices = torch.stack(
        [torch.eye(9, 5, dtype=torch.float64), torch.zeros(9, 5, dtype=torch.float64), low]
    )
    matrices.requires_grad_()
    found = differentiable_effective_rank(matrices)
    values = np.linalg.svd(low.numpy(), compute_uv=False)[:2]
    share = values / values.sum()
    expected = [5.0, 0.0, float(np.exp(-(share * np.log(share)).sum()))]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    (gradient,) = torch.autograd.grad(found.sum(), matrices)
    assert torch.isfinite(gradient).all()
    assert float(gradient[0].abs().max()) < 1e-9  # it cannot grow
    assert not gradient[1].any()
    assert float(gradient[2].abs().max()) > 1e-3


def test_l2_er_raises_the_effective_rank() -> None:
    ranks = {}
    for rank in (0.0, 0.1):
        made = learner(f"l2-er:strength=0,rank={rank}")
        while made.task == 0:
            made.advance()
        ranks[rank] = [rows[0]["effective_rank"] for rows in made.rows]
    assert min(ranks[0.1]) > max(ranks[0.0])
