"""Optimizers of torch.optim as methods use them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from plasticity_bench.errors import InputError


class TorchOptimizer:
    """What methods use of a ``FlatOptimizer``, for any torch.optim optimizer and some of its parameters.

    Two differences from FlatOptimizer remain: every parameter has a step count of its own, which stays when a
    method clears its moments; and moments are cleared to 0, even if the optimizer starts them elsewhere (as
    SB3's RMSpropTFLike does, at 1).

    Args:
        optimizer: The optimizer.
        parameters: Those of the network that the method acts on.

    Raises:
        InputError: The optimizer does not train all of them, or with several learning rates.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> None:
        self.optimizer = optimizer
        self.parameters = list(parameters)
        own = set(self.parameters)
        self._groups = [group for group in optimizer.param_groups if own & set(group["params"])]
        if own - {p for group in self._groups for p in group["params"]}:
            raise InputError("the optimizer does not train every parameter of the network")
        if len({float(group["lr"]) for group in self._groups}) > 1:
            raise InputError("methods need one learning rate for the whole network")

    @property
    def lr(self) -> float:
        """The step size now."""
        return float(self._groups[0]["lr"])

    def moments(self, parameter: torch.Tensor) -> list[torch.Tensor]:
        """The optimizer's running means for a parameter, each of its shape; none before its first step."""
        state = self.optimizer.state.get(parameter, {})
        return [v for v in state.values() if isinstance(v, torch.Tensor) and v.shape == parameter.shape]

    def reset(self) -> None:
        """Clears all moments and step counts, as in a new optimizer."""
        for parameter in self.parameters:
            self.optimizer.state.pop(parameter, None)
