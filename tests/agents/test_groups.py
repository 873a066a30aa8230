"""Stacked configurations: each one is bit-identical to the same configuration trained alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from plasticity_bench.agents.grouped_learner import GroupedLearner, Share
from plasticity_bench.agents.layers import Layer
from plasticity_bench.agents.methods import Method, MethodInfo
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.errors import InputError
from plasticity_bench.records.tables import COLUMNS
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.choices import Chosen, choose_method
from plasticity_bench.registry.learning_rate import with_learning_rate
from plasticity_bench.tasks.bit_flip import BitFlip
from tests.support.learners import shorten_digits, supervised
from tests.support.plans import named_sweep

STREAM = "permuted-digits:tasks=3"
SEEDS = (3, 8)
#: Settings that change the architecture: configurations with different values cannot be stacked.
ALIKE = {"dropout": "dropout:p=0.3", "plasticity-injection": "plasticity-injection:head=1"}
#: Updates of a task.
STEPS = 24
#: Settings that act within three tasks, by what their schedules count.
SOON = {"period": (20, 30, 50), "after": (1, 2, 1), "window": (20, 30, 50), "interval": (0, 7, 9)}
SOONER: dict[str, list[dict[str, str]]] = {
    "cbp": [{"rate": "0.01", "maturity": "10"}, {"rate": "0.02", "maturity": "5"}, {"rate": "0.01"}],
    "weight-clipping": [{"kappa": "1"}, {}, {}],
}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_digits(monkeypatch, STEPS)


def configurations(name: str, stream: str = STREAM, count: int = 3) -> list[Chosen]:
    """The first that a sweep tries: the defaults, then other settings with other learning rates."""
    text = ALIKE.get(name, name)
    found = []
    for i, settings in enumerate(named_sweep(stream, text, count).configurations):
        own = choose_method(name).settings
        soon = {key: str(SOON[key][i]) for key in own if key in SOON}
        found.append(choose_method(text, {**settings, **soon, **SOONER.get(name, [{}] * count)[i]}))
    assert len({chosen.settings["lr"] for chosen in found}) == count
    return found


def grouped(chosen: Sequence[Chosen], stream: str = STREAM) -> GroupedLearner:
    made = supervised(stream)
    members = [(one.make(), with_learning_rate(made, one)) for one in chosen]
    return GroupedLearner(made, members, SEEDS)


def alone(chosen: Chosen, stream: str = STREAM, seeds: Sequence[int] = SEEDS) -> SupervisedLearner:
    made = supervised(stream)
    return SupervisedLearner(made, chosen.make(), seeds, optimizer=with_learning_rate(made, chosen))


def finish(learner: Any) -> Any:
    while not learner.finished:
        learner.advance()
    return learner


def table(rows: list[list[dict[str, float]]]) -> np.ndarray:
    return np.array([[[row.get(name, np.nan) for name in COLUMNS] for row in of_seed] for of_seed in rows])


def expect_same(share: Share, other: SupervisedLearner) -> None:
    assert share.failure is None
    np.testing.assert_array_equal(table(share.rows), table(other.rows))
    group = share.learner.trained.groups[share.index]
    assert torch.equal(group.network.flat, other.network.flat)


def saved(learner: Share | SupervisedLearner) -> bytes:
    """The state as a checkpoint stores it."""
    file = io.BytesIO()
    torch.save(learner.state_dict(), file)
    return file.getvalue()


def load(into: Share | SupervisedLearner, state: bytes) -> None:
    into.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))


@pytest.mark.parametrize("name", METHODS)
def test_side_by_side_as_alone(name: str) -> None:
    """They pass task boundaries and a checkpoint in the middle of the second task.

    From this checkpoint one configuration is also continued alone.
    """
    chosen = configurations(name)
    first = grouped(chosen)
    first.piece = 10
    for _ in range(4):
        first.advance()
    assert (first.task, first.step) == (1, 10)
    states = [saved(share) for share in first.shares]
    second = grouped(chosen)
    for share, state in zip(second.shares, states, strict=True):
        load(share, state)
    second.piece = first.piece
    finish(second)
    for one, share in zip(chosen, second.shares, strict=True):
        other = alone(one)
        other.piece = first.piece
        expect_same(share, finish(other))
    defaults = second.shares[0].learner.trained.groups[0].network.flat
    plain = finish(alone(choose_method("none"))).network.flat
    assert torch.equal(plain, defaults) == (name == "none"), "it acts within so short a stream"
    again = alone(chosen[1])
    load(again, states[1])
    assert len(states[1]) < 1.2 * len(
        saved(again)
    )  # it does not hold the memory that all configurations share
    again.piece = first.piece
    expect_same(second.shares[1], finish(again))


@pytest.mark.parametrize("name", ["l2", "cbp", "hare-tortoise"])
def test_one_output_and_diagnostics(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """bit-flip's products have one row, whose last digits depend on a network's place in a stack."""
    monkeypatch.setattr(BitFlip, "steps", 80)
    stream = "bit-flip:tasks=2"
    chosen = configurations(name, stream)
    learner = finish(grouped(chosen, stream))
    for one, share in zip(chosen, learner.shares, strict=True):
        expect_same(share, finish(alone(one, stream)))


@pytest.mark.parametrize(
    "name", ["batch-norm+cbp:rate=0.1,maturity=5", "layer-norm+l2-er", "dropout:p=0.2+redo:period=25"]
)
def test_convolutions_and_compositions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from plasticity_bench.specs import NetworkSpec
    from plasticity_bench.tasks.digits import PermutedDigits

    spec = NetworkSpec((1, 8, 8), 10, (12,), channels=(4,), kernel=3)
    shorten_digits(monkeypatch, 20)
    monkeypatch.setattr(PermutedDigits, "network", spec)
    real = PermutedDigits.open

    def as_images(self: PermutedDigits, *args: Any) -> Any:
        source = real(self, *args)
        source.shape = (1, 8, 8)
        return source

    monkeypatch.setattr(PermutedDigits, "open", as_images)
    chosen = [choose_method(name, {"lr": lr}) for lr in ("0.001", "0.003", "0.01")]
    learner = finish(grouped(chosen, "permuted-digits:tasks=2"))
    for one, share in zip(chosen, learner.shares, strict=True):
        expect_same(share, finish(alone(one, "permuted-digits:tasks=2")))


def test_nan_stays_where_it_is() -> None:
    chosen = [choose_method("none", {"lr": lr}) for lr in ("0.001", "1e30", "0.003")]
    learner = finish(grouped(chosen))
    assert np.isnan(table(learner.shares[1].rows)[..., 1:]).any()
    assert not torch.isfinite(learner.trained.groups[1].network.flat).all()
    for i in (0, 2):
        expect_same(learner.shares[i], finish(alone(chosen[i])))


class Fault(Exception):
    """The error that a failing method of these tests raises."""


def failing(hook: str) -> Method:
    """L2 that raises in one of its hooks: in the first call, or in the tenth of a hook called often."""

    class Failing(Method):
        info = MethodInfo(name="failing", summary="fails", task_boundaries=True)
        calls = 0

    def fail(self: Failing, *args: Any) -> Any:
        self.calls += 1
        if self.calls == (1 if hook in ("setup", "on_task_end") else 10):
            raise Fault(hook)

    setattr(Failing, hook, fail)
    return Failing()


@pytest.mark.parametrize(
    "hook", ["setup", "penalty", "feature_penalty", "before_update", "after_update", "on_task_end"]
)
def test_a_configuration_that_fails_leaves_the_others_as_they_were(hook: str) -> None:
    chosen = [choose_method("shrink-perturb", {"lr": lr}) for lr in ("0.001", "0.003")]
    stream = supervised(STREAM)
    members = [(one.make(), with_learning_rate(stream, one)) for one in chosen]
    members.insert(1, (failing(hook), stream.optimizer))
    learner = finish(GroupedLearner(stream, members, SEEDS))
    assert isinstance(learner.shares[1].failure, Fault)
    assert str(learner.shares[1].failure) == hook
    for one, share in zip(chosen, (learner.shares[0], learner.shares[2]), strict=True):
        expect_same(share, finish(alone(one)))


def test_nothing_left_to_train() -> None:
    stream = supervised(STREAM)
    members = [(failing("after_update"), stream.optimizer) for _ in range(2)]
    learner = finish(GroupedLearner(stream, members, SEEDS))
    assert learner.task < stream.tasks
    assert all(isinstance(share.failure, Fault) for share in learner.shares)


def test_other_networks_are_no_stack() -> None:
    for names in (("none", "layer-norm"), ("dropout:p=0.1", "dropout:p=0.2")):
        with pytest.raises(InputError, match="no stack"):
            grouped([choose_method(name) for name in names])


def test_features_and_gradients_are_each_configurations_own() -> None:
    """Tensors that a hook sees have the same shapes as without stacking."""
    seen: list[tuple[Any, ...]] = []

    class Looks(Method):
        info = MethodInfo(name="looks", summary="looks")
        needs_features = True

        def after_update(self, layers: Sequence[Layer], optimizer: Any) -> None:
            features = [layer.features for layer in layers if layer.hidden]
            seen.append(tuple(tuple(f.shape) for f in features if f is not None))
            assert all(p.grad is not None and p.grad.shape == p.shape for p in layers[0].parameters())

    stream = supervised(STREAM)
    learner = GroupedLearner(stream, [(Looks(), stream.optimizer) for _ in range(2)], SEEDS)
    learner.piece = 1
    learner.advance()
    assert [share.failure for share in learner.shares] == [None, None]
    assert seen == [((2, 16, 100), (2, 16, 100))] * 2
