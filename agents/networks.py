"""S networks of one shape, trained as one batched network on one flat parameter vector."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from plasticity_bench.agents.blocks import FlatLayers
from plasticity_bench.agents.forward import ACTIVATIONS, forward
from plasticity_bench.agents.gradients import AutogradStep, GradientStep, OutputGradient, ReluPerceptronStep
from plasticity_bench.agents.layers import Layer, copies, renew
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.errors import InputError
from plasticity_bench.specs import NetworkSpec, layer_shapes

NORMS = ("", "layer", "batch")

#: Allocates a network's parameters and their gradients: called with the number of zeros of each.
Storage = Callable[[int, torch.device, torch.dtype], tuple[torch.Tensor, torch.Tensor]]

#: Every parameter starts at a multiple of this many numbers, so that vector instructions split a seed's
#: numbers in the same way in every stack.
ALIGNMENT = 64


class StackedNetwork:
    """The networks of S seeds, computed as one. Inputs ``(S, B, *spec.inputs)``, outputs ``(S, B, outputs)``.

    Args:
        spec: The architecture.
        rng: Draws the initial weights; one generator per seed.
        device: Of the parameters.
        dtype: Of the parameters.
        storage: Allocates the parameters; by default the network has memory of its own.

    Raises:
        InputError: An activation, normalisation or initialisation is not known.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        rng: SeedRng,
        device: torch.device,
        dtype: torch.dtype,
        storage: Storage | None = None,
    ) -> None:
        if spec.activation not in ACTIVATIONS:
            raise InputError(f'unknown activation "{spec.activation}"; known: {", ".join(ACTIVATIONS)}')
        if spec.norm not in NORMS:
            raise InputError(f'unknown norm "{spec.norm}"; known: {", ".join(filter(None, NORMS))}')
        self.spec = spec
        self.seeds = len(rng.generators)
        shapes = layer_shapes(spec)
        counts = [n for s in shapes for n in (math.prod(s.weight), *[s.weight[0]] * s.vectors)]
        starts = [0]
        for count in counts:
            starts.append(starts[-1] + -(-self.seeds * count // ALIGNMENT) * ALIGNMENT)
        self.flat, self.gradient = (storage or zeros)(starts[-1], device, dtype)
        self.rng: SeedRng | None = None  # that dropout draws from
        self.products: torch.dtype | None = None  # number type of matrix products; None: the weights'
        layers: list[Layer] = []
        free = iter(starts)
        for i, (kind, shape, _, hidden, count) in enumerate(shapes):
            weight = self._parameter(next(free), shape)
            bias, *vectors = [self._parameter(next(free), shape[:1]) for _ in range(count)]
            bounds = _bounds(spec.init, math.prod(shape[1:]))
            layer = Layer(f"{kind}{i + 1}", kind, weight, bias, hidden, *bounds)
            if hidden:
                layer.gain, layer.shift = vectors or (None, None)
                if spec.norm == "batch":
                    layer.running_mean, layer.running_variance = torch.zeros_like(bias), torch.ones_like(bias)
            elif vectors:
                (layer.log_std,) = vectors
            layers.append(layer)
        self.layers: list[Layer] = FlatLayers(layers, self.flat, self.gradient)
        renew(self.layers, rng)

    def _parameter(self, start: int, shape: tuple[int, ...]) -> torch.nn.Parameter:
        shape = (self.seeds, *shape)
        stop = start + math.prod(shape)
        parameter = torch.nn.Parameter(self.flat[start:stop].view(shape))
        parameter.grad = self.gradient[start:stop].view(shape)
        return parameter

    def forward(self, x: torch.Tensor, training: bool = False) -> torch.Tensor:
        """Outputs ``(S, B, outputs)``; leaves each hidden layer's activations in ``layer.features``."""
        noise = self.noise if self.spec.dropout else None
        if self.products is None:
            return forward(self.layers, x, self.spec.activation, training, noise)
        # Casts of weights that autocast kept would not follow the weights.
        with torch.autocast(x.device.type, self.products, cache_enabled=False):
            return forward(self.layers, x, self.spec.activation, training, noise).to(x.dtype)

    def noise(self, batch: int, units: int) -> torch.Tensor:
        """Dropout's factors ``(S, batch, units)``: 0, or 1/(1-p) if the activation is kept."""
        if self.rng is None:
            raise RuntimeError("dropout needs a generator: TrainedNetwork.setup sets it")
        return self.rng.kept(self.flat.new_empty(self.seeds, batch, units), self.spec.dropout)

    def twin(self, layers: Sequence[Layer]) -> StackedNetwork:
        """A network of the same shape with these layers; nothing trains it."""
        made = copy.copy(self)
        made.layers = list(layers)
        return made

    def extras(self, rows: slice = slice(None)) -> dict[str, Any]:
        """The network's state apart from ``flat``, for the seeds in ``rows``: running statistics and frozen
        branches. Plain values, and tensors on the CPU; empty if there are none."""

        def kept(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
            return [tensor.detach()[rows].cpu().clone() for tensor in tensors]

        found: dict[str, Any] = {}
        if statistics := kept(tensor for layer in self.layers for tensor in layer.buffers()):
            found["statistics"] = statistics
        if branches := [
            {"layer": i, "sign": sign, "weights": kept(t for part in frozen for t in part.state())}
            for i, layer in enumerate(self.layers)
            for sign, frozen in layer.branches
        ]:
            found["branches"] = branches
        return found

    @torch.no_grad()
    def load_extras(self, found: Mapping[str, Any]) -> None:
        """Restores what ``extras`` returned; other entries are ignored."""
        statistics = [tensor for layer in self.layers for tensor in layer.buffers()]
        for tensor, saved in zip(statistics, found.get("statistics", []), strict=True):
            tensor.copy_(saved)
        for layer in self.layers:
            layer.branches = []
        for branch in found.get("branches", []):
            i = branch["layer"]
            frozen = copies(self.layers[i:])
            tensors = [tensor for layer in frozen for tensor in layer.state()]
            for tensor, saved in zip(tensors, branch["weights"], strict=True):
                tensor.copy_(saved)
            self.layers[i].branches.append((branch["sign"], frozen))

    def train_step(self, loss: OutputGradient) -> GradientStep:
        """The fastest way to compute this network's gradients: by hand for ReLU perceptrons, else
        autograd."""
        plain = not self.spec.channels and self.spec.activation == "relu" and not self.spec.norm
        plain = plain and self.products is None
        if plain and not any(layer.branches for layer in self.layers):
            return ReluPerceptronStep(self, loss)
        return AutogradStep(self, loss)


def squared_error_gradient(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """d(mean squared error)/d(outputs), one loss per seed."""
    return (outputs - target).mul_(2 / math.prod(outputs.shape[-2:]))


def cross_entropy_gradient(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """d(cross entropy)/d(logits), one loss per seed; ``target`` holds class probabilities."""
    return torch.softmax(outputs, -1).sub_(target).mul_(1 / outputs.shape[-2])


def zeros(count: int, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The default ``Storage``: memory of the network's own."""
    flat = torch.zeros(count, dtype=dtype, device=device)
    return flat, torch.zeros_like(flat)


def _bounds(init: str, fan_in: int) -> tuple[float, float]:
    if init == "torch":
        return 1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)
    if init == "kaiming":
        return math.sqrt(6 / fan_in), 0.0
    if init == "lecun":
        return math.sqrt(3 / fan_in), 0.0
    raise InputError(f'unknown initialisation "{init}"; known: torch, kaiming, lecun')
