"""The method API: what a plasticity method may do, and when.

A method is a dataclass; its fields are its hyperparameters. It overrides the hooks that it needs. Layers'
parameters may carry leading seed dimensions, so code counts dimensions from the end and serves one network
or a stack of networks. Hooks run without gradient tracking, except for ``penalty`` and ``feature_penalty``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from plasticity_bench.agents.methods.info import MethodInfo
from plasticity_bench.ranges import check_ranges

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng
    from plasticity_bench.specs import NetworkSpec


@dataclass
class Method:
    """Base class of all methods. Every hook does nothing until a method overrides it.

    The fields of the dataclass are the hyperparameters. All other attributes are the method's state:
    tensors, numbers, text, lists and dicts of them, and the ``rng`` of ``setup``. Checkpoints save and
    restore them.

    In the hooks, ``S`` is the number of seeds of a stack. Tensors of a stack have it in front; those of a
    single network have no such dimension. Change weights and gradients in place (``parameter.mul_(...)``).

    Example:
        >>> import torch
        >>> @dataclass
        ... class BiasDecay(Method):
        ...     info: ClassVar[MethodInfo] = MethodInfo("bias-decay", "decays the biases", off="strength=0")
        ...     strength: float = 1e-3
        ...
        ...     def before_update(self, layers, optimizer):
        ...         for layer in layers:
        ...             layer.bias.grad.add_(layer.bias, alpha=self.strength)
        >>> BiasDecay(strength=0.1).uses("before_update"), BiasDecay().uses("penalty")
        (True, False)
    """

    #: Name, summary, papers and more: every method sets it.
    info: ClassVar[MethodInfo]
    #: True: ``layer.features`` holds the hidden activations of the last batch in before_update, after_update.
    needs_features: ClassVar[bool] = False
    #: True: a hook uses ``layer.hidden`` or the layers' order, which an adapter may not know.
    needs_order: ClassVar[bool] = False
    #: Names of attributes that only decide when the method acts, and that ``skip`` moves on.
    schedule: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Raises ValueError if a hyperparameter is outside its range. Call it if you have your own."""
        check_ranges(self, self.info.ranges)

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        """Chooses the architecture, before any weights exist.

        Args:
            spec: The stream's network, or what other methods of a composition made of it.

        Returns:
            The network to train: ``dataclasses.replace(spec, ...)``, or ``spec`` itself.

        Raises:
            InputError: The method cannot be used with this network.
        """
        return spec

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        """Called once, after the weights were initialised and before training.

        Args:
            layers: The network's layers, the output layer last. Weights may be changed in place, but then
                the method does not start with the weights of plain training.
            rng: The only source of random numbers; keep it (``self.rng = rng``) to draw later.
        """

    def penalty(self, layers: Sequence[Layer]) -> Tensor | None:
        """A term that is added to the loss, at every update.

        Args:
            layers: The network's layers. The term must depend on their parameters through torch operations.

        Returns:
            The term, ``(S,)`` for a stack and ``()`` for a single network; None for no term. It is
            differentiated by torch; adding the same gradient in ``before_update`` is faster.
        """

    def feature_penalty(self, layer: Layer, features: Tensor) -> Tensor | None:
        """A term of the activations of one hidden layer that is added to the loss, at every update.

        Args:
            layer: The hidden layer; called once for each of them.
            features: Its activations after the non-linearity: ``(..., examples, units)``, in a convolution
                ``(..., examples, channels, height, width)`` before pooling.

        Returns:
            The term, ``(S,)`` for a stack and ``()`` for a single network; None for no term. Its gradient
            with respect to ``features`` is propagated through the network, and is part of the gradient
            norms that are recorded.
        """

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        """Called when the gradients are there and the weights have not moved yet.

        Args:
            layers: The network's layers. Gradients are in ``parameter.grad``, the penalty's included. They
                may be changed in place, and weights too.
            optimizer: For the step size ``lr`` and the moments of parameters.
        """

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        """Called when the optimizer has moved the weights: project, perturb or reset them in place.

        Args:
            layers: The network's layers.
            optimizer: For ``lr``, and to clear the moments and step counts of parameters that are reset.
        """

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        """Called between two tasks, if ``info.task_boundaries`` is True.

        Args:
            layers: The network's layers; weights may be changed in place.
            optimizer: For ``lr``, to clear moments and step counts of parameters, or to ``reset`` it.
        """

    def predictor(self) -> Sequence[Layer] | None:
        """Layers of the method's own that predict, for a method that averages weights.

        It is called once, after ``setup``. Performance and diagnostics are then measured on these layers, so
        the method must change them in place. An agent still acts with the trained layers.

        Returns:
            Layers with parameters of the shapes of the trained ones, as ``copies(layers)`` makes them; None:
            the trained layers predict.
        """
        return None

    def repeats(self, batch: int) -> int:
        """How many of the next updates run the same operations with the same Python-side values.

        On CUDA these updates may be replayed from a CUDA graph, without running the hooks. The first updates
        are observed: a method that draws random numbers on the host, or changes values that ``schedule`` does
        not name, is never captured. So only a method that acts every few updates needs to override this.

        Args:
            batch: Examples of a batch.

        Returns:
            The number of updates until one differs; 0 if the next one does.
        """
        return sys.maxsize

    def skip(self, updates: int) -> None:
        """Moves the attributes in ``schedule`` on, as if the hooks had run.

        Args:
            updates: Number of updates that were replayed from a graph.
        """

    def uses(self, hook: str) -> bool:
        """Whether the method does anything in a hook, so that the learner may skip the call.

        Args:
            hook: Name of the hook.
        """
        return getattr(type(self), hook) is not getattr(Method, hook)

    def state_dict(self) -> dict[str, Any]:
        """The method's state: all attributes that are not hyperparameters, by name.

        Override it, together with ``load_state_dict``, if attributes hold more than tensors, numbers, text,
        lists and dicts of them, and the ``rng``.
        """
        settings = {f.name for f in fields(self)}
        state = {name: value for name, value in vars(self).items() if name not in settings}
        return {name: getattr(value, "state_dict", lambda v=value: v)() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state, after ``setup`` has run.

        Args:
            state: What ``state_dict`` returned; training continues bit for bit.
        """
        for name, value in state.items():
            restore = getattr(getattr(self, name, None), "load_state_dict", None)
            if restore is None:
                setattr(self, name, value)
            else:
                restore(value)


class Hook(NamedTuple):
    """A function of ``Method`` that the benchmark calls, with what a caller needs to know about it.

    Its parameters are those of the function in ``Method``: see ``parameters``.

    Args:
        name: Name of the function in ``Method``.
        when: When it is called. ``"build"``: before training; ``"update"``: at every update; ``"boundary"``:
            between two tasks, if ``info.task_boundaries``; ``"query"``: at any time; ``"replay"``: after
            updates that were replayed from a CUDA graph; ``"checkpoint"``: to save and to load.
        may_change: What it may change in place: ``"weights"``, ``"gradients"``, both or nothing.
        returns: What it returns. A ``"loss term"`` is differentiated.
    """

    name: str
    when: Literal["build", "update", "boundary", "query", "replay", "checkpoint"]
    may_change: tuple[Literal["weights", "gradients"], ...] = ()
    returns: Literal["nothing", "network", "loss term", "layers", "count", "truth", "state"] = "nothing"

    @property
    def parameters(self) -> list[str]:
        """Names of its parameters in order, ``self`` first."""
        return list(inspect.signature(getattr(Method, self.name)).parameters)

    @property
    def sees_layers(self) -> bool:
        """Whether it is given layers, so that its code must serve any number of seed dimensions."""
        return not {"layer", "layers"}.isdisjoint(self.parameters)


#: Every function of ``Method`` that is called, in the order in which training calls them. The training loop,
#: the adapters and the contract (``plasticity_bench check``) take the hooks from here and nowhere else.
HOOKS = (
    Hook("network", "build", returns="network"),
    Hook("setup", "build", ("weights",)),
    Hook("predictor", "build", returns="layers"),
    Hook("uses", "query", returns="truth"),
    Hook("penalty", "update", returns="loss term"),
    Hook("feature_penalty", "update", returns="loss term"),
    Hook("before_update", "update", ("weights", "gradients")),
    Hook("after_update", "update", ("weights", "gradients")),
    Hook("on_task_end", "boundary", ("weights", "gradients")),
    Hook("repeats", "query", returns="count"),
    Hook("skip", "replay"),
    Hook("state_dict", "checkpoint", returns="state"),
    Hook("load_state_dict", "checkpoint"),
)

#: Class variables of ``Method`` that a method may set: they are no hyperparameters.
CLASS_VARIABLES = tuple(name for name, kind in Method.__annotations__.items() if "ClassVar" in str(kind))


def before_next(updates: int, period: int) -> int:
    """How many updates are left before the next ``period``-th one, which acts: for ``Method.repeats``.

    Args:
        updates: Updates done so far.
        period: Every how many updates the method acts; 0: never.

    Example:
        >>> before_next(8, period=10)
        1
    """
    return period - 1 - updates % period if period else sys.maxsize
