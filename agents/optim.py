"""torch's optimizers on one flat parameter, with views of their state for every layer's parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from plasticity_bench.agents.step_counts import ENDLESS, count_update, start_counts
from plasticity_bench.errors import InputError
from plasticity_bench.specs import OptimizerSpec

#: Optimizer -> names of its running means.
MOMENTS = {"adam": ("exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}


class FlatOptimizer:
    """The optimizer of a network or a stack: one fused update for all layers and seeds.

    Methods use ``lr``, ``moments``, ``counts`` and ``reset``, and nothing else: in other libraries' training
    loops an adapter offers these four. A method that resets a parameter should clear its moments too.

    Adam has one step count for all elements until a method asks for ``counts``; from then on every element
    has its own (agents/step_counts.py), which makes an update of a small network up to 1.6 times as long.

    torch's functional optimizers are called instead of its classes, whose bookkeeping takes as long as the
    update of a small network.

    Args:
        flat: One vector; every parameter is a view of it.
        gradient: The gradients in the same places.
        spec: Name and settings of the optimizer.

    Raises:
        InputError: There is no such optimizer.

    Example:
        >>> import torch
        >>> from plasticity_bench.specs import OptimizerSpec
        >>> weights, gradient = torch.zeros(3), torch.ones(3)
        >>> optimizer = FlatOptimizer(weights, gradient, OptimizerSpec("sgd", lr=0.5))
        >>> optimizer.step()
        >>> weights.tolist(), optimizer.lr
        ([-0.5, -0.5, -0.5], 0.5)
    """

    def __init__(self, flat: torch.Tensor, gradient: torch.Tensor, spec: OptimizerSpec) -> None:
        if spec.name not in MOMENTS:
            raise InputError(f'unknown optimizer "{spec.name}"; known: {", ".join(MOMENTS)}')
        self.flat, self.gradient, self.spec = flat.detach(), gradient, spec
        #: The step size now.
        self.lr = spec.lr
        self.state = {name: torch.zeros_like(self.flat) for name in MOMENTS[spec.name]}
        self.step_count = torch.zeros(
            (), dtype=torch.float32, device=flat.device
        )  # updates since the last reset
        #: Adam's moment -> step counts of its elements. Empty: all elements have made ``step_count`` steps.
        self.element_counts: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Moves all parameters along their gradients."""
        steps = self._count_elements() if self.element_counts else self.step_count
        if self.spec.name == "adam" and self.spec.fused:
            self._fused_adam(steps)
        elif self.spec.name == "adam":
            beta1, beta2 = self.spec.betas
            adam(
                *(
                    [self.flat],
                    [self.gradient],
                    [self.state["exp_avg"]],
                    [self.state["exp_avg_sq"]],
                    [],
                    [steps],
                ),
                fused=False,
                foreach=False,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=self.lr,
                weight_decay=0.0,
                eps=self.spec.eps,
                maximize=False,
            )
        else:
            sgd(
                *(
                    [self.flat],
                    [self.gradient],
                    [self.state["momentum_buffer"] if self.spec.momentum else None],
                ),
                fused=self.spec.fused,
                foreach=False,
                weight_decay=0.0,
                momentum=self.spec.momentum,
                lr=self.lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )

    def _fused_adam(self, steps: torch.Tensor) -> None:
        """As ``torch.optim.adam.adam`` with ``fused=True``, without its checks, which take longer than the
        update of a small network."""
        beta1, beta2 = self.spec.betas
        mean, square = self.state["exp_avg"], self.state["exp_avg_sq"]
        steps.add_(1)
        torch._fused_adam_(
            *([self.flat], [self.gradient], [mean], [square], [], [steps]),
            amsgrad=False,
            lr=self.lr,
            beta1=beta1,
            beta2=beta2,
            weight_decay=0.0,
            eps=self.spec.eps,
            maximize=False,
        )

    def moments(self, parameter: torch.Tensor) -> list[torch.Tensor]:
        """The optimizer's running means for a parameter.

        Args:
            parameter: A parameter of one of the layers.

        Returns:
            Views, each of the parameter's shape: two for Adam, one for SGD. Zero them in place to clear them.
        """
        return self._views(self.state, parameter)

    def counts(self, parameter: torch.Tensor) -> list[torch.Tensor]:
        """Adam's step counts of a parameter's elements, for a method that counts them again from 0.

        An element whose moments and counts are zeroed gets the updates of a new optimizer. If its moments
        alone are, its first updates are larger: with betas 0.9 and 0.999 3.2 times at the first and 6.6 times
        at the twelfth. The first call changes how Adam computes its updates, and so their last digits, for
        all elements: a method should call this at times that do not depend on the data.

        Args:
            parameter: A parameter of one of the layers.

        Returns:
            Views, each of the parameter's shape: two for Adam, none for SGD, which counts nothing. They grow
            with the number of steps, and 0 means none. Zero them in place.
        """
        if self.spec.name == "adam" and not self.element_counts:
            self.element_counts = {
                name: start_counts(self.state[name], self.step_count, beta)
                for name, beta in zip(MOMENTS["adam"], self.spec.betas, strict=True)
                if beta
            }
            self._prepare_counting()
        return self._views(self.element_counts, parameter)

    def _prepare_counting(self) -> None:
        self._endless = torch.full_like(self.step_count, ENDLESS)
        self._one = self.flat.new_ones(())
        self._scratch, self._square = (torch.empty_like(self.flat) for _ in range(2))

    def _count_elements(self) -> torch.Tensor:
        """Counts a step of every element, and corrects the moments for it. Returns the step count with which
        Adam does not correct them again."""
        torch.mul(self.gradient, self.gradient, out=self._square)
        values = (self.gradient, self._square)
        for name, value, beta in zip(MOMENTS["adam"], values, self.spec.betas, strict=True):
            if name in self.element_counts:
                count_update(
                    self.state[name], value, self.element_counts[name], beta, self._one, self._scratch
                )
        self.step_count.add_(1)
        return self._endless

    def _views(self, tensors: dict[str, torch.Tensor], parameter: torch.Tensor) -> list[torch.Tensor]:
        start = parameter.storage_offset() - self.flat.storage_offset()
        stop = start + parameter.numel()
        return [tensor[start:stop].view(parameter.shape) for tensor in tensors.values()]

    def reset(self) -> None:
        """Clears all moments and step counts, as in a new optimizer."""
        for tensor in (*self.state.values(), *self.element_counts.values(), self.step_count):
            tensor.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Tensors by name."""
        counts = {"counts": dict(self.element_counts)} if self.element_counts else {}
        return {"steps": self.step_count, **self.state, **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copies ``state`` in; views of moments that were taken before stay valid."""
        self.step_count.copy_(state["steps"])
        for name, tensor in self.state.items():
            tensor.copy_(state[name])
        counts = state.get("counts", {})
        if counts.keys() != self.element_counts.keys():
            self.element_counts = {name: torch.empty_like(self.flat) for name in counts}
            self._prepare_counting()
        for name, tensor in self.element_counts.items():
            tensor.copy_(counts[name])
