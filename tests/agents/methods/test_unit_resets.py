"""Methods that reset units, compared with the papers' definitions as loops over single units in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.methods.cbp import ContinualBackprop
from plasticity_bench.agents.methods.redo import ReDo
from plasticity_bench.agents.methods.regrama import ReGraMa
from plasticity_bench.agents.methods.snr import SelfNormalizedResets
from plasticity_bench.agents.methods.units import reinitialise
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.errors import InputError
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from tests.support.learners import learner
from tests.support.unit_bench import BATCH, CPU, SEEDS, Arrays, Bench, Units, run

PERCEPTRON = NetworkSpec((6,), 4, (9, 7))
CONVOLUTION = NetworkSpec((2, 14, 14), 4, (7,), channels=(3, 5), kernel=3)
SPECS = pytest.mark.parametrize("spec", [PERCEPTRON, CONVOLUTION], ids=["perceptron", "convolution"])


@SPECS
def test_cbp_replaces_the_least_useful_mature_units_at_its_rate(spec: NetworkSpec) -> None:
    rate, maturity, eta, steps = 0.04, 5, 0.9, 60
    method = ContinualBackprop(rate=rate, maturity=maturity, decay=eta)
    bench = Bench(spec, method)
    widths = [layer.bias.shape[-1] for layer in bench.layers[:-1]]
    state = [[{"u": np.zeros(n), "m": np.zeros(n), "age": np.zeros(n, int)} for n in widths] for _ in SEEDS]
    owed = [[0.0 for _ in widths] for _ in SEEDS]

    def choose(step: int, seed: int, arrays: tuple[Arrays, Arrays]) -> Units:
        weights, biases = arrays
        found: Units = []
        for i, n in enumerate(widths):
            own, h, corrected = state[seed][i], bench.features(seed, i, pooled=True), np.zeros(n)
            for unit in range(n):
                own["age"][unit] += 1
                correction = 1 - eta ** own["age"][unit]
                own["m"][unit] = eta * own["m"][unit] + (1 - eta) * h[:, unit].mean()
                spread = np.abs(h[:, unit] - own["m"][unit] / correction).mean()
                out = np.abs(weights[i + 1][bench.read_by(i, unit)]).mean()
                now = out * spread / np.abs(weights[i][unit]).mean()
                own["u"][unit] = eta * own["u"][unit] + (1 - eta) * now
                corrected[unit] = own["u"][unit] / correction
            mature = [unit for unit in range(n) if own["age"][unit] > maturity]
            owed[seed][i] += rate * len(mature)
            count = int(owed[seed][i])
            owed[seed][i] -= count
            chosen = sorted(mature, key=lambda unit: corrected[unit])[:count]
            found.append(chosen if count else None)
        for i, units in enumerate(found):
            for unit in units or ():
                own = state[seed][i]
                mean = own["m"][unit] / (1 - eta ** own["age"][unit])
                out = weights[i + 1][bench.read_by(i, unit)]
                biases[i + 1] += mean * out.reshape(len(out), -1).sum(1)
                own["u"][unit] = own["m"][unit] = own["age"][unit] = 0
        return found

    resets = run(bench, steps, choose)
    expected = len(SEEDS) * rate * sum(widths) * (steps - maturity)
    assert 0.6 * expected < resets <= expected
    kept = method.state_dict()
    for i, own in enumerate(state[1]):
        np.testing.assert_array_equal(kept["age"][i][1].numpy(), own["age"])
        np.testing.assert_allclose(kept["utility"][i][1].numpy(), own["u"])


def test_cbp_keeps_the_outputs_mean_where_the_running_mean_is_exact() -> None:
    """With one batch and fixed weights, the moved bias replaces the unit's mean contribution exactly."""
    bench = Bench(NetworkSpec((6,), 4, (9,)), ContinualBackprop(rate=0.2, maturity=3))
    x = torch.randn(len(SEEDS), 32, 6, generator=bench.data, dtype=torch.float64)
    with torch.no_grad():
        before = bench.network.forward(x)
        features = bench.layers[0].features
        assert features is not None
        assert bool(features.ne(0).any(1).all()), "a silent unit can go without a change"
        for _ in range(4):
            bench.hook()
        after = bench.network.forward(x)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after.mean(1), before.mean(1))


@SPECS
def test_redo_resets_exactly_the_dormant_units(spec: NetworkSpec) -> None:
    tau, period, batches = 0.4, 5, 3  # 20 examples: three batches of eight
    bench = Bench(spec, ReDo(tau=tau, period=period, examples=20))
    kept: list[list[Arrays]] = [[] for _ in SEEDS]

    def choose(step: int, seed: int, arrays: tuple[Arrays, Arrays]) -> Units:
        hidden = range(len(bench.layers) - 1)
        kept[seed].append([np.abs(bench.features(seed, i)).mean(0) for i in hidden])
        if step % period:
            return [None for _ in hidden]
        activity = [np.mean([h[i] for h in kept[seed][-batches:]], 0) for i in hidden]
        return [[unit for unit, a in enumerate(layer) if a / layer.mean() <= tau] for layer in activity]

    assert run(bench, 20, choose) > 3


@SPECS
def test_regrama_resets_exactly_the_units_of_small_gradients(spec: NetworkSpec) -> None:
    tau, period, batches = 0.7, 4, 2
    bench = Bench(spec, ReGraMa(tau=tau, period=period, examples=16))
    kept: list[list[Arrays]] = [[] for _ in SEEDS]

    def choose(step: int, seed: int, arrays: tuple[Arrays, Arrays]) -> Units:
        gradients = [layer.weight.grad for layer in bench.layers[:-1]]
        kept[seed].append(
            [np.array([np.abs(u).mean() for u in g[seed].numpy()]) for g in gradients if g is not None]
        )
        if step % period:
            return [None for _ in gradients]
        size = [np.mean([g[i] for g in kept[seed][-batches:]], 0) for i in range(len(gradients))]
        return [[unit for unit, g in enumerate(layer) if g / layer.mean() <= tau] for layer in size]

    assert run(bench, 20, choose) > 3


@SPECS
@pytest.mark.parametrize("period", [1, 5])
def test_snr_resets_units_silent_for_longer_than_their_history_explains(
    spec: NetworkSpec, period: int
) -> None:
    eta, window, limit = 0.2, 50, 22  # ages up to 23 are exact
    method = SelfNormalizedResets(eta=eta, window=window, limit=limit, period=period)
    bench = Bench(spec, method, batch=1)
    with torch.no_grad():  # rarely firing units, so that all thresholds differ
        for layer in bench.layers[:-1]:
            layer.bias.sub_(torch.linspace(0, 1.2, layer.bias.shape[-1]).double())
    widths = [layer.bias.shape[-1] for layer in bench.layers[:-1]]
    ages = [[[0] * n for n in widths] for _ in SEEDS]
    thresholds = [[[limit] * n for n in widths] for _ in SEEDS]
    times: list[list[list[list[int]]]] = [[[[] for _ in range(n)] for n in widths] for _ in SEEDS]

    def choose(step: int, seed: int, arrays: tuple[Arrays, Arrays]) -> Units:
        found: Units = []
        for i, n in enumerate(widths):
            age, threshold, seen = ages[seed][i], thresholds[seed][i], times[seed][i]
            due = []
            for unit, fires in enumerate(bench.features(seed, i).max(0) > 0):
                if not fires:
                    age[unit] += 1
                elif age[unit] < threshold[unit]:
                    seen[unit].append(age[unit])
                    age[unit] = 0
                if step % period == 0 and age[unit] >= threshold[unit]:
                    seen[unit].append(min(age[unit], limit))
                    age[unit] = 0
                    due.append(unit)
            found.append(due if step % period == 0 else None)
            for unit in range(n if step % window == 0 else 0):
                silences = [a for a in seen[unit] if a]
                tail = [
                    a for a in range(1, limit + 1) if sum(s >= a for s in silences) <= eta * len(silences)
                ]
                lower = [a for a in tail[:1] if a <= threshold[unit]]
                threshold[unit] = lower[0] if lower else min(2 * threshold[unit], limit)
                seen[unit].clear()
        return found

    assert run(bench, 200, choose) > 20
    assert len({threshold for of_layer in thresholds[2] for threshold in of_layer}) > 3
    for i, of_layer in enumerate(thresholds[2]):
        assert method.threshold[i][2].tolist() == of_layer
        assert method.state_dict()["age"][i][2].tolist() == ages[2][i]


def test_snr_thresholds_are_the_tails_of_geometric_silences() -> None:
    """Silences of a unit that fires on a share p of the batches: P(A >= k) = (1 - p)^(k - 1), k batches."""
    shares, batch = torch.tensor([0.02, 0.05, 0.1, 0.3]), 16
    bench = Bench(NetworkSpec((6,), 4, (4,)), SelfNormalizedResets(window=8000, limit=10_000))
    generator = torch.Generator().manual_seed(1)
    for _ in range(8000):
        fires = torch.rand(len(SEEDS), 1, 4, generator=generator) < shares
        bench.layers[0].features = fires.double().expand(-1, batch, -1)
        bench.hook()
    assert isinstance(bench.method, SelfNormalizedResets)
    found = bench.method.threshold[0].double().mean(0).numpy() / batch
    expected = 1 + np.log(0.08) / np.log(1 - shares.numpy())
    np.testing.assert_allclose(found, expected, rtol=0.12, atol=0.7)


@SPECS
def test_reset_units_contribute_nothing_and_the_others_are_unchanged(spec: NetworkSpec) -> None:
    bench = Bench(spec, ReDo())
    bench.update()
    masks = [torch.arange(layer.bias.numel()).view_as(layer.bias) % 3 == 0 for layer in bench.layers[:-1]]
    x = torch.randn(len(SEEDS), BATCH, *spec.inputs, dtype=torch.float64)
    with torch.no_grad():
        reinitialise(bench.layers, masks, SeedRng(SEEDS, "method"), bench.optimizer)
        outputs = bench.network.forward(x)
        for layer, mask in zip(bench.layers, masks, strict=False):
            layer.bias.add_(5.0 * mask)  # whatever the reset units do, nothing reads it
    torch.testing.assert_close(bench.network.forward(x), outputs)
    for layer, mask in zip(bench.layers, masks, strict=False):
        bound = layer.weight_bound
        wide = mask.view(*mask.shape, *[1] * (layer.weight.dim() - 2)).expand_as(layer.weight)
        started = layer.weight.detach()[wide]
        assert float(started.abs().max()) <= bound
        assert 0.6 * bound < float(started.std()) * 3**0.5 < 1.4 * bound


@pytest.mark.parametrize(
    "name",
    [
        "cbp:rate=0.2,maturity=1",
        "redo:tau=0.5,period=2",
        "regrama:tau=0.5,period=2",
        "snr:limit=10,period=2",
        "layer-norm+cbp:rate=0.2,maturity=1",
    ],
)
def test_stack_and_plain_network_reset_alike(name: str) -> None:
    plain_method = create_method(name)
    bench = Bench(plain_method.network(CONVOLUTION), create_method(name))
    alone = StackedNetwork(bench.spec, SeedRng([SEEDS[1]], "init"), CPU, torch.float64)
    optimizer = FlatOptimizer(alone.flat, alone.gradient, OptimizerSpec("adam", 0.01))
    layers = []
    for layer in alone.layers:
        views = [torch.nn.Parameter(p.detach()[0]) for p in layer.trainable()]
        for view, p in zip(views, layer.trainable(), strict=True):
            view.grad = None if p.grad is None else p.grad[0]
        weight, bias, *norm = views
        gain, shift = norm or (None, None)
        layers.append(replace(layer, weight=weight, bias=bias, gain=gain, shift=shift))
    with torch.no_grad():
        plain_method.setup(layers, SeedRng([SEEDS[1]], "method", stacked=False))
        for _ in range(8):
            bench.update()
            silent = bench.layers[-2].features
            assert silent is not None
            silent[..., 0] = 0
            for ours, theirs in zip(layers, bench.layers, strict=True):
                ours.features = None if theirs.features is None else theirs.features[1]
                for parameter, other in zip(ours.trainable(), theirs.trainable(), strict=True):
                    assert parameter.grad is not None
                    assert other.grad is not None
                    parameter.grad.copy_(other.grad[1])
            optimizer.step()
            before = alone.flat.clone()
            plain_method.after_update(layers, optimizer)
            changed = not torch.equal(before, alone.flat)
            bench.hook()
            for found, expected in zip(trainable(layers), trainable(bench.layers), strict=True):
                torch.testing.assert_close(found, expected[1])
    assert changed


@pytest.mark.parametrize("stream", ["permuted-digits:tasks=2", "permuted-mnist:tasks=2,images=640"])
def test_features_are_those_of_the_batch_and_kept_only_if_needed(stream: str) -> None:
    made, other = learner("redo", stream=stream), learner("l2", stream=stream)
    x, y = made.current.batches(0, 1)
    target = torch.nn.functional.one_hot(y[0], made.network.spec.outputs).to(x.dtype)
    with torch.no_grad():
        made.trained.gradients(x[0], target)
        other.trained.gradients(x[0], target)
        kept = [layer.features for layer in made.layers]
        made.network.forward(x[0])
    for layer, features in zip(made.layers, kept, strict=True):
        if not layer.hidden:
            assert features is None
            continue
        assert features is not None
        assert layer.features is not None
        assert not features.requires_grad
        torch.testing.assert_close(features, layer.features)
    assert not other.trained.gradients.keep_features


def test_units_that_make_two_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="one number of each"):
        learner("crelu+redo")
