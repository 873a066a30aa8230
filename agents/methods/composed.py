"""Several methods at once, written with + between their names: ``layer-norm+l2:strength=1e-2``.

The parts' hooks run in the order in which they are written, penalties add up, and the network goes through
each part's ``network`` in turn. All parts draw from the same generators, one after the other: a part that
draws nothing (``none``, ``layer-norm``) leaves the other's numbers as they are alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
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
    """The base of what ``composed`` makes."""

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
        total: Tensor | None = None
        for part in self.parts:
            value = part.penalty(layers)
            if value is not None:
                total = value if total is None else total + value
        return total

    def feature_penalty(self, layer: Layer, features: Tensor) -> Tensor | None:
        total: Tensor | None = None
        for part in self.parts:
            value = part.feature_penalty(layer, features)
            if value is not None:
                total = value if total is None else total + value
        return total

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


@functools.cache
def composed(*classes: type[Method]) -> type[Composed]:
    """The class that runs these classes' methods together; its ``info`` follows from theirs."""
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
        # Versions are only ever raised, so their sum tells every state of the parts from the ones before.
        version=sum(info.version for info in infos) - len(infos) + 1,
    )
    needs = {name: any(getattr(cls, name) for cls in classes) for name in ("needs_features", "needs_order")}
    members = {"info": info, **needs, "__doc__": info.summary}
    return type("Composed", (Composed,), members)
