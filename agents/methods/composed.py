"""Several methods as one, written with + between their names: ``layer-norm+l2:strength=1e-2``.

The parts' hooks run in the order in which they are written, penalties are added, and each part's ``network``
is given what the part before made. All parts draw from the same generators, one after the other: a part that
draws nothing (``none``, ``layer-norm``) does not change the numbers of the others.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plasticity_bench.agents.methods.base import Method, MethodInfo
from plasticity_bench.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng
    from plasticity_bench.specs import NetworkSpec


@dataclass
class Composed(Method):
    """Base class of the classes that ``composed`` makes."""

    parts: tuple[Method, ...] = ()

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        for part in self.parts:
            spec = part.network(spec)
        if spec.injected and self.uses("predictor"):
            raise InputError(f"{self.info.name}: averaged weights cannot follow an injected head")
        return spec

    def setup(self, layers: Sequence[Layer], rng: SeedRng) -> None:
        for part in self.parts:
            part.setup(layers, rng)

    def penalty(self, layers: Sequence[Layer]) -> Tensor | None:
        return _sum(part.penalty(layers) for part in self.parts)

    def feature_penalty(self, layer: Layer, features: Tensor) -> Tensor | None:
        return _sum(part.feature_penalty(layer, features) for part in self.parts)

    def before_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        for part in self.parts:
            part.before_update(layers, optimizer)

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        for part in self.parts:
            part.after_update(layers, optimizer)

    def on_task_end(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        for part in self.parts:
            if part.info.task_boundaries:
                part.on_task_end(layers, optimizer)

    def predictor(self) -> Sequence[Layer] | None:
        return next((part.predictor() for part in self.parts if part.uses("predictor")), None)

    def repeats(self, batch: int) -> int:
        return min(part.repeats(batch) for part in self.parts)

    def skip(self, updates: int) -> None:
        for part in self.parts:
            part.skip(updates)

    def uses(self, hook: str) -> bool:
        return any(part.uses(hook) for part in self.parts)

    def state_dict(self) -> dict[str, Any]:
        return {part.info.name: part.state_dict() for part in self.parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for part in self.parts:
            part.load_state_dict(state[part.info.name])


def _sum(values: Iterable[Tensor | None]) -> Tensor | None:
    """Of those that are not None, added in their order; None if there are none."""
    total: Tensor | None = None
    for value in values:
        if value is not None:
            total = value if total is None else total + value
    return total


@functools.cache
def composed(*classes: type[Method]) -> type[Composed]:
    """The class of a method that runs methods of several classes; its ``info`` is made of theirs.

    Example:
        >>> from plasticity_bench.agents.methods.architecture import LayerNorm
        >>> from plasticity_bench.agents.methods.decay import L2
        >>> composed(LayerNorm, L2).info.name
        'layer-norm+l2'
    """
    infos = [cls.info for cls in classes]
    info = MethodInfo(
        name="+".join(info.name for info in infos),
        summary="together: " + "; ".join(info.summary for info in infos),
        papers=tuple(dict.fromkeys(paper for info in infos for paper in info.papers)),
        family="combinations",
        task_boundaries=any(info.task_boundaries for info in infos),
        search_space={
            f"{info.name}.{key}": values for info in infos for key, values in info.search_space.items()
        },
        # Versions are only ever raised, so their sum changes whenever one of them does.
        version=sum(info.version for info in infos) - len(infos) + 1,
    )
    needs = {name: any(getattr(cls, name) for cls in classes) for name in ("needs_features", "needs_order")}
    members = {"info": info, **needs, "__doc__": info.summary}
    return type("Composed", (Composed,), members)
