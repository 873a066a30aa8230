"""Captured steps, with a stand-in for CUDA graphs that replays operations without running Python."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from plasticity_bench.agents.capture import CAPTURE, CapturedUpdater, EagerUpdater, make_updater
from plasticity_bench.agents.layers import Layer
from plasticity_bench.agents.methods import Method, MethodInfo
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.agents.trained_network import TrainedNetwork
from plasticity_bench.registry.catalog import METHODS
from tests.support.learners import DIGITS, few_test_images, finish, learner, shorten_digits, supervised
from tests.support.method_names import NOT_CAPTURED, VARIANTS
from tests.support.mnist_files import needs_mnist
from tests.support.recorded_graphs import RecordedGraphs

#: Methods whose steps differ at every update, so that none can be captured.
ALWAYS_ACTING = "interval=1,"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the longest period of a variant, 100 updates, within three tasks."""
    shorten_digits(monkeypatch, 40)
    few_test_images(monkeypatch, 100)


def captured(trained: TrainedNetwork) -> CapturedUpdater:
    return CapturedUpdater(trained, RecordedGraphs(), lengths=(4, 1))


def updater_of(made: SupervisedLearner) -> CapturedUpdater:
    assert isinstance(made.updater, CapturedUpdater)
    return made.updater


def same(left: SupervisedLearner, right: SupervisedLearner) -> bool:
    """Trains both to the end, and checks that tables, weights and gradients are bit-identical."""
    tables = finish(left), finish(right)
    networks = left.network, right.network
    return (
        np.array_equal(*tables, equal_nan=True)
        and torch.equal(*(network.flat for network in networks))
        and torch.equal(*(network.gradient for network in networks))
    )


@pytest.mark.parametrize("name", [*METHODS, *VARIANTS])
def test_replayed_updates_are_bit_identical(name: str) -> None:
    made = learner(name, updater=captured)
    assert same(learner(name), made)
    updater = updater_of(made)
    reason = next((why for part, why in NOT_CAPTURED.items() if part in name), "")
    if reason:
        assert reason in updater.reason
        assert updater.replayed == 0
    elif ALWAYS_ACTING in name:
        assert updater.replayed == 0
    else:
        assert updater.reason == ""
        assert updater.replayed > made.progress / 2
        assert updater.captures <= 4, "what does not change is captured once"


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        ("bit-flip:tasks=2", "redo:period=20"),
        pytest.param("online-permuted-mnist:tasks=2,batch_size=200", "none", marks=needs_mnist),  # SGD
        pytest.param(
            *("permuted-mnist:tasks=2,images=384,epochs=1", "batch-norm+hare-tortoise:decay=0.9,period=7"),
            marks=needs_mnist,
        ),
    ],
)
def test_other_streams(stream: str, name: str) -> None:
    made = learner(name, stream=stream, updater=captured)
    assert same(learner(name, stream=stream), made)
    assert updater_of(made).replayed > 0


def test_a_run_goes_on_from_a_checkpoint() -> None:
    whole = learner("swr:period=10,share=0.01")
    first = learner("swr:period=10,share=0.01", updater=captured)
    while first.task < 2:
        first.advance()
    second = learner("swr:period=10,share=0.01", updater=captured)
    second.advance()  # graphs captured before are not used
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert same(whole, second)
    assert updater_of(second).replayed > 0


@dataclass
class Tried(Method):
    """Base class of the methods in the tests below."""

    info: ClassVar[MethodInfo] = MethodInfo("tried", "for tests")

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        self.rng, self.factor, self.updates = rng, 1.0, 0
        self.memory = layers[0].bias.detach() * 0


def tried(cls: type[Method], stream: str = DIGITS, **options: Any) -> SupervisedLearner:
    return SupervisedLearner(supervised(stream), cls(), (0, 1), **options)


class Counts(Tried):
    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        self.updates += 1
        layers[0].bias.mul_(1 - 1e-4 * self.updates)


class Rebinds(Tried):
    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        self.memory = self.memory * 0.9 + layers[0].bias
        layers[0].bias.sub_(self.memory, alpha=1e-3)


class Waits(Tried):
    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        if layers[0].bias.max() > 0.1:
            layers[0].bias.mul_(0.99)


class Masks(Tried):
    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        layers[0].bias[layers[0].bias > 0.1] *= 0.99


class Schedules(Tried):
    """Changes the step size, of which a graph has a copy."""

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        optimizer.lr *= 0.999


class Miscounts(Tried):
    """Counts by two what ``skip`` counts by one."""

    schedule = ("updates",)

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        self.updates += 2

    def skip(self, updates: int) -> None:
        self.updates += updates


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (Counts, "an update changes the method.updates"),
        (Rebinds, "an update changes the method.memory"),
        (Waits, "an update waits for the device in _local_scalar_dense"),
        (Masks, "by a mask"),
        (Schedules, "an update changes the optimizer.lr"),
        (Miscounts, "otherwise than Method.skip says"),
    ],
)
def test_what_cannot_be_captured_is_detected(cls: type[Method], reason: str) -> None:
    made = tried(cls, updater=captured)
    assert same(tried(cls), made)
    assert reason in made.updater.reason
    assert made.updater.replayed == 0


class Anneals(Tried):
    """Changes a Python-side value between tasks."""

    info: ClassVar[MethodInfo] = MethodInfo("anneals", "for tests", task_boundaries=True)

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        layers[0].weight.mul_(1 - 1e-4 * self.factor)

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        optimizer.lr /= 2
        self.factor /= 3


def test_another_number_is_another_graph() -> None:
    made = tried(Anneals, updater=captured)
    assert same(tried(Anneals), made)
    assert (made.updater.reason, made.updater.replayed) == ("", made.progress - 3 * 3)
    assert updater_of(made).captures >= 3


class Restless(Anneals):
    """Changes a Python-side value at every tenth update."""

    schedule = ("updates",)

    def repeats(self, batch: int) -> int:
        return 9 - self.updates % 10

    def skip(self, updates: int) -> None:
        self.updates += updates

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        self.updates += 1
        if self.updates % 10 == 0:
            self.factor *= 0.9


def test_capturing_ends_where_it_does_not_pay() -> None:
    made = tried(Restless, updater=captured)
    assert same(tried(Restless), made)
    assert made.updater.reason == "what a captured step depends on changes too often"
    assert 0 < made.updater.replayed < made.progress / 2


class Failing(RecordedGraphs):
    """Runs all of a step's Python code, then runs out of memory."""

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        super().capture(run)
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate much")


@pytest.mark.parametrize("name", ["none", "redo:period=50", "trac", "batch-norm"])
def test_a_capture_that_fails_leaves_no_trace(name: str) -> None:
    made = learner(name, updater=lambda trained: CapturedUpdater(trained, Failing()))
    assert same(learner(name), made)
    assert made.updater.reason == "capture failed: OutOfMemoryError: CUDA out of memory."


class Late(Tried):
    """Changes the method only during the capture, which no earlier step shows."""

    calls: ClassVar[int] = 0

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        Late.calls += 1
        if Late.calls == 4:
            self.memory = self.memory + 1
        layers[0].bias.sub_(self.memory, alpha=1e-3)


def test_a_capture_that_changes_the_method_is_taken_back() -> None:
    Late.calls = 0
    made = tried(Late, updater=captured)
    finish(made)
    Late.calls = 4  # never again
    assert same(tried(Late), made)
    assert made.updater.reason == "a capture changes the method.memory"


def test_the_stand_in_replays_numbers_and_memory_of_the_capture_and_leaves_no_trace() -> None:
    x, factor = torch.ones(3), [2.0]
    out = torch.zeros(3)
    graphs = RecordedGraphs()

    def run() -> None:
        out.copy_((x * factor[0]).add_(1)[:2].sum() + x)
        x.mul_(2)

    replay = graphs.capture(run)
    assert (x.tolist(), out.tolist()) == ([1.0] * 3, [0.0] * 3)
    factor[0] = 100.0
    replay()
    assert (x.tolist(), out.tolist()) == ([2.0] * 3, [7.0] * 3)
    replay()
    assert (x.tolist(), out.tolist()) == ([4.0] * 3, [12.0] * 3)


def test_outputs_stay_as_they_were() -> None:
    made = learner("none", updater=captured)
    x, y = made.current.batches(0, 40)
    target = made._target(y, x.dtype)
    outputs = made.updater.learn(x[:20], target[:20])
    kept = [output.clone() for output in outputs]
    made.updater.learn(x[20:], target[20:])
    assert updater_of(made).replayed == 37
    assert all(map(torch.equal, outputs, kept))


def test_steps_are_captured_on_cuda_alone_and_where_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    made = learner()
    assert isinstance(made.updater, EagerUpdater)
    assert made.updater.reason == "no graphs on cpu"
    monkeypatch.setenv(CAPTURE, "0")
    updater = make_updater(made.trained, torch.device("cuda"))
    assert isinstance(updater, EagerUpdater)
    assert updater.reason == f"{CAPTURE}=0"
