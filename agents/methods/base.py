"""The method API: what a plasticity intervention may do, and when.

A method is a dataclass: its fields are its hyperparameters. Layers' parameters may carry leading seed
dimensions, so code is written with ``...`` and negative dimensions and serves one network or a stack.
Hooks run without gradient tracking; only ``penalty`` and ``feature_penalty`` are differentiated.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from plasticity_bench.agents.methods.papers import Paper

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng
    from plasticity_bench.specs import NetworkSpec


@dataclass(frozen=True)
class MethodInfo:
    """What a reader of the leaderboard needs to know about a method. Raises TypeError if ``papers`` is not a
    tuple of Papers."""

    name: str  # as users type it
    summary: str  # one line
    papers: tuple[Paper, ...] = ()  # where the method comes from; empty if it is not published
    family: str = "other"  # what kind of method it is: a key of registry.families.FAMILIES
    task_boundaries: bool = False  # True if ``on_task_end`` is to be called when the task changes
    acts_after: str = ""  # the setting that counts the tasks before the method acts for the first time
    search_space: Mapping[str, Sequence[float]] = field(default_factory=lambda: MappingProxyType({}))
    version: int = 1  # raised when the same settings give other numbers
    off: str = ""  # settings that make it ``none`` bit for bit, such as "strength=0"; empty: nothing does

    def __post_init__(self) -> None:
        if not isinstance(self.papers, tuple) or not all(isinstance(paper, Paper) for paper in self.papers):
            raise TypeError(
                f"papers of {self.name} is no tuple of Papers: write papers=(Paper(authors=..., title=..., "
                "year=..., arxiv=...),), with the last comma"
            )

    @property
    def citation(self) -> str:
        """All papers in one line of text, as config.json holds it."""
        return "; ".join(paper.citation for paper in self.papers)


@dataclass
class Method:
    """Base of all methods: every hook does nothing. Attributes that are tensors, numbers, lists or dicts
    of them are the method's state and travel through checkpoints by themselves."""

    info: ClassVar[MethodInfo]
    #: True: layer.features holds the hidden activations of the last batch in before_update and after_update.
    needs_features: ClassVar[bool] = False
    #: True: hooks tell layers apart by their place (``layer.hidden``, the last ones).
    needs_order: ClassVar[bool] = False
    #: Attributes that only decide when the method acts: no operand of the updates that ``repeats`` counts.
    schedule: ClassVar[tuple[str, ...]] = ()

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        """The architecture to train, given the stream's."""
        return spec

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        """Once, after initialisation; keep ``rng`` to draw later."""

    def penalty(self, layers: Sequence[Layer]) -> Tensor | None:
        """A differentiable term added to the loss: shape ``(S,)`` for a stack, ``()`` for one network."""

    def feature_penalty(self, layer: Layer, features: Tensor) -> Tensor | None:
        """A differentiable term of one hidden layer's activations of the batch, added to the loss: ``(S,)``
        for a stack, ``()`` for one network. Features ``(..., examples, units)``, of a convolution ``(...,
        examples, channels, height, width)`` before pooling. Its gradient is part of the backward pass and so
        of the gradient norms that are measured."""

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        """Gradients are in ``parameter.grad`` and may be changed; weights may be moved too."""

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        """The optimizer has moved the weights; they may be projected, perturbed or reset."""

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        """Between two tasks; only where ``info.task_boundaries``."""

    def predictor(self) -> Sequence[Layer] | None:
        """After ``setup``: the method's own layers, shaped as the network's, that predict in place of those
        that are trained (averaged weights): what performance and diagnostics are measured on. The learner
        keeps them: change them in place. An agent acts with what is trained all the same."""
        return None

    def repeats(self, batch: int) -> int:
        """How many of the next updates, on batches of ``batch`` examples, do alike: the same operations with
        the same numbers of the host's. On CUDA they may be replayed from a graph, without the hooks' code;
        what draws on the host or changes numbers that are no ``schedule`` is found out and runs step by
        step."""
        return sys.maxsize

    def skip(self, updates: int) -> None:
        """So many updates were replayed: ``schedule`` goes on as if the hooks had run."""

    def uses(self, hook: str) -> bool:
        """Whether this method does anything in ``hook``, so that the learner may skip the call."""
        return getattr(type(self), hook) is not getattr(Method, hook)

    def state_dict(self) -> dict[str, Any]:
        """All attributes that are not hyperparameters; generators as their states."""
        settings = {f.name for f in fields(self)}
        state = {name: value for name, value in vars(self).items() if name not in settings}
        return {name: getattr(value, "state_dict", lambda v=value: v)() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores ``state_dict`` after ``setup`` has run."""
        for name, value in state.items():
            restore = getattr(getattr(self, name, None), "load_state_dict", None)
            if restore is None:
                setattr(self, name, value)
            else:
                restore(value)


def before_next(updates: int, period: int) -> int:
    """How many updates are left until the one before each ``period``-th; without end where it is 0."""
    return period - 1 - updates % period if period else sys.maxsize
