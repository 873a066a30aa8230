"""The plasticity probe: its arithmetic, that it leaves the run alone, and what it finds of known networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from plasticity_bench.agents import agent_diagnostics, supervised
from plasticity_bench.agents.host_state import state_of
from plasticity_bench.agents.layers import copies
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.probe import PROBE, ProbeSpec, probe_retention, random_targets
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.seeding import generator
from plasticity_bench.specs import NetworkSpec, OptimizerSpec, PPOSpec, is_measured, is_probed
from tests.support.control_bench import GymStream, PendulumStream, agent
from tests.support.control_bench import finish as finish_agent
from tests.support.learners import finish, learner, shorten_digits

CPU = torch.device("cpu")
SMALL = NetworkSpec((6,), 4, (9, 7))
#: Every seed's matrices begin at a multiple of 64 bytes. Otherwise the last digits of a product may depend on
#: the number of networks, in training too.
EVEN = NetworkSpec((8,), 4, (16, 16))
IMAGES = NetworkSpec((2, 14, 14), 4, (7,), channels=(3, 4), kernel=3)
#: Architectures that the probe must handle.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "relu": {},
    "layer norm": {"norm": "layer"},
    "batch norm": {"norm": "batch"},
    "crelu": {"activation": "crelu"},
    "fourier": {"activation": "fourier"},
    "dropout": {"dropout": 0.5},
    "policy": {"log_std": True},
    "tanh": {"activation": "tanh", "init": "lecun"},
}
#: On images without those that change nothing in a convolution.
CASES = [(SMALL, name) for name in ARCHITECTURES]
CASES += [(IMAGES, name) for name in ARCHITECTURES if name not in ("policy", "tanh")]
#: Enough updates for a small network to learn something.
LONG = ProbeSpec(updates=60, optimizer=OptimizerSpec("adam", lr=1e-2))


def stack(
    spec: NetworkSpec, seeds: Sequence[int] = (0, 1, 2), dtype: torch.dtype = torch.float32
) -> StackedNetwork:
    return StackedNetwork(spec, SeedRng(seeds, "init"), CPU, dtype)


def inputs(spec: NetworkSpec, seeds: Sequence[int] = (0, 1, 2), examples: int = 96) -> torch.Tensor:
    rng = SeedRng(seeds, "data")
    return rng.normal(torch.empty(len(seeds), examples, *spec.inputs))


def probed(
    network: StackedNetwork, seeds: Sequence[int] = (0, 1, 2), spec: ProbeSpec = LONG, key: int = 3
) -> torch.Tensor:
    return probe_retention([network], inputs(network.spec, seeds), SeedRng(seeds, "probe", key), spec)


def numpy_targets(x: np.ndarray, rng: np.random.Generator, spec: ProbeSpec) -> np.ndarray:
    first = rng.standard_normal((x.shape[1], spec.width))
    second = rng.standard_normal((spec.width, spec.outputs))
    z = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    hidden = np.tanh(z @ first / math.sqrt((x.std(0) > 0).sum()))
    y = np.sin(spec.frequency * hidden @ second / math.sqrt(spec.width))
    return (y - y.mean(0)) / y.std(0)


def numpy_learns(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray, spec: ProbeSpec) -> float:
    """What a perceptron with ReLU explains of y after Adam's updates, written from their definitions.

    ``weights``: weight and bias of every layer, in order.
    """

    def layers_of(values: np.ndarray) -> list[np.ndarray]:
        found = [values]
        for i in range(0, len(weights), 2):
            z = found[-1] @ weights[i].T + weights[i + 1]
            found.append(z if i == len(weights) - 2 else np.maximum(z, 0))
        return found

    mean, square = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    parts = len(x) // spec.batch
    for update in range(spec.updates):
        own = slice(update % parts, None, parts)
        values = layers_of(x[own])
        upstream = 2 * (values[-1] - y[own]) / y[own].size
        for i in range(len(weights) - 2, -1, -2):
            gradients = {i: upstream.T @ values[i // 2], i + 1: upstream.sum(0)}
            upstream = (upstream @ weights[i]) * (values[i // 2] > 0)
            for j, gradient in gradients.items():
                mean[j] = 0.9 * mean[j] + 0.1 * gradient
                square[j] = 0.999 * square[j] + 0.001 * gradient**2
                size = spec.optimizer.lr / (1 - 0.9 ** (update + 1))
                scale = np.sqrt(square[j] / (1 - 0.999 ** (update + 1))) + 1e-8
                weights[j] = weights[j] - size * mean[j] / scale
    return max(0.0, 1 - ((layers_of(x)[-1] - y) ** 2).sum() / (y**2).sum())


def test_targets_are_those_of_their_definition() -> None:
    x = inputs(SMALL).double()
    x[1, :, 2] = 5.0  # a constant input
    found = random_targets(x, SeedRng((0, 1, 2), "probe", 3), PROBE)
    for seed in range(3):
        wanted = numpy_targets(x[seed].numpy(), generator(seed, "probe", 3), PROBE)
        np.testing.assert_allclose(found[seed].numpy(), wanted, rtol=1e-6, atol=1e-9)


def test_the_probe_by_independent_arithmetic() -> None:
    """In numpy, from the same random numbers, in the order in which they are drawn."""
    seeds, spec = (4, 9), ProbeSpec(updates=50, batch=32, optimizer=OptimizerSpec("adam", lr=1e-2))
    network = stack(SMALL, seeds, torch.float64)
    with torch.no_grad():
        network.flat.mul_(1.7)
    x = inputs(SMALL, seeds).double()
    found = probe_retention([network], x, SeedRng(seeds, "probe", 3), spec)
    for s, seed in enumerate(seeds):
        rng = generator(seed, "probe", 3)
        shapes = [(9, 6), (9,), (7, 9), (7,), (spec.outputs, 7), (spec.outputs,)]
        bounds = [6**-0.5] * 2 + [9**-0.5] * 2 + [7**-0.5] * 2
        head: list[np.ndarray] = []
        fresh: list[np.ndarray] = []
        for shape, bound in zip(shapes[:4], bounds[:4], strict=True):
            fresh.append((rng.random(shape) * 2 - 1) * bound)
        for shape, bound in zip(shapes[4:], bounds[4:], strict=True):
            head.append((rng.random(shape) * 2 - 1) * bound)
        y = numpy_targets(x[s].numpy(), rng, spec)
        aged = [p.detach()[s].numpy() for layer in network.layers[:-1] for p in layer.parameters()]
        shares = [numpy_learns([*hidden, *head], x[s].numpy(), y, spec) for hidden in (aged, fresh)]
        assert float(found[s]) == pytest.approx(shares[0] / shares[1], rel=1e-6)


@pytest.mark.parametrize(("base", "name"), CASES)
def test_every_architecture_is_probed_and_left_as_it_was(base: NetworkSpec, name: str) -> None:
    spec = replace(base, **ARCHITECTURES[name])
    network = stack(spec)
    network.rng = SeedRng((0, 1, 2), "method")
    network.forward(inputs(spec))
    with torch.no_grad():
        for layer in network.layers:
            for tensor in layer.buffers():
                tensor.add_(0.5)
    before = [tensor.clone() for layer in network.layers for tensor in layer.state()]
    features = [layer.features for layer in network.layers]
    gradient, numbers = network.gradient.clone(), network.rng.state_dict()
    found = probed(network)
    assert found.shape == (3,)
    assert found.dtype == torch.float64
    # An untrained network learns about as well as another one.
    assert ((found > 0.5) & (found < 2)).all(), found
    assert found.tolist() == probed(network).tolist()
    assert found.tolist() != probed(network, key=4).tolist()
    after = [tensor for layer in network.layers for tensor in layer.state()]
    assert all(map(torch.equal, before, after))
    assert all(old is layer.features for old, layer in zip(features, network.layers, strict=True))
    assert torch.equal(gradient, network.gradient)
    assert numbers == network.rng.state_dict()


@pytest.mark.parametrize(("base", "name"), CASES)
def test_a_seed_does_not_depend_on_its_stack(base: NetworkSpec, name: str) -> None:
    base = EVEN if base is SMALL else base
    spec = replace(base, **ARCHITECTURES[name])
    together = probed(stack(spec, (0, 1, 5)), (0, 1, 5)).tolist()
    apart = [probed(stack(spec, (seed,)), (seed,)).item() for seed in (0, 1, 5)]
    # Of grouped convolutions the last digits may depend on the number of groups.
    exact = base is EVEN
    assert together == (apart if exact else pytest.approx(apart, rel=1e-6))
    # Two stacks in one call.
    rng, x = SeedRng((0, 1, 5), "probe", 3), inputs(spec, (0, 1, 5))
    pair = [stack(spec, (0, 1)), stack(spec, (5,))]
    assert probe_retention(pair, x, rng, LONG).tolist() == together


def test_what_it_finds_of_networks_that_are_known() -> None:
    """Silent units learn only an offset; frozen branches make no difference; nan concerns one seed."""
    network = stack(SMALL)
    plain = probed(network)
    network.layers[1].branches = [(1, copies(network.layers[1:])), (-1, copies(network.layers[1:]))]
    assert probed(network).tolist() == plain.tolist()
    with torch.no_grad():
        network.layers[0].bias[0] = -100  # seed 0: every unit of the first layer is dead
        network.layers[0].weight[1] = math.nan
    found = probed(network).tolist()
    assert found[0] < 0.05
    assert math.isnan(found[1])
    assert found[2] == plain[2]


def test_nothing_is_said_if_the_fresh_network_learns_nothing() -> None:
    slow = ProbeSpec(updates=2, optimizer=OptimizerSpec("adam", lr=1e-9))
    assert probed(stack(SMALL), spec=slow).isnan().all()


def test_tasks_that_are_probed() -> None:
    assert [task for task in range(300) if is_probed(task, 300)] == [*range(0, 300, 54), 299]
    assert [task for task in range(10) if is_probed(task, 10)] == [0, 9]
    assert [task for task in range(3) if is_probed(task, 3)] == [0, 2]
    assert is_probed(0, 1)
    for tasks in (1, 2, 10, 49, 50, 51, 99, 100, 200, 300, 1000):
        assert all(is_measured(task, tasks) for task in range(tasks) if is_probed(task, tasks))
        assert sum(is_probed(task, tasks) for task in range(tasks)) <= 7


def constant(networks: Any, x: torch.Tensor, rng: Any, spec: Any = None) -> torch.Tensor:
    """Instead of the probe: touches nothing."""
    return torch.full((len(x),), 0.25, dtype=torch.float64)


def all_state(made: Any) -> dict[str, Any]:
    """Everything that the rest of a run depends on, and the features that hooks may read."""
    parts = getattr(made, "parts", None) or [made.trained]
    features = [layer.features for part in parts for layer in part.layers]
    generators = [state_of(part.method, draws=True) for part in parts]
    drawn = [{k: v for k, v in found.items() if "random numbers" in k} for found in generators]
    state = made.state_dict()
    state.pop("worlds", None)  # environments, which equal only themselves; what they show is in "seen"
    return copy.deepcopy({"state": state, "features": features, "drawn": drawn})


def equal(left: Any, right: Any) -> bool:
    """Whether nested values are equal, bit for bit; nan equals nan."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, np.ndarray):
        return equal(torch.from_numpy(left), torch.from_numpy(right))
    if isinstance(left, torch.Tensor):
        same = left.shape == right.shape and left.dtype == right.dtype
        return same and left.numpy().tobytes() == right.numpy().tobytes()
    return bool(left == right or (left != left and right != right))


def without_probe(rows: list[list[dict[str, float]]]) -> str:
    return str([[{k: v for k, v in row.items() if "probe" not in k} for row in own] for own in rows])


def compare_runs(
    monkeypatch: pytest.MonkeyPatch, module: Any, make: Callable[[], Any], end: Callable[[Any], Any]
) -> list[float]:
    """A run with the probe and one without it: all else must be equal. Returns what the probe found."""
    with_probe = make()
    end(with_probe)
    monkeypatch.setattr(module, "probe_retention", constant)
    plain = make()
    end(plain)
    left, right = all_state(with_probe), all_state(plain)
    assert without_probe(left["state"].pop("rows")) == without_probe(right["state"].pop("rows"))
    assert equal(left, right)
    assert {row["probe_retention"] for own in plain.rows for row in own if "probe_retention" in row} == {0.25}
    return [v for own in with_probe.rows for row in own for k, v in row.items() if "probe" in k]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_bit_identical_without_the_probe(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_digits(monkeypatch, 12)
    found = compare_runs(monkeypatch, supervised, lambda: learner(method), finish)
    assert len(found) == 2 * 2  # two seeds; the first task and the last
    assert all(map(math.isfinite, found))


@pytest.mark.parametrize("stream", [GymStream, PendulumStream])
@pytest.mark.parametrize("method", ["none", "cbp:rate=0.01,maturity=10", "redo", "reset", "hare-tortoise"])
def test_a_run_of_ppo_is_bit_identical_without_the_probe(
    method: str, stream: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = PPOSpec(rollout=32, epochs=2, batch=16, environments=2)
    made = stream(tasks=3, rollouts=2, spec=spec)
    found = compare_runs(monkeypatch, agent_diagnostics, lambda: agent(method, (0, 3), made), finish_agent)
    assert len(found) == 2 * 2 * 2  # actor and critic


def test_a_resumed_run_measures_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_digits(monkeypatch, 12)
    whole = learner("redo")
    whole.advance()
    state = copy.deepcopy(whole.state_dict())
    finish(whole)
    resumed = learner("redo")
    resumed.load_state_dict(state)
    finish(resumed)
    assert whole.rows == resumed.rows
    assert "probe_retention" in resumed.rows[0][-1]
    assert "probe_retention" not in resumed.rows[0][1]
