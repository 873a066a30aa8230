"""Observes the calls of a method's hooks, so that a check can name the hook that causes a failure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.agents.methods.base import HOOKS, Hook, Method

#: Used in place of a hook's name for the method's constructor.
CONSTRUCTION = "making the method"


class Call(NamedTuple):
    """A call of a hook, before it runs or after it has run."""

    hook: Hook
    name: str  # as messages write it: "before_update", in a composition "l2 before_update"
    done: bool  # it has run
    layers: Sequence[Layer]  # all layers that the method has been given so far
    arguments: tuple[Any, ...]  # without self
    result: Any = None


#: Is called before and after every call of a hook.
Observer = Callable[[Call], None]


def watched(method: Method, observer: Observer, prefix: str = "") -> Method:
    """The same instance; ``observer`` is called before and after every hook that its class defines."""
    parts: Sequence[Method] = getattr(method, "parts", ())
    if parts:
        for part in parts:
            watched(part, observer, f"{part.info.name} ")
        return method
    seen: dict[int, Layer] = {}
    members = {
        hook.name: _wrapped(getattr(type(method), hook.name), hook, prefix + hook.name, observer, seen)
        for hook in HOOKS
        if getattr(type(method), hook.name) is not getattr(Method, hook.name)
    }
    method.__class__ = type(type(method).__name__, (type(method),), members)
    return method


def _wrapped(
    original: Callable[..., Any], hook: Hook, name: str, observer: Observer, seen: dict[int, Layer]
) -> Callable[..., Any]:
    def call(self: Method, *arguments: Any) -> Any:
        given = arguments[:1] if hook.sees_layers else ()
        for layer in given[0] if given and not isinstance(given[0], Layer) else given:
            seen.setdefault(id(layer), layer)
        layers = list(seen.values())
        observer(Call(hook, name, False, layers, arguments))
        result = original(self, *arguments)
        observer(Call(hook, name, True, layers, arguments, result))
        return result

    return call


class Event(NamedTuple):
    """The state of one seed before or after a hook."""

    hook: str
    done: bool
    numbers: dict[str, torch.Tensor]  # what -> one seed's numbers


class Recorder:
    """Keeps the weights and gradients of one seed of a stack before and after every hook that sees layers."""

    def __init__(self, index: int) -> None:
        self.index, self.events = index, list[Event]()

    def __call__(self, call: Call) -> None:
        if call.hook.returns == "loss term":
            if call.done and isinstance(call.result, torch.Tensor):
                self.events.append(Event(call.name, True, self._slopes(call)))
        elif call.hook.sees_layers:
            self.events.append(Event(call.name, call.done, self._state(call.layers)))

    def _state(self, layers: Sequence[Layer]) -> dict[str, torch.Tensor]:
        return {what: numbers[self.index].clone() for what, numbers in weights_and_gradients(layers).items()}

    def _slopes(self, call: Call) -> dict[str, torch.Tensor]:
        """The gradient of a loss term with respect to parameters or features."""
        if call.hook.name == "feature_penalty":
            layer, features = call.arguments
            inputs = {f"the features of {layer.name}": features}
        else:
            inputs = dict(named(call.layers))
        with torch.enable_grad():
            slopes = torch.autograd.grad(
                call.result.sum(), list(inputs.values()), retain_graph=True, allow_unused=True
            )
        return {
            f"its gradient for {name}": slope[self.index].clone()
            for name, slope in zip(inputs, slopes, strict=True)
            if slope is not None
        }


def named(layers: Sequence[Layer]) -> dict[str, torch.nn.Parameter]:
    """``linear1.weight`` and so on -> the trainable parameters."""
    kinds = ("weight", "bias", "gain", "shift", "log_std")
    names = {
        id(parameter): f"{layer.name}.{kind}"
        for layer in layers
        for kind in kinds
        if (parameter := getattr(layer, kind, None)) is not None
    }
    return {names.get(id(p), f"parameter {i + 1}"): p for i, p in enumerate(trainable(layers))}


def weights_and_gradients(
    layers: Sequence[Layer], kinds: Sequence[str] = ("weights", "gradients")
) -> dict[str, torch.Tensor]:
    """``linear1.weight`` and ``the gradient of linear1.weight`` and so on -> the tensors, not copies."""
    found: dict[str, torch.Tensor] = {}
    for name, parameter in named(layers).items():
        if "weights" in kinds:
            found[name] = parameter.detach()
        if "gradients" in kinds and parameter.grad is not None:
            found[f"the gradient of {name}"] = parameter.grad
    return found


class GlobalDraws:
    """Observer: ``found`` holds the first hook that draws from a global generator, and the generator."""

    def __init__(self) -> None:
        self.found: tuple[str, str] | None = None  # what draws, the name of the generator
        self.states = _states()

    def __call__(self, call: Call) -> None:
        now = _states()
        if call.done:
            self.compare(call.name, now)
        self.states = now

    def constructed(self) -> None:
        """Must be called after the method has been constructed."""
        self.compare(CONSTRUCTION, _states())

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
