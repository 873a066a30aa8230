"""How the gradients of a stacked network are computed: by hand for ReLU perceptrons, else by autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from plasticity_bench.agents.forward import product
from plasticity_bench.agents.layers import Layer

if TYPE_CHECKING:
    from plasticity_bench.agents.networks import StackedNetwork

#: d(loss)/d(outputs) of outputs and target: classes' probabilities, values, or what a policy did.
OutputGradient = Callable[[torch.Tensor, Any], torch.Tensor]

#: d(what a method adds to the loss)/d(features) of a hidden layer and its features; None: it adds nothing.
FeatureGradient = Callable[[Layer, torch.Tensor], torch.Tensor | None]

#: One seed's layers, for single examples: (bias, transposed weight).
RowLayers = list[tuple[torch.Tensor, torch.Tensor]]


class GradientStep:
    """Computes the gradients of a stacked network: called with inputs and targets, it sets every ``.grad``.

    Args:
        network: The network.
        output_gradient: Makes d(loss)/d(outputs) of the outputs and the target.
    """

    def __init__(self, network: StackedNetwork, output_gradient: OutputGradient) -> None:
        self.network = network
        self.output_gradient = output_gradient
        self.keep_features = False  # True: each hidden layer's activations stay in layer.features
        self.feature_gradient: FeatureGradient | None = None  # of a term that is added to the loss

    def __call__(self, x: torch.Tensor, target: Any, training: bool = True) -> torch.Tensor:
        """Sets every ``.grad``.

        Args:
            x: Inputs ``(S, B, ...)``.
            target: Passed to ``output_gradient``.
            training: False: gradients of the network as it predicts, for a measurement; nothing else changes.

        Returns:
            Outputs ``(S, B, outputs)``.
        """
        raise NotImplementedError

    @torch.no_grad()
    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs ``(S, B, outputs)``; gradients and features stay as they are."""
        kept = [layer.features for layer in self.network.layers]
        outputs = self.network.forward(x)
        for layer, features in zip(self.network.layers, kept, strict=True):
            layer.features = features
        return outputs

    def steppers(self, x: torch.Tensor, into: torch.Tensor) -> list[Callable[[int], None]]:
        """Functions that compute ``outputs`` step by step, for an agent.

        Args:
            x: Inputs ``(T, S, B, ...)``; ``x[t]`` is read at step t.
            into: ``(T, S, B, outputs)``; ``into[t]`` is written at step t.

        Returns:
            Functions of t, each for some of the seeds. One may be called for all t before the next one is.
        """
        device, inputs, results = self.network.flat.device, x.unbind(0), into.unbind(0)

        def step(t: int) -> None:
            results[t].copy_(self.outputs(inputs[t].to(device)))

        return [step]


class AutogradStep(GradientStep):
    """By autograd, for any architecture."""

    def __call__(self, x: torch.Tensor, target: Any, training: bool = True) -> torch.Tensor:
        network = self.network
        with torch.enable_grad():
            outputs = network.forward(x, training)
        # Not log_std: no output depends on it, the loss sets its gradient.
        wanted = [p for layer in network.layers for p in layer.trainable() if p is not layer.log_std]
        ends, upstream = [outputs], [self.output_gradient(outputs.detach(), target)]
        for layer in network.layers:
            if self.feature_gradient is not None and layer.hidden and layer.features is not None:
                extra = self.feature_gradient(layer, layer.features)
                if extra is not None:
                    ends.append(layer.features)
                    upstream.append(extra)
        # Unused: a bias that batch normalisation takes out again.
        gradients = torch.autograd.grad(ends, wanted, upstream, allow_unused=True)
        for parameter, gradient in zip(wanted, gradients, strict=True):
            assert parameter.grad is not None
            if gradient is None:
                parameter.grad.zero_()
            else:
                parameter.grad.copy_(gradient)
        if self.keep_features:
            for layer in network.layers:
                layer.features = None if layer.features is None else layer.features.detach().to(x.dtype)
        return outputs.detach()


class ReluPerceptronStep(GradientStep):
    """By hand, for linear layers with ReLU: a third of autograd's time if the network is small."""

    def __init__(self, network: StackedNetwork, output_gradient: OutputGradient) -> None:
        super().__init__(network, output_gradient)
        self.weights = [layer.weight.detach() for layer in network.layers]
        self.transposed = [weight.mT for weight in self.weights]
        self.biases = [layer.bias.detach().unsqueeze(1) for layer in network.layers]
        self.rows: list[RowLayers] = [
            [(b[s, 0], w[s]) for b, w in zip(self.biases, self.transposed, strict=True)]
            for s in range(network.seeds)
        ]
        self.buffers = [bias.new_empty(1, bias.shape[-1]) for bias in self.biases[:-1]]
        self.weight_gradients = [layer.weight.grad for layer in network.layers]
        self.bias_gradients = [layer.bias.grad for layer in network.layers]

    def __call__(self, x: torch.Tensor, target: Any, training: bool = True) -> torch.Tensor:
        last = len(self.weights) - 1
        inputs = [x]
        noisy, factors, seen = training and bool(self.network.spec.dropout), [], []
        for i in range(last):
            x = torch.baddbmm(self.biases[i], x, self.transposed[i]).relu_()
            seen.append(x)
            if self.keep_features:
                self.network.layers[i].features = x
            if noisy:
                factors.append(self.network.noise(x.shape[1], x.shape[2]))
                x = x * factors[i]
            inputs.append(x)
        outputs = product(x, self.transposed[last], self.biases[last])
        upstream = self.output_gradient(outputs, target)
        for i in range(last, -1, -1):
            torch.bmm(upstream.mT, inputs[i], out=self.weight_gradients[i])
            torch.sum(upstream, 1, out=self.bias_gradients[i])
            if i:
                upstream = torch.bmm(upstream, self.weights[i])
                if noisy:
                    upstream.mul_(factors[i - 1])
                if self.feature_gradient is not None:
                    extra = self.feature_gradient(self.network.layers[i - 1], seen[i - 1])
                    if extra is not None:
                        upstream.add_(extra)
                # ReLU's derivative, 0 at 0 as in torch.
                torch.ops.aten.threshold_backward.grad_input(upstream, inputs[i], 0, grad_input=upstream)
        return outputs

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        last = len(self.weights) - 1
        if x.shape[1] == 1 and x.device.type == "cpu":  # as linear
            if len(x) == 1:
                return self._row_outputs(x.flatten(0, 1), self.rows[0]).unsqueeze(0)
            pairs = zip(x.unbind(0), self.rows, strict=True)
            return torch.stack([self._row_outputs(row, layers) for row, layers in pairs])
        for i in range(last):
            x = torch.baddbmm(self.biases[i], x, self.transposed[i]).relu_()
        return product(x, self.transposed[last], self.biases[last])

    def steppers(self, x: torch.Tensor, into: torch.Tensor) -> list[Callable[[int], None]]:
        if x.shape[2] > 1 or not self.network.flat.device == x.device == into.device:
            return super().steppers(x, into)
        # Between two steps a simulation fills the processor's caches, so that every call takes many times
        # longer than in a loop of its own: as few calls as possible.
        return [self._row_stepper(x[:, s], into[:, s], layers) for s, layers in enumerate(self.rows)]

    def _row_stepper(self, x: torch.Tensor, into: torch.Tensor, layers: RowLayers) -> Callable[[int], None]:
        """``_row_outputs`` of ``x[t]`` into ``into[t]``, one seed's."""
        *hidden, (bias, transposed) = layers
        steps = [(*layer, buffer) for layer, buffer in zip(hidden, self.buffers, strict=True)]
        inputs, results = x.unbind(0), into.unbind(0)

        def step(t: int) -> None:
            row = inputs[t]
            for b, w, buffer in steps:
                row = torch.addmm(b, row, w, out=buffer).relu_()
            torch.addmm(bias, row, transposed, out=results[t])

        return step

    def _row_outputs(self, row: torch.Tensor, layers: RowLayers) -> torch.Tensor:
        """``(1, in)`` to ``(1, outputs)`` for one seed."""
        *hidden, head = layers
        for (bias, transposed), into in zip(hidden, self.buffers, strict=True):
            row = torch.addmm(bias, row, transposed, out=into).relu_()
        return torch.addmm(head[0], row, head[1])
