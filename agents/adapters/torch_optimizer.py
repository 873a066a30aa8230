"""Optimizers of torch.optim as methods use them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from plasticity_bench.agents.optim import MOMENTS
from plasticity_bench.agents.step_counts import ENDLESS, count_update, start_counts
from plasticity_bench.errors import InputError

#: Adam's moment -> key of its elements' step counts in ``optimizer.state``, so that they are saved with it.
COUNTS = {name: f"{name}_counts" for name in MOMENTS["adam"]}


class TorchOptimizer:
    """What methods use of a ``FlatOptimizer``, for any torch.optim optimizer and some of its parameters.

    A method's ``fresh_count`` works with Adam and AdamW, without amsgrad. Their ``step`` of a parameter whose
    elements have step counts of their own is ``ENDLESS`` from then on: what it corrected is corrected by
    ``count`` before every step. Other optimizers keep their step count when elements are reset.

    Moments are cleared to 0, even if the optimizer starts them elsewhere (as SB3's RMSpropTFLike does, at 1).

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
        moments = [value for key, value in state.items() if key not in COUNTS.values()]
        return [v for v in moments if isinstance(v, torch.Tensor) and v.shape == parameter.shape]

    def counts(self, parameter: torch.Tensor) -> list[torch.Tensor]:
        """Step counts of the parameter's elements: see ``FlatOptimizer.counts``. None before the optimizer's
        first step, and none if it is not Adam or AdamW, or uses amsgrad."""
        state = self.optimizer.state.get(parameter, {})
        if not state or not isinstance(self.optimizer, (torch.optim.Adam, torch.optim.AdamW)):
            return []
        group = self._group(parameter)
        if group["amsgrad"]:
            return []
        if not any(key in state for key in COUNTS.values()):
            for (name, key), beta in zip(COUNTS.items(), group["betas"], strict=True):
                if beta:
                    state[key] = start_counts(state[name], state["step"], float(beta))
            state["step"].fill_(ENDLESS)
        return [state[key] for key in COUNTS.values() if key in state]

    def count(self) -> None:
        """To be called before every step: counts it for the elements that have counts of their own."""
        for parameter in self.parameters:
            state = self.optimizer.state.get(parameter, {})
            if parameter.grad is None or not any(key in state for key in COUNTS.values()):
                continue
            group = self._group(parameter)
            gradient = -parameter.grad if group["maximize"] else parameter.grad
            decoupled = group.get("decoupled_weight_decay", isinstance(self.optimizer, torch.optim.AdamW))
            if group["weight_decay"] and not decoupled:  # Adam adds it to the gradient
                gradient = gradient.add(parameter, alpha=group["weight_decay"])
            values = (gradient, gradient.square())
            for (name, key), value, beta in zip(COUNTS.items(), values, group["betas"], strict=True):
                if key in state:
                    count_update(
                        state[name],
                        value,
                        state[key],
                        float(beta),
                        value.new_ones(()),
                        torch.empty_like(value),
                    )

    def _group(self, parameter: torch.Tensor) -> dict[str, Any]:
        return next(group for group in self._groups if any(p is parameter for p in group["params"]))

    def reset(self) -> None:
        """Clears all moments and step counts, as in a new optimizer."""
        for parameter in self.parameters:
            self.optimizer.state.pop(parameter, None)
