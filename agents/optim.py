"""torch's optimizers on one flat parameter, with views of their state for every layer's parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from plasticity_bench.errors import InputError
from plasticity_bench.specs import OptimizerSpec

#: Optimizer -> names of its running means.
MOMENTS = {"adam": ("exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}


class FlatOptimizer:
    """The optimizer of a network or a stack: one fused update for all layers and seeds.

    Methods use ``lr``, ``moments`` and ``reset``, and nothing else: in other libraries' training loops an
    adapter offers these three. A method that resets a parameter should clear its moments too.

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

    @torch.no_grad()
    def step(self) -> None:
        """Moves all parameters along their gradients."""
        if self.spec.name == "adam" and self.spec.fused:
            self._fused_adam()
        elif self.spec.name == "adam":
            beta1, beta2 = self.spec.betas
            adam(
                *(
                    [self.flat],
                    [self.gradient],
                    [self.state["exp_avg"]],
                    [self.state["exp_avg_sq"]],
                    [],
                    [self.step_count],
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

    def _fused_adam(self) -> None:
        """As ``torch.optim.adam.adam`` with ``fused=True``, without its checks, which take longer than the
        update of a small network."""
        beta1, beta2 = self.spec.betas
        mean, square = self.state["exp_avg"], self.state["exp_avg_sq"]
        self.step_count.add_(1)
        torch._fused_adam_(
            *([self.flat], [self.gradient], [mean], [square], [], [self.step_count]),
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
        start = parameter.storage_offset() - self.flat.storage_offset()
        stop = start + parameter.numel()
        return [mean[start:stop].view(parameter.shape) for mean in self.state.values()]

    def reset(self) -> None:
        """Clears all moments and the step count, as in a new optimizer."""
        for tensor in (*self.state.values(), self.step_count):
            tensor.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Tensors by name."""
        return {"steps": self.step_count, **self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copies ``state`` in; views taken before stay valid."""
        self.step_count.copy_(state["steps"])
        for name, tensor in self.state.items():
            tensor.copy_(state[name])
