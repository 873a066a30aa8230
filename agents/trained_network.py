"""One stacked network with its optimizer and its method: how an update is made, for any loss."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from plasticity_bench.agents.gradients import OutputGradient
from plasticity_bench.agents.layers import add_penalty, feature_gradient
from plasticity_bench.agents.methods.base import HOOKS, Method
from plasticity_bench.agents.networks import StackedNetwork, Storage
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.specs import NetworkSpec, OptimizerSpec


class TrainedNetwork:
    """A stack of networks, its optimizer and its method.

    Args:
        spec: The stream's architecture; the method may change it.
        optimizer: The optimizer.
        method: The method, not set up yet.
        init: Draws the initial weights; one generator per seed.
        device: Of the parameters.
        dtype: Of the parameters.
        storage: Allocates the parameters.
        precision: Of matrix products (plasticity_bench/registry/precision.py).
    """

    def __init__(
        self,
        spec: NetworkSpec,
        optimizer: OptimizerSpec,
        method: Method,
        init: SeedRng,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        storage: Storage | None = None,
        precision: str = "float32",
    ) -> None:
        self.method = method
        self.network = StackedNetwork(method.network(spec), init, device, dtype, storage)
        self.network.products = torch.bfloat16 if precision == "bf16" else None
        self.layers = self.network.layers
        self.optimizer = FlatOptimizer(self.network.flat, self.network.gradient, optimizer)
        #: Names of the hooks that the method uses at every update.
        self.hooks = {hook.name for hook in HOOKS if hook.when == "update" and method.uses(hook.name)}

    @property
    def stacks(self) -> list[StackedNetwork]:
        """The network, as the only stack."""
        return [self.network]

    def setup(self, output_gradient: OutputGradient, rng: SeedRng) -> None:
        """Sets the method up, before the first update.

        Args:
            output_gradient: Gradient of the loss with respect to the outputs (see ``GradientStep``).
            rng: The method's random numbers.
        """
        self.output_gradient, self.network.rng = output_gradient, rng
        with torch.no_grad():
            self.method.setup(self.layers, rng)
        layers = self.method.predictor()
        #: The network that performance is measured on: the trained one, unless the method has another.
        self.predictor = self.network if layers is None else self.network.twin(layers)
        self._prepare_passes()

    def _prepare_passes(self) -> None:
        """Chooses how gradients and predictions are computed; again when the network may have new
        branches."""
        self.gradients = self.network.train_step(self.output_gradient)
        self.gradients.keep_features = self.method.needs_features
        if "feature_penalty" in self.hooks:
            self.gradients.feature_gradient = partial(feature_gradient, self.method)
        apart = self.predictor is not self.network or self.network.spec.two_modes
        self._predict = self.predictor.train_step(self.output_gradient).outputs if apart else None

    def learn(self, x: torch.Tensor, target: Any) -> torch.Tensor:
        """One update on a batch.

        Args:
            x: Inputs ``(S, B, ...)``.
            target: What ``output_gradient`` takes.

        Returns:
            What was predicted before the update, ``(S, B, outputs)``: the outputs of the training pass if
            they are the prediction, else those of ``predictor``.
        """
        predicted = None if self._predict is None else self._predict(x)
        outputs = self.gradients(x, target)
        self.add_penalty()
        self.update()
        return outputs if predicted is None else predicted

    def probe(self, x: torch.Tensor, target: Any) -> None:
        """Computes what a measurement needs: the loss's gradients of the network as it predicts, and the
        features of ``predictor``; one pass gives both if it is the trained network."""
        kept, one = self.gradients.keep_features, self.predictor is self.network
        self.gradients.keep_features = kept or one
        self.gradients(x, target, training=False)
        self.gradients.keep_features = kept
        if not one:
            self.predictor.forward(x)

    def add_penalty(self) -> None:
        """Adds the gradient of the method's penalty to the loss's."""
        if "penalty" in self.hooks:
            add_penalty(self.method, self.layers)

    def update(self) -> None:
        """Moves the weights: ``before_update``, the optimizer's step, ``after_update``."""
        if "before_update" in self.hooks:
            self.method.before_update(self.layers, self.optimizer)
        self.optimizer.step()
        if "after_update" in self.hooks:
            self.method.after_update(self.layers, self.optimizer)

    def end_task(self) -> None:
        """Calls the method's ``on_task_end`` if it uses task boundaries."""
        if self.method.info.task_boundaries:
            self.method.on_task_end(self.layers, self.optimizer)
            self._prepare_passes()

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        state = {
            "weights": self.network.flat,
            "optimizer": self.optimizer.state_dict(),
            "method": self.method.state_dict(),
            **self.network.extras(),
        }
        if self.network.spec.dropout and self.network.rng is not None:
            state["noise"] = self.network.rng.state_dict()
        return state

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned; training continues bit for bit."""
        self.network.flat.copy_(state["weights"])
        self.network.load_extras(state)
        if self.network.spec.dropout and self.network.rng is not None:
            self.network.rng.load_state_dict(state["noise"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(state["method"])
        self._prepare_passes()
