"""One stacked network with its optimizer and its method: how a gradient step goes, whatever the loss."""

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
    """The method changes ``spec`` and acts at every step. ``init`` draws the weights."""

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

    def setup(self, output_gradient: OutputGradient, rng: SeedRng) -> None:
        """Before the first step: the loss's gradient (see ``GradientStep``) and the method's generator."""
        self.output_gradient, self.network.rng = output_gradient, rng
        with torch.no_grad():
            self.method.setup(self.layers, rng)
        layers = self.method.predictor()
        #: The network that performance is measured on: the trained one, unless the method has another.
        self.predictor = self.network if layers is None else self.network.twin(layers)
        self._prepare_passes()

    def _prepare_passes(self) -> None:
        """How gradients and predictions are computed; again when the network may have got branches."""
        self.gradients = self.network.train_step(self.output_gradient)
        self.gradients.keep_features = self.method.needs_features
        if "feature_penalty" in self.hooks:
            self.gradients.feature_gradient = partial(feature_gradient, self.method)
        apart = self.predictor is not self.network or self.network.spec.two_modes
        self._predict = self.predictor.train_step(self.output_gradient).outputs if apart else None

    def learn(self, x: torch.Tensor, target: Any) -> torch.Tensor:
        """One update on a batch. Returns what was predicted before it: the training pass's outputs where
        they are the prediction, else those of ``predictor``."""
        predicted = None if self._predict is None else self._predict(x)
        outputs = self.gradients(x, target)
        self.add_penalty()
        self.update()
        return outputs if predicted is None else predicted

    def probe(self, x: torch.Tensor, target: Any) -> None:
        """For a measurement: the loss's gradients of the network as it predicts, and the features of
        ``predictor``, which one pass gives where both are one."""
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
        """Moves the weights: the optimizer's step between the method's hooks."""
        if "before_update" in self.hooks:
            self.method.before_update(self.layers, self.optimizer)
        self.optimizer.step()
        if "after_update" in self.hooks:
            self.method.after_update(self.layers, self.optimizer)

    def end_task(self) -> None:
        """Tells the method of a task boundary, where it is one that is told."""
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
        """Continues bit for bit where ``state_dict`` was taken."""
        self.network.flat.copy_(state["weights"])
        self.network.load_extras(state)
        if self.network.spec.dropout and self.network.rng is not None:
            self.network.rng.load_state_dict(state["noise"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(state["method"])
        self._prepare_passes()
