"""Adam's step counts per element: after a reset, an element gets the updates of a new torch optimizer."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plasticity_bench.agents.adapters.torch_adapter import attach
from plasticity_bench.agents.methods.units import reinitialise
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.agents.step_counts import ENDLESS
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from tests.support.learners import finish, learner, shorten_digits
from tests.support.method_names import ARCHITECTURES

SPEC = NetworkSpec((6,), 4, (7, 5))
SEEDS = (3, 8)
CPU = torch.device("cpu")

#: Methods with the option -> settings with which they reset something within a few updates.
FRESH = {
    "cbp": "rate=0.05,maturity=5",
    "head-reset": "",
    "layer-reset": "",
    "plasticity-injection": "after=1",
    "redo": "period=10,tau=0.5",
    "regrama": "period=10,tau=0.3",
    "snr": "limit=30,period=5",
    "swr": "period=10",
}


def with_count(name: str, fresh: bool = True) -> str:
    """The method with its settings and the option."""
    return f"{name}:{FRESH[name]}{',' if FRESH[name] else ''}fresh_count={str(fresh).lower()}"


def test_every_method_with_the_option_is_tested_here() -> None:
    having = {n for n in METHODS if "fresh_count" in {f.name for f in fields(choose_method(n).cls)}}
    assert having == FRESH.keys()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("betas", "eps"), [((0.9, 0.999), 1e-8), ((0.5, 0.9), 1e-3)])
@torch.no_grad()
def test_a_reset_unit_is_trained_as_by_a_new_torch_optimizer(
    betas: tuple[float, float], eps: float, dtype: torch.dtype, fused: bool
) -> None:
    """Its weights are taken apart and trained by torch.optim.Adam with the same gradients: 200 updates."""
    network = StackedNetwork(SPEC, SeedRng(SEEDS, "init"), CPU, dtype)
    spec = OptimizerSpec("adam", 1e-2, betas=betas, eps=eps, fused=fused)
    ours = FlatOptimizer(network.flat, network.gradient, spec)
    rng = torch.Generator().manual_seed(0)

    def draw() -> None:
        network.gradient.copy_(torch.randn(network.gradient.shape, generator=rng))
        network.gradient[::3] *= 1e-4

    for _ in range(300):
        draw()
        ours.step()
    masks = [torch.zeros(2, 7, dtype=torch.bool), None]
    assert masks[0] is not None
    masks[0][1, 2] = True  # unit 2 of the second seed
    reinitialise(network.layers, masks, SeedRng(SEEDS, "method"), ours, fresh_count=True)
    first, second, _ = network.layers
    unit = [
        (first.weight, (1, 2)),
        (first.bias, (1, 2)),
        (second.weight, (1, slice(None), 2)),
    ]
    apart = [nn.Parameter(parameter[place].clone()) for parameter, place in unit]
    new = torch.optim.Adam(apart, lr=1e-2, betas=betas, eps=eps)
    rest = nn.Parameter(network.flat.clone())  # what is not reset goes on as before
    old = torch.optim.Adam([rest], lr=1e-2, betas=betas, eps=eps)
    state = {"step": torch.tensor(300.0)}
    for name, beta in zip(("exp_avg", "exp_avg_sq"), betas, strict=True):
        state[name] = ours.state[name] * (1 - beta**300)
    old.state[rest] = state
    reset = torch.zeros(network.flat.shape, dtype=torch.bool)
    for parameter, place in unit:
        view = reset[parameter.storage_offset() :][: parameter.numel()].view(parameter.shape)
        view[place] = True
    rtol, atol = (1e-5, 2e-6) if dtype == torch.float32 else (1e-9, 1e-11)
    for _ in range(200):
        draw()
        for mine, (parameter, place) in zip(apart, unit, strict=True):
            assert parameter.grad is not None
            mine.grad = parameter.grad[place].clone()
        rest.grad = network.gradient.clone()
        ours.step()
        new.step()
        old.step()
        for mine, (parameter, place) in zip(apart, unit, strict=True):
            torch.testing.assert_close(parameter[place], mine, rtol=rtol, atol=atol)
        torch.testing.assert_close(network.flat[~reset], rest[~reset], rtol=rtol, atol=atol)
    assert ours.step_count.item() == 500


@torch.no_grad()
def test_without_fresh_counts_the_first_updates_are_larger() -> None:
    """The numbers that the texts name, for gradients of constant size."""
    moved = {}
    for fresh in (True, False):
        flat, gradient = torch.zeros(64), torch.ones(64)
        optimizer = FlatOptimizer(flat, gradient, OptimizerSpec("adam", 1e-3))
        optimizer.step_count.fill_(100_000)
        if fresh:
            optimizer.counts(flat)
            optimizer.reset()
        moves = []
        for _ in range(40):
            before = flat.clone()
            optimizer.step()
            moves.append(float((before - flat)[0]))
        moved[fresh] = np.array(moves)
    np.testing.assert_allclose(moved[True], 1e-3, rtol=1e-4)
    ratios = moved[False] / moved[True]
    assert ratios[0] == pytest.approx(3.16, abs=0.01)
    assert ratios.max() == pytest.approx(6.6, abs=0.05)
    assert ratios.argmax() == 11, "the twelfth update"


def test_sgd_counts_nothing() -> None:
    flat = torch.zeros(8)
    optimizer = FlatOptimizer(flat, torch.ones(8), OptimizerSpec("sgd", 0.1, momentum=0.9))
    assert optimizer.counts(flat) == []
    assert "counts" not in optimizer.state_dict()


def test_counting_may_begin_before_the_first_update() -> None:
    flat = torch.zeros(8)
    optimizer = FlatOptimizer(flat, torch.ones(8), OptimizerSpec("adam", 0.1))
    assert not any(count.any() for count in optimizer.counts(flat))
    optimizer.step()
    torch.testing.assert_close(flat, torch.full((8,), -0.1))


@pytest.mark.parametrize("name", METHODS)
def test_only_methods_that_count_again_leave_adams_one_count(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others train by the code that test_networks.py shows to be torch's fused Adam, bit for bit."""
    shorten_digits(monkeypatch, 12)
    made = learner(name, (0,))
    finish(made)
    default = getattr(made.trained.method, "fresh_count", False)
    acts = name != "cbp"  # it replaces no unit in 36 updates
    assert bool(made.trained.optimizer.element_counts) == (default and acts)


@pytest.mark.parametrize("name", FRESH)
def test_the_updates_after_a_reset_are_those_of_a_new_optimizer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first update of Adam is the step size, whatever the gradient."""
    shorten_digits(monkeypatch, 40)
    made = learner(with_count(name), (0, 1))
    made.piece = 1
    optimizer, seen = made.trained.optimizer, 0
    rate = optimizer.lr
    while not made.finished:
        counts = optimizer.element_counts
        new = counts["exp_avg"] == 0 if counts else torch.zeros(optimizer.flat.shape, dtype=torch.bool)
        before = optimizer.flat.clone()
        step = optimizer.step

        def watched(
            new: torch.Tensor = new, step: Callable[[], None] = step, before: torch.Tensor = before
        ) -> None:
            nonlocal seen
            assert torch.equal(optimizer.flat[new], before[new])
            step()
            moved = (optimizer.flat - before)[new].abs()
            clear = optimizer.gradient[new].abs() > 1e-4
            assert not len(moved) or float(moved.max()) < rate * 1.01
            assert not clear.any() or float(moved[clear].min()) > rate * 0.98
            seen += int(clear.sum())

        monkeypatch.setattr(optimizer, "step", watched)
        made.advance()
        monkeypatch.setattr(optimizer, "step", step)
    assert seen > 20


@pytest.mark.parametrize("name", FRESH)
def test_a_resumed_run_and_a_seed_by_itself_are_bit_identical(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_digits(monkeypatch, 40)
    whole = learner(with_count(name), (0, 1))
    tables = finish(whole)
    assert whole.trained.optimizer.element_counts
    first = learner(with_count(name), (0, 1))
    first.piece = 7
    while (first.task, first.step) < (1, 21):
        first.advance()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    second = learner(with_count(name), (0, 1))
    second.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    second.piece = 7
    finish(second)
    assert torch.equal(second.network.flat, whole.network.flat)
    np.testing.assert_array_equal(finish(learner(with_count(name), (1,)))[0], tables[1])


def test_a_state_from_before_the_first_reset_ends_counting() -> None:
    flat = torch.zeros(8)
    optimizer = FlatOptimizer(flat, torch.ones(8), OptimizerSpec("adam", 0.1))
    state = copy.deepcopy(optimizer.state_dict())
    optimizer.counts(flat)
    optimizer.step()
    optimizer.load_state_dict(state)
    assert not optimizer.element_counts
    assert optimizer.step_count.item() == 0


def test_a_reset_of_all_layers_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """layer-reset of all three layers and ``reset`` at the same learning rate differ by rounding."""
    shorten_digits(monkeypatch, 60)
    kept = {
        name: finish(learner(name, dtype=torch.float64))
        for name in ("reset", "layer-reset:last=3", "layer-reset:last=3,fresh_count=false")
    }
    wanted, found, without = kept.values()
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)
    assert np.nanmax(np.abs(without - wanted)) > 0.01


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"maximize": True}, {"foreach": True}])
def test_attached_to_torchs_optimizers(
    kind: Callable[..., torch.optim.Optimizer], options: dict[str, Any]
) -> None:
    """head-reset's head is trained as by a new optimizer, also when the optimizer's state was loaded."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    optimizer = kind(model.parameters(), lr=1e-2, **options)
    attached = attach("head-reset", model, optimizer)
    x = torch.randn(40, 4, 3, dtype=torch.float64)

    def step(index: int, net: nn.Module, *optimizers: torch.optim.Optimizer) -> None:
        net.zero_grad()
        net(x[index]).square().sum().backward()
        for one in optimizers:
            one.step()

    for index in range(20):
        step(index, model, optimizer)
    attached.task_end()
    assert optimizer.state[next(model[2].parameters())]["step"] == ENDLESS
    twin = copy.deepcopy(model)
    body = kind(twin[0].parameters(), lr=1e-2, **options)
    head = kind(twin[2].parameters(), lr=1e-2, **options)
    for ours, theirs in zip(model[0].parameters(), twin[0].parameters(), strict=True):
        body.state[theirs] = copy.deepcopy(dict(optimizer.state[ours]))
    for index in range(20, 30):
        step(index, model, optimizer)
        step(index, twin, body, head)
    saved = copy.deepcopy(optimizer.state_dict())
    again = kind(model.parameters(), lr=1e-2, **options)
    state = attached.state_dict()
    attached.detach()
    again.load_state_dict(saved)
    attach("head-reset", model, again, state=state)
    for index in range(30, 40):
        step(index, model, again)
        step(index, twin, body, head)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_other_torch_optimizers_have_no_counts() -> None:
    kinds: list[Callable[..., torch.optim.Optimizer]] = [
        torch.optim.RMSprop,
        partial(torch.optim.Adam, amsgrad=True),
    ]
    for kind in kinds:
        model = nn.Linear(3, 2)
        optimizer = kind(model.parameters())
        adapted = attach("head-reset", model, optimizer).parts["network"].adapted
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        assert adapted.counts(model.weight) == []


@pytest.mark.parametrize("name", sorted(set(FRESH) - ARCHITECTURES - {"cbp", "head-reset", "layer-reset"}))
def test_what_older_records_lack_is_left_out_at_its_default(name: str) -> None:
    from plasticity_bench.records.configuration import method_folder, method_record

    record = method_record(choose_method(name))
    assert "fresh_count" not in record.settings
    changed = choose_method(f"{name}:fresh_count=true")
    assert method_record(changed).settings["fresh_count"] is True
    assert method_folder(changed) != method_folder(choose_method(name))
    together = method_record(choose_method(f"layer-norm+{name}"))
    assert f"{name}.fresh_count" not in together.settings
    assert create_method(name).info.version == 1
