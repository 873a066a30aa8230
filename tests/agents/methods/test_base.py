"""The list of hooks: complete, and every trainer calls all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from plasticity_bench.agents.adapters.torch_adapter import attach
from plasticity_bench.agents.capture import CapturedUpdater
from plasticity_bench.agents.grouped_learner import GroupedLearner
from plasticity_bench.agents.methods.base import CLASS_VARIABLES, HOOKS, Method, MethodInfo
from plasticity_bench.agents.methods.composed import Composed
from plasticity_bench.agents.ppo import PPOLearner
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.registry.create import create_stream
from tests.support.learners import DIGITS, supervised
from tests.support.recorded_graphs import RecordedGraphs

NAMES = {hook.name for hook in HOOKS}


def test_the_list_names_every_function_of_method_once_and_no_others() -> None:
    functions = {name for name, value in vars(Method).items() if inspect.isfunction(value) and name[0] != "_"}
    assert functions == NAMES
    assert len(HOOKS) == len(NAMES)
    assert all(hook.parameters[0] == "self" for hook in HOOKS)
    assert {hook.name for hook in HOOKS if hook.sees_layers} == {
        *("setup", "penalty", "feature_penalty", "before_update", "after_update", "on_task_end")
    }


def test_compositions_pass_every_hook_on() -> None:
    for hook in HOOKS:
        assert getattr(Composed, hook.name) is not getattr(Method, hook.name), hook
        own = inspect.signature(getattr(Composed, hook.name)).parameters
        assert list(own) == hook.parameters


def test_class_variables_are_those_of_method() -> None:
    assert CLASS_VARIABLES == ("info", "needs_features", "needs_order", "schedule")


@dataclass
class Counting(Method):
    """Records which of its hooks are called."""

    info: ClassVar[MethodInfo] = MethodInfo("counting", "", task_boundaries=True)
    called: ClassVar[set[str]] = set()


def _counting(name: str) -> Callable[..., Any]:
    def call(self: Method, *arguments: Any) -> Any:
        Counting.called.add(name)
        return getattr(super(Counting, self), name)(*arguments)

    return call


for _name in NAMES:
    setattr(Counting, _name, _counting(_name))


def supervised_learner() -> SupervisedLearner:
    def captured(trained: Any) -> CapturedUpdater:
        return CapturedUpdater(trained, RecordedGraphs())

    return SupervisedLearner(supervised(DIGITS), Counting(), (0, 1), updater=captured)


def grouped() -> GroupedLearner:
    stream = supervised(DIGITS)
    return GroupedLearner(stream, [(Counting(), stream.optimizer) for _ in range(2)], (0, 1))


def acting() -> PPOLearner:
    stream: Any = create_stream("shuffled-gridworld:tasks=2,rollouts=1")
    return PPOLearner(stream, Counting(), (0,))


def finish(made: Any) -> None:
    saved = made.shares[0] if isinstance(made, GroupedLearner) else made
    saved.load_state_dict(saved.state_dict())
    while made.task < 1:
        made.advance()


def attached() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    made = attach(Counting, model, optimizer)
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    made.task_end()
    made.load_state_dict(made.state_dict())
    with made.predicting():
        pass


#: Only a learner that captures its updates asks how many of them are equal.
REPLAYED = {"repeats", "skip"}


@pytest.mark.parametrize(
    ("train", "never"),
    [
        (lambda: finish(supervised_learner()), set()),
        (lambda: finish(grouped()), REPLAYED),
        (lambda: finish(acting()), REPLAYED),
        (attached, REPLAYED),
    ],
    ids=["supervised", "grouped", "ppo", "torch"],
)
def test_every_trainer_calls_every_hook(train: Callable[[], None], never: set[str]) -> None:
    Counting.called.clear()
    train()
    assert NAMES - never == Counting.called
