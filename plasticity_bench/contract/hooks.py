"""Checks that every hook changes and returns only what it may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.agents.methods.base import HOOKS
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.contract.results import Broken
from plasticity_bench.contract.subject import Subject, same_bits
from plasticity_bench.contract.watch import Call, watched, weights_and_gradients
from plasticity_bench.specs import NetworkSpec


def behave(subject: Subject) -> str:
    """Trains one task, passes its end, and checks what every hook changes and returns."""
    checker = _HookChecker(subject)
    made = subject.learner(method=watched(subject.make(), checker))
    while made.task == 0:
        made.advance()
    call_remaining_hooks(made)
    count = len(checker.called)
    return f"{count} hook{'' if count == 1 else 's'} called: {', '.join(sorted(checker.called)) or 'none'}"


@torch.no_grad()
def call_remaining_hooks(made: SupervisedLearner) -> None:
    """Calls the hooks that training on a CPU without checkpoints does not call.

    The learner must not be trained after this.
    """
    method = made.trained.method
    for hook in HOOKS:
        method.uses(hook.name)
    method.repeats(made.stream.batch)
    method.skip(1)
    method.load_state_dict(method.state_dict())


class _HookChecker:
    """Observer: raises Broken for the first hook that changes or returns what it must not."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.called = subject, set[str]()
        self.before: list[dict[str, torch.Tensor]] = []  # a hook may call another one

    def __call__(self, call: Call) -> None:
        if not call.done:
            self.called.add(call.name)
            self.before.append({what: tensor.clone() for what, tensor in _protected(call).items()})
            return
        before, now = self.before.pop(), _protected(call)
        for what, tensor in before.items():
            if not same_bits(tensor, now[what]):
                raise Broken(
                    f"{call.name} changes {what}, which it must leave as it is",
                    f"change weights only in {_allowed('weights')}; gradients in {_allowed('gradients')}",
                    self.subject.place(call.name),
                )
        if problem := _returned(call):
            raise Broken(*problem, self.subject.place(call.name))


def _protected(call: Call) -> dict[str, torch.Tensor]:
    """The tensors that the hook must not change: name -> tensor."""
    kinds = [kind for kind in ("weights", "gradients") if kind not in call.hook.may_change]
    found = weights_and_gradients(call.layers, kinds)
    if call.hook.name == "feature_penalty":
        layer, features = call.arguments
        found[f"the features of {layer.name}"] = features.detach()
    return found


def _allowed(kind: str) -> str:
    names = [hook.name for hook in HOOKS if kind in hook.may_change]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _returned(call: Call) -> tuple[str, str] | None:
    """(problem, fix) of what a hook returned; None if it is right."""
    result, kind = call.result, type(call.result).__name__
    match call.hook.returns:
        case "nothing" if result is not None:
            return (
                f"{call.name} returns a {kind}, which is not used",
                "change weights and gradients in place",
            )
        case "loss term" if result is not None:
            return _loss_term(call)
        case "network" if not isinstance(result, NetworkSpec):
            return f"{call.name} returns a {kind}, not a NetworkSpec", "return dataclasses.replace(spec, ...)"
        case "layers" if result is not None and not _fits(result, call.layers):
            return (
                f"{call.name} returns a {kind} that is no list of layers like those given to setup",
                "return layers made by agents.layers.copies(layers) in setup, or None",
            )
        case "count" if type(result) is not int or result < 0:
            return f"{call.name} returns {result!r}", "return how many updates, a whole number of at least 0"
        case "truth" if not isinstance(result, bool):
            return f"{call.name} returns a {kind}", "return True or False: whether the hook does something"
        case "state" if not (isinstance(result, dict) and all(isinstance(key, str) for key in result)):
            return f"{call.name} returns a {kind}", "return a dict with names of attributes as its keys"
    return None


def _loss_term(call: Call) -> tuple[str, str] | None:
    result = call.result
    if isinstance(result, torch.Tensor) and result.requires_grad:
        return None
    kind = "value without a gradient" if isinstance(result, torch.Tensor) else type(result).__name__
    source = "features" if call.hook.name == "feature_penalty" else "layer.weight and layer.bias"
    return (
        f"{call.name} returns a {kind}; what is added to the loss is computed from {source} by torch",
        "compute it without .item(), float(), .detach(), .data or torch.no_grad()",
    )


def _fits(result: Any, layers: Sequence[Layer]) -> bool:
    """Whether these are layers whose parameters have the shapes of those that the method was given."""
    if not isinstance(result, (list, tuple)) or not all(isinstance(layer, Layer) for layer in result):
        return False
    shapes = [[p.shape for p in trainable(found)] for found in (result, layers)]
    return not layers or shapes[0] == shapes[1]
