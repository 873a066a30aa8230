"""Fresh twins: what they start from, what they train on, stacks, and resuming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.agents.twins import FreshTwins
from plasticity_bench.errors import InputError
from plasticity_bench.registry.create import create_method, create_stream
from plasticity_bench.seeding import Twin
from plasticity_bench.specs import late_tasks, twin_tasks
from plasticity_bench.stats.inference import paired_test
from plasticity_bench.tasks.base import Task, TaskSource
from tests.support.control_bench import GymStream
from tests.support.learners import shorten_digits, supervised

DIGITS = "permuted-digits:tasks=6"
METHODS = ("none", "syre", "redo", "layer-norm", "trac")


def twins(
    method: str = "none", seeds: Sequence[int] = (0, 1), tasks: Sequence[int] = (0, 4), **options: Any
) -> FreshTwins:
    stream = options.pop("stream", None) or supervised(DIGITS)
    return FreshTwins(stream, lambda: create_method(method), seeds, tasks, **options)


def trained(made: FreshTwins) -> list[list[dict[str, float]]]:
    while not made.finished:
        made.advance()
    return made.rows


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_digits(monkeypatch, 20)


@pytest.mark.parametrize(
    ("tasks", "late", "all_of_them"),
    [
        (300, range(270, 300), (*range(0, 270, 10), *range(270, 300))),
        (100, range(90, 100), (*range(0, 90, 10), *range(90, 100))),
        (20, range(15, 20), (0, 10, 15, 16, 17, 18, 19)),
        (10, range(8, 10), (0, 8, 9)),
        (2, range(2), (0, 1)),
    ],
)
def test_the_tasks_of_twins(tasks: int, late: range, all_of_them: tuple[int, ...]) -> None:
    assert late_tasks(tasks) == late
    assert twin_tasks(tasks) == all_of_them


class FromTask:
    """A source whose first task is task ``first`` of another one."""

    def __init__(self, source: TaskSource, first: int) -> None:
        self.source, self.first = source, first

    def task(self, index: int) -> Task:
        return self.source.task(self.first + index)


@pytest.mark.parametrize("method", METHODS)
def test_a_twin_is_the_learner_started_from_scratch_at_the_task(method: str) -> None:
    """It equals a whole learner whose stream begins there and that draws from the twin's generators."""
    stream = supervised(DIGITS)
    source = FromTask(stream.open([1], torch.device("cpu"), torch.float32), 4)
    alone = SupervisedLearner(stream, create_method(method), [Twin(1, 4)], source=source)
    alone.advance()
    (row,) = alone.rows[0]
    found = trained(twins(method, networks=64))[1][1]
    assert found["task"] == 4
    assert found["online_performance"] == row["online_performance"]
    assert found["online_loss"] == row["online_loss"]


def test_the_twin_at_the_first_task_has_other_weights_and_the_same_data() -> None:
    stream = supervised(DIGITS)
    own = SupervisedLearner(stream, create_method("none"), (0, 1))
    made = twins(tasks=(0,))
    stack = made.stack
    assert isinstance(stack, SupervisedLearner)
    assert not torch.equal(stack.network.flat, own.network.flat)
    for left, right in zip(stack.current.batches(0, 20), own.current.batches(0, 20), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("networks", [1, 2, 4, 64])
def test_results_do_not_depend_on_how_twins_are_stacked(method: str, networks: int) -> None:
    whole = trained(twins(method, (0, 1, 2), (0, 2, 4, 5), networks=12))
    assert trained(twins(method, (0, 1, 2), (0, 2, 4, 5), networks=networks)) == whole
    assert trained(twins(method, (2,), (4,)))[0] == [whole[2][2]]


def test_twins_of_regression_record_the_variance_of_the_targets() -> None:
    stream = supervised("bit-flip:tasks=3")
    rows = trained(twins("none", (0, 1), (0, 2), stream=stream, networks=4))
    source = stream.open([0, 1], torch.device("cpu"), torch.float32)
    for seed in (0, 1):
        for row in rows[seed]:
            _, y = source.task(int(row["task"])).batches(0, stream.steps)
            values = y[:, seed].double().numpy()
            assert row["target_variance"] == pytest.approx(values.var(), rel=1e-6)
            pooled = 1 - row["online_loss"] / values.var()
            assert row["online_performance"] == pytest.approx(max(pooled, -1), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_resumed_in_the_middle(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plasticity_bench.agents.supervised.PIECE", 64 * 16 * 5)
    whole = trained(twins(method, (0, 1), (0, 2, 4)))
    first = twins(method, (0, 1), (0, 2, 4))
    while first.progress < 25:
        first.advance()
    assert first.progress % 20 != 0
    state = first.state_dict()
    again = twins(method, (0, 1), (0, 2, 4))
    again.load_state_dict(state)
    assert again.progress == first.progress
    assert trained(again) == whole


def test_a_state_of_another_division_is_refused() -> None:
    first = twins(tasks=(0, 2, 4))
    first.advance()
    with pytest.raises(InputError, match="stacks of another size"):
        twins(tasks=(0, 2, 4), networks=4).load_state_dict(first.state_dict())


def test_progress_counts_all_twins_of_a_seed() -> None:
    made = twins(tasks=(0, 2, 4, 5), networks=4)
    assert (made.total, made.progress, made.size) == (80, 0, 4)
    made.advance()
    assert made.progress == 40
    trained(made)
    assert made.progress == 80


def test_plain_training_started_again_is_what_reset_does() -> None:
    """``reset`` and the twins of ``none`` do the same with other random numbers: no difference is found."""
    stream = supervised("permuted-digits:tasks=10")
    reset = SupervisedLearner(stream, create_method("reset"), range(12))
    while not reset.finished:
        reset.advance()
    fresh = trained(twins("none", range(12), range(10), stream=stream, networks=120))
    means = [
        np.array([np.mean([row["online_performance"] for row in own]) for own in rows])
        for rows in (reset.rows, fresh)
    ]
    assert paired_test(*means) > 0.05
    assert abs(means[0].mean() - means[1].mean()) < 0.02


def test_agents_start_at_their_task_with_twins_generators() -> None:
    stream = GymStream(tasks=3)
    rows = trained(twins("none", (3, 4), (0, 2), stream=stream))
    alone = trained(twins("none", (4,), (2,), stream=stream))
    assert alone[0] == [rows[1][1]]
    assert [row["task"] for row in rows[0]] == [0, 2]
    assert rows[0][0]["online_performance"] != rows[1][0]["online_performance"]


def test_agents_resume_in_the_middle() -> None:
    stream = GymStream(tasks=3)
    whole = trained(twins("l2", (3, 4), (0, 2), stream=stream))
    first = twins("l2", (3, 4), (0, 2), stream=stream)
    for _ in range(stream.rollouts + 1):
        first.advance()
    again = twins("l2", (3, 4), (0, 2), stream=stream)
    again.load_state_dict(first.state_dict())
    assert again.progress == first.progress
    assert trained(again) == whole


def test_a_stream_of_avalanche() -> None:
    stream = create_stream("avalanche:tests.support.digits_benchmarks:permuted_digits")
    rows = trained(twins("none", (0, 1), (0, stream.tasks - 1), stream=stream))
    assert all(len(own) == 2 and own[1]["final_performance"] > 0 for own in rows)
