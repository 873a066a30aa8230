"""A method that breaks the contract, in a module that can be imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from plasticity_bench.agents.layers import Layer
from plasticity_bench.agents.methods import Method, MethodInfo
from plasticity_bench.agents.optim import FlatOptimizer


@dataclass
class DrawsGlobally(Method):
    """Adds noise from torch's global generator."""

    info: ClassVar[MethodInfo] = MethodInfo(name="draws-globally", summary="noise that no seed fixes")

    def after_update(self, layers: Sequence[Layer], optimizer: FlatOptimizer) -> None:
        for layer in layers:
            layer.weight.add_(torch.randn_like(layer.weight), alpha=1e-3)
