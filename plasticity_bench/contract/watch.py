"""Watches a method's hooks, so that a check can say which one is at fault."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.agents.methods import Method

HOOKS = ("setup", "penalty", "before_update", "after_update", "on_task_end")

#: Stands for a hook's name.
MAKING = "making the method"

#: Told before and after every call: the hook's name ("l2 before_update" in a composition), whether it has
#: run, the layers, and what it returned.
Around = Callable[[str, bool, Sequence[Layer], Any], None]


def watched(method: Method, around: Around, prefix: str = "") -> Method:
    """The same instance, with ``around`` called at every hook that it has."""
    parts: Sequence[Method] = getattr(method, "parts", ())
    if parts:
        for part in parts:
            watched(part, around, f"{part.info.name} ")
        return method
    used = {hook: getattr(type(method), hook) for hook in HOOKS if method.uses(hook)}
    members = {hook: _wrapped(original, prefix + hook, around) for hook, original in used.items()}
    method.__class__ = type(type(method).__name__, (type(method),), members)
    return method


def _wrapped(original: Callable[..., Any], name: str, around: Around) -> Callable[..., Any]:
    def call(self: Method, layers: Sequence[Layer], *rest: Any) -> Any:
        around(name, False, layers, None)
        result = original(self, layers, *rest)
        around(name, True, layers, result)
        return result

    return call


class Event(NamedTuple):
    """The state of one seed before or after a hook."""

    hook: str
    done: bool
    numbers: dict[str, torch.Tensor]  # what -> one seed's numbers


class Recorder:
    """Keeps, for one seed of a stack, what the hooks meet and leave."""

    def __init__(self, index: int) -> None:
        self.index, self.events = index, list[Event]()

    def __call__(self, hook: str, done: bool, layers: Sequence[Layer], result: Any) -> None:
        penalty = hook.endswith("penalty")
        if penalty and (not done or not isinstance(result, torch.Tensor)):
            return
        numbers = self._slopes(layers, result) if penalty else self._state(layers)
        self.events.append(Event(hook, done, numbers))

    def _state(self, layers: Sequence[Layer]) -> dict[str, torch.Tensor]:
        found = {}
        for name, parameter in named(layers).items():
            found[name] = parameter.detach()[self.index].clone()
            if parameter.grad is not None:
                found[f"the gradient of {name}"] = parameter.grad[self.index].clone()
        return found

    def _slopes(self, layers: Sequence[Layer], value: torch.Tensor) -> dict[str, torch.Tensor]:
        parameters = named(layers)
        with torch.enable_grad():
            slopes = torch.autograd.grad(
                value.sum(), list(parameters.values()), retain_graph=True, allow_unused=True
            )
        return {
            f"its gradient for {name}": slope[self.index].clone()
            for name, slope in zip(parameters, slopes, strict=True)
            if slope is not None
        }


def named(layers: Sequence[Layer]) -> dict[str, torch.nn.Parameter]:
    """``linear1.weight`` and so on -> everything trainable."""
    kinds = ("weight", "bias", "gain", "shift", "log_std")
    names = {
        id(parameter): f"{layer.name}.{kind}"
        for layer in layers
        for kind in kinds
        if (parameter := getattr(layer, kind, None)) is not None
    }
    return {names.get(id(p), f"parameter {i + 1}"): p for i, p in enumerate(trainable(layers))}


class Draws:
    """Told around every hook: the first that draws from a global generator, and from which."""

    def __init__(self) -> None:
        self.found: tuple[str, str] | None = None  # what draws, the name of the generator
        self.states = _states()

    def __call__(self, hook: str, done: bool, layers: Sequence[Layer], result: Any) -> None:
        now = _states()
        if done:
            self.compare(hook, now)
        self.states = now

    def compare(self, what: str, now: dict[str, bytes]) -> None:
        for name, state in self.states.items():
            if now[name] != state and self.found is None:
                self.found = what, name


def _states() -> dict[str, bytes]:
    legacy: Any = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": legacy[1].tobytes() + bytes(str(legacy[2:]), "ascii"),
        "random": bytes(str(hash(random.getstate())), "ascii"),
    }
