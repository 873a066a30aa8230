"""Methods in a training loop of your own, with torch modules and torch.optim optimizers.

``attach`` attaches a method to a network. It acts in every ``optimizer.step()`` through the optimizer's
hooks, so the loop stays as it is. ``Attachment`` is also for agents of other libraries, which may train
several networks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from plasticity_bench.agents.adapters.module_hooks import penalise_features, record_features
from plasticity_bench.agents.adapters.module_layers import ModuleLayers, module_layers
from plasticity_bench.agents.adapters.torch_optimizer import TorchOptimizer
from plasticity_bench.agents.layers import add_penalty, trainable
from plasticity_bench.agents.methods.base import HOOKS, Method
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.errors import InputError
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.registry.settings import LEARNING_RATE
from plasticity_bench.specs import NetworkSpec

#: A method's name as on the command line, a method that has not been set up, or what makes one.
MethodLike = str | Method | Callable[[], Method]


class Attachment:
    """Methods attached to the networks that one optimizer trains, each network with a method of its own.

    ``attach`` makes one; so does ``sb3.attach``.

    Args:
        networks: Name -> layers of a network.
        optimizer: Trains them all.
        method: A name with settings as on the command line (``"syre:strength=1e-3"``), a Method, or a class
            or function that makes one. A Method is copied, so that it can be attached several times.
        seed: Of the methods' random numbers; torch's global generator is never drawn from.
        state: ``state_dict()`` of an earlier attachment. The method continues from it, and the weights stay
            as they are: load those of that time first.

    Raises:
        InputError: A method cannot be used with its network, or the optimizer does not train all of it.
    """

    def __init__(
        self,
        networks: Mapping[str, ModuleLayers],
        optimizer: torch.optim.Optimizer,
        method: MethodLike,
        seed: int = 0,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        make = _maker(method)
        self.parts = {
            name: _Part(make(), made, optimizer, SeedRng([seed], "method", key, stacked=False))
            for key, (name, made) in enumerate(networks.items())
        }
        for part in self.parts.values():
            part.check()
        for name, part in self.parts.items():
            part.setup(None if state is None else state[name])
        hooks = [hook for part in self.parts.values() for hook in part.hooks()]
        hooks.append(optimizer.register_step_pre_hook(self._before))
        self._hooks = [*hooks, optimizer.register_step_post_hook(self._after)]

    @property
    def methods(self) -> dict[str, Method]:
        """The method of every network, by the network's name."""
        return {name: part.method for name, part in self.parts.items()}

    @torch.no_grad()
    def task_end(self) -> None:
        """To be called when the task changes: ``reset``, ``shrink-perturb`` and other methods act then."""
        for part in self.parts.values():
            part.task_end()

    def state_dict(self) -> dict[str, Any]:
        """The methods' states by network, to be saved next to those of the model and the optimizer."""
        return {name: part.method.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` returned, into an attachment whose networks are loaded afterwards.

        If the networks were loaded before ``attach``, give ``attach`` the state instead: otherwise a
        method's ``setup`` may have moved the weights.
        """
        for name, part in self.parts.items():
            part.method.load_state_dict(state[name])

    @contextmanager
    def predicting(self) -> Iterator[None]:
        """A context for evaluation: within it the networks have the weights that their methods predict with
        (``hare-tortoise``: the averaged ones). Do not train within it."""
        moved = [
            (own.detach(), theirs.detach(), own.detach().clone())
            for part in self.parts.values()
            for layer, twin in zip(part.layers, part.method.predictor() or (), strict=False)
            for own, theirs in zip(layer.trainable(), twin.trainable(), strict=True)
        ]
        for own, theirs, _ in moved:
            own.copy_(theirs)
        try:
            yield
        finally:
            for own, _, before in moved:
                own.copy_(before)

    def detach(self) -> None:
        """Removes the method: from now on the optimizer does what it did before."""
        for hook in self._hooks:
            hook.remove()

    @torch.no_grad()
    def _before(self, _: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        if (arguments[1] if len(arguments) > 1 else options.get("closure")) is not None:
            raise InputError("methods need the gradients before optimizer.step(): call it without a closure")
        for part in self.parts.values():
            part.before()

    @torch.no_grad()
    def _after(self, *_: Any) -> None:
        for part in self.parts.values():
            part.after()


class _Part:
    """One network with its method."""

    def __init__(
        self, method: Method, made: ModuleLayers, optimizer: torch.optim.Optimizer, rng: SeedRng
    ) -> None:
        self.method, self.made, self.layers, self.rng = method, made, made.layers, rng
        absent = set(made.absent)
        self.trained = [parameter for parameter in trainable(self.layers) if parameter not in absent]
        self.adapted = TorchOptimizer(optimizer, self.trained)
        # Methods use nothing else of a FlatOptimizer.
        self.optimizer = cast(FlatOptimizer, self.adapted)
        #: Whether it does anything at an update.
        self.acts = any(method.uses(hook.name) for hook in HOOKS if hook.when == "update")

    def check(self) -> None:
        """Raises InputError if the method cannot be used with this network."""
        name, made = self.method.info.name, self.made
        widths = tuple(layer.bias.shape[-1] for layer in self.layers)
        spec = NetworkSpec((self.layers[0].fan_in,), widths[-1], widths[:-1])
        if self.method.network(spec) != spec:
            raise InputError(
                f"{name} changes the network and cannot be attached to one that is built: build it in (for "
                "stable-baselines3, layer-norm, crelu and deep-fourier by sb3.ArchitecturePolicy) and attach "
                "the other methods"
            )
        sees = self.method.needs_features or self.method.uses("feature_penalty")
        if sees and len(self.layers) == 1:
            raise InputError(f"{name} acts on hidden units, and this network has none")
        if sees and made.unpaired:
            raise InputError(
                f"{name} needs to know which layer reads which units, and here that is not known: "
                f"{made.unpaired}; methods that look at parameters alone work (l2, syre, reset, upgd, ...)"
            )
        if self.method.needs_order and made.unordered:
            raise InputError(
                f"{name} needs to know which layers are hidden and which is the last, and here that is not "
                f"known: {made.unordered}; methods that treat all layers alike work (l2, syre, reset, ...)"
            )
        if not all(parameter.requires_grad for parameter in self.trained):
            raise InputError(f"{name} needs every parameter of the network trained; some are frozen")

    @torch.no_grad()
    def setup(self, state: Mapping[str, Any] | None) -> None:
        """Sets the method up; with a state, restores it, and the weights stay as they are."""
        before = [] if state is None else [p.clone() for p in self.trained]
        self.method.setup(self.layers, self.rng)
        if state is not None:
            for parameter, value in zip(self.trained, before, strict=True):
                parameter.copy_(value)
            self.method.load_state_dict(state)
        self._clear()

    def hooks(self) -> Iterator[Any]:
        """Registers module hooks on the modules that read each layer's features; yields their handles.

        The hooks record the features, and add the gradient of a feature penalty.
        """
        for layer, reader in zip(self.layers, self.made.modules[1:], strict=False):
            if self.method.needs_features:
                yield reader.register_forward_pre_hook(partial(record_features, layer))
            if self.method.uses("feature_penalty"):
                yield reader.register_forward_pre_hook(partial(penalise_features, self.method, layer))

    def before(self) -> None:
        if self._is_moved():
            if self.method.uses("penalty"):
                add_penalty(self.method, self.layers)
            self.method.before_update(self.layers, self.optimizer)
            self._clear()
            self.adapted.count()

    def after(self) -> None:
        if self._is_moved():
            self.method.after_update(self.layers, self.optimizer)
            self._clear()

    def task_end(self) -> None:
        """Calls ``on_task_end``. A normalisation that the method re-initialised loses its running statistics
        too."""
        if not self.method.info.task_boundaries:
            return
        self.method.on_task_end(self.layers, self.optimizer)
        self._clear()
        for layer, norm in self.made.norms:
            forget = getattr(norm, "reset_running_stats", None)
            assert layer.gain is not None
            assert layer.shift is not None
            if forget is not None and bool((layer.gain == 1).all()) and not layer.shift.any():
                forget()

    def _is_moved(self) -> bool:
        """Whether this step updates the network: optimizers skip parameters without a gradient.

        Raises InputError if only some of the parameters have one.
        """
        without = [parameter.grad is None for parameter in self.trained]
        if self.acts and any(without) and not all(without):
            name = next(layer.name for layer in self.layers for p in layer.trainable() if p.grad is None)
            raise InputError(
                f'{self.method.info.name} needs gradients of all layers: "{name}" got none in this step'
            )
        return not all(without)

    def _clear(self) -> None:
        """Undoes what methods did to the zeros that stand for missing biases."""
        for bias in self.made.absent:
            bias.zero_()
            assert bias.grad is not None
            bias.grad.zero_()


def attach(
    method: MethodLike,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    seed: int = 0,
    state: Mapping[str, Any] | None = None,
) -> Attachment:
    """Attaches a method to a torch network and its optimizer: from now on it acts in ``optimizer.step()``.

    Fresh weights are drawn from torch's default initial distribution. A layer without a bias stays without
    one. Methods that reset units need layers that follow each other one by one; they score a channel by what
    the next layer reads of it, after any pooling. See docs/adapters.md for the methods that need more.

    Args:
        method: A name with settings as on the command line (``"syre:strength=1e-3"``), a Method, or a class
            or function that makes one. A Method is copied, so that it can be attached several times.
        model: Any module whose parameters are those of nn.Linear, nn.Conv2d, and normalisations after them.
        optimizer: Trains all parameters of ``model``, at one learning rate.
        seed: Of the method's random numbers; torch's global generator is never drawn from.
        state: ``state_dict()`` of an earlier attachment. The method continues from it, and the weights stay
            as they are: load those of that time first.

    Returns:
        The attachment: call its ``task_end()`` when the task changes.

    Raises:
        InputError: The method cannot be used with the network, or the optimizer does not train all of it.

    Example:
        >>> model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> attached = attach("syre:strength=1e-3", model, optimizer)
        >>> loss = nn.functional.cross_entropy(model(torch.randn(16, 64)), torch.zeros(16, dtype=torch.long))
        >>> loss.backward()
        >>> optimizer.step()
        >>> attached.task_end()
    """
    return Attachment({"network": module_layers(model)}, optimizer, method, seed, state)


def _maker(method: MethodLike) -> Callable[[], Method]:
    if isinstance(method, str):
        chosen = choose_method(method)
        if chosen.settings[LEARNING_RATE] is not None:
            raise InputError(f'"{method}": the learning rate is set in your optimizer, leave lr out')
        return chosen.make
    return partial(copy.deepcopy, method) if isinstance(method, Method) else method
