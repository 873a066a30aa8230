"""Plasticity injection: outputs do not change, frozen parts stay fixed, and new parts are trained."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.errors import InputError
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.registry.create import create_method
from plasticity_bench.running.plan import open_cells
from tests.support.learners import few_test_images, finish, learner

DIGITS = "permuted-digits:tasks=3"
#: 24 updates a task.
MNIST = "permuted-mnist:tasks=3,images=512"
HEADS = pytest.mark.parametrize(
    ("stream", "head"), [(DIGITS, 1), (DIGITS, 2), (DIGITS, 9), (MNIST, 2), (MNIST, 3)]
)


@pytest.fixture(autouse=True)
def quickly_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    few_test_images(monkeypatch, 100)


def before_injection(method: str, stream: str, seeds: tuple[int, ...] = (1, 6)) -> SupervisedLearner:
    """A learner one update before the first task ends."""
    made = learner(method, seeds, stream=stream)
    made.piece = made.stream.steps - 1
    made.advance()
    assert made.task == 0
    made.piece = 1
    return made


def weights_of(layers: list[Layer]) -> list[torch.Tensor]:
    return [p.detach().clone() for p in trainable(layers)]


def by_hand(layers: list[Layer], weights: list[torch.Tensor], seed: int, x: torch.Tensor) -> torch.Tensor:
    """One seed's outputs of the layers with other (weight, bias) pairs, with torch.nn.functional alone."""
    for layer, weight, bias in zip(layers, weights[::2], weights[1::2], strict=True):
        if layer.kind == "conv":
            x = functional.max_pool2d(functional.relu(functional.conv2d(x, weight[seed], bias[seed])), 2)
        else:
            x = functional.linear(x.flatten(1), weight[seed], bias[seed])
            x = functional.relu(x) if layer.hidden else x
    return x


@HEADS
def test_outputs_stay_and_the_head_is_fresh_with_cleared_moments(stream: str, head: int) -> None:
    made = before_injection(f"plasticity-injection:after=1,head={head}", stream)
    plain = before_injection("none", stream)
    x = made.current.batches(0, 1)[0][0]
    made.advance()
    plain.advance()
    assert made.task == plain.task == 1
    assert torch.equal(made.network.forward(x), plain.network.forward(x))
    split = max(0, len(made.layers) - head)
    for i, (ours, theirs) in enumerate(zip(made.layers, plain.layers, strict=True)):
        for new, old in zip(ours.trainable(), theirs.trainable(), strict=True):
            moments = made.trained.optimizer.moments(new), plain.trained.optimizer.moments(old)
            if i < split:
                assert torch.equal(new, old)
                assert all(torch.equal(a, b) for a, b in zip(*moments, strict=True))
                continue
            bound = ours.weight_bound
            assert not torch.equal(new, old)
            assert float(new.detach().abs().max()) <= bound
            assert not any(moment.any() for moment in moments[0])
            assert all(moment.any() for moment in moments[1])
    assert float(made.trained.optimizer.step_count) == made.stream.steps


@HEADS
def test_only_the_encoder_and_the_fresh_head_learn(stream: str, head: int) -> None:
    made = before_injection(f"plasticity-injection:after=1,head={head}", stream)
    made.advance()
    split = max(0, len(made.layers) - head)
    ((_, second), (_, old)) = made.layers[split].branches
    frozen = [*weights_of(second), *weights_of(old)]
    start = weights_of(made.layers)
    made.piece = 5
    x = made.current.batches(0, 1)[0][0]
    before = made.network.forward(x).detach()
    made.advance()
    assert all(torch.equal(a, b) for a, b in zip(frozen, [*trainable(second), *trainable(old)], strict=True))
    moved = [
        float((now - then).detach().abs().max())
        for now, then in zip(trainable(made.layers), start, strict=True)
    ]
    assert min(moved) > 1e-4
    assert float((made.network.forward(x) - before).detach().abs().max()) > 1e-2
    first = made.sums[1].clone()  # the loss of five updates
    for _ in range(3):
        earlier = made.sums[1].clone()
        made.advance()
    assert bool((made.sums[1] - earlier < first).all())


@HEADS
def test_gradients_are_those_of_the_three_heads(stream: str, head: int) -> None:
    made = learner(f"plasticity-injection:after=1,head={head}", (1, 6), stream=stream, dtype=torch.float64)
    while made.task == 0:
        made.advance()
    made.piece = 3
    made.advance()  # so that the fresh heads differ
    (x,), (y,) = made.current.batches(3, 4)
    target = made._target(y, x.dtype)
    with torch.no_grad():
        outputs = made.trained.gradients(x, target)
    split = max(0, len(made.layers) - head)
    encoder, heads = made.layers[:split], made.layers[split:]
    ((minus, second), (plus, old)) = made.layers[split].branches
    assert (minus, plus) == (-1, 1)
    for s in range(2):
        ours = [p.detach().clone().requires_grad_() for p in trainable(made.layers)]
        z = by_hand(encoder, ours[: 2 * split], s, x[s])
        expected = (
            by_hand(heads, weights_of(old), s, z)
            + by_hand(heads, ours[2 * split :], s, z)
            - by_hand(heads, weights_of(second), s, z)
        )
        torch.testing.assert_close(outputs[s], expected.detach())
        loss = functional.cross_entropy(expected, y[s])
        for found, gradient in zip(trainable(made.layers), torch.autograd.grad(loss, ours), strict=True):
            assert found.grad is not None
            torch.testing.assert_close(found.grad[s], gradient[s], rtol=1e-8, atol=1e-11)


def test_it_equals_none_until_the_injection() -> None:
    tables, plain = finish(learner("plasticity-injection:after=2")), finish(learner("none"))
    assert np.array_equal(tables[:, :2], plain[:, :2], equal_nan=True)
    assert not np.array_equal(tables[:, 2], plain[:, 2], equal_nan=True)
    # Not worse than a network that learned two tasks before.
    assert (tables[:, 2, 1] > plain[:, 2, 1] - 0.1).all()


def test_a_run_resumed_in_mid_task_after_the_injection_is_bit_identical() -> None:
    name, stream = "plasticity-injection:after=1,head=2", "permuted-mnist:tasks=3,images=128,epochs=6"
    whole = learner(name, stream=stream)
    whole.piece = 5
    states = []
    while not whole.finished:
        states.append(copy.deepcopy(whole.state_dict()))
        whole.advance()
    assert {len(state["trained"][0].get("branches", ())) for state in states} == {0, 2}
    for state in states[:: len(states) // 4]:
        resumed = learner(name, stream=stream)
        resumed.piece = 5
        resumed.load_state_dict(state)
        while not resumed.finished:
            resumed.advance()
        assert torch.equal(resumed.network.flat, whole.network.flat)
        assert str(resumed.rows) == str(whole.rows)


def test_a_reset_takes_the_frozen_heads_away() -> None:
    made = learner("plasticity-injection:after=1+reset")
    while made.task == 0:
        made.advance()
    assert not any(layer.branches for layer in made.layers)
    x = made.current.batches(0, 1)[0][0]
    expected = by_hand(made.layers, weights_of(made.layers), 0, x[0])
    torch.testing.assert_close(made.network.forward(x)[0], expected)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            "plasticity-injection",
            "plasticity-injection never acts on permuted-digits:tasks=3: it waits for 5 tasks of 3; "
            "set after to 2 or less",
        ),
        ("l2+plasticity-injection:after=3", "plasticity-injection:after=3 never acts"),
        ("plasticity-injection:after=2", ""),
        ("plasticity-injection:after=0", ""),
    ],
)
def test_it_is_refused_if_it_would_never_inject(tmp_path: Path, method: str, said: str) -> None:
    plans = [plan_cell(DIGITS, "l2"), plan_cell(DIGITS, method)]
    if not said:
        assert len(open_cells(tmp_path / "runs", plans, [0])) == 2
        return
    with pytest.raises(InputError, match=re.escape(said)):
        open_cells(tmp_path / "runs", plans, [0])
    assert not (tmp_path / "runs").exists(), "before a folder is made for the first"


def test_what_is_not_supported_gives_one_line() -> None:
    with pytest.raises(InputError, match="averaged weights cannot follow"):
        learner("hare-tortoise+plasticity-injection")
    for text, phrase in (("after=-1", "at least 0"), ("head=0", "at least 1")):
        with pytest.raises(InputError, match=phrase):
            create_method(f"plasticity-injection:{text}")
