"""Networks as methods see them: a list of layers whose parameters may carry a leading seed dimension."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from plasticity_bench.agents.rng import SeedRng

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method


@dataclass
class Layer:
    """One linear or convolution layer of a network, or the same layer of S stacked networks.

    In a stack every tensor has one leading dimension S; in a single network it has none. Below, ``...``
    stands for it.

    Args:
        name: ``linear1``, ``conv2`` and so on; in an adapter the name of the torch module.
        kind: "linear" or "conv".
        weight: ``(..., out, in)``, in a convolution ``(..., out, in, kh, kw)``. When a hook runs, every
            parameter has its gradient in ``.grad``.
        bias: ``(..., out)``.
        hidden: Whether a non-linearity follows, so that units can be dormant.
        weight_bound: Initial weights are uniform on +-weight_bound.
        bias_bound: Initial biases are uniform on +-bias_bound; 0: they start at zero.
        features: Activations of the last batch after the non-linearity, if the method has
            ``needs_features``: ``(..., examples, out)``, or ``(..., examples, out, height, width)``.
        gain: Gain of a normalisation before the non-linearity: ``(..., out)``, starts at 1.
        shift: Added after the gain: ``(..., out)``, starts at 0.
        log_std: Log standard deviations of a Gaussian policy, in its output layer: ``(..., actions)``.
        log_std_start: What log_std starts from.
        orthogonal: If above 0, initial weights are orthogonal with this gain instead of uniform.
        pooled: Whether ``features`` are what the next layer reads, after any pooling.
        running_mean: Of batch normalisation: ``(..., out)``, starts at 0.
        running_variance: Of batch normalisation: ``(..., out)``, starts at 1.
        branches: Frozen networks from this layer's input to the outputs, (sign, layers) each; their outputs
            are added to the network's with this sign.
    """

    name: str
    kind: str
    weight: torch.nn.Parameter
    bias: torch.nn.Parameter
    hidden: bool
    weight_bound: float
    bias_bound: float
    features: torch.Tensor | None = None
    gain: torch.nn.Parameter | None = None
    shift: torch.nn.Parameter | None = None
    log_std: torch.nn.Parameter | None = None
    log_std_start: float = 0.0
    orthogonal: float = 0.0
    pooled: bool = False
    running_mean: torch.Tensor | None = None
    running_variance: torch.Tensor | None = None
    branches: list[tuple[int, list[Layer]]] = field(default_factory=list)

    @property
    def fan_in(self) -> int:
        """Number of inputs of one unit; of a channel, input channels times the kernel's size."""
        dimensions = 1 if self.kind == "linear" else 3
        return math.prod(self.weight.shape[-dimensions:])

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Weight, then bias: what decay, noise and offsets act on."""
        yield self.weight
        yield self.bias

    def trainable(self) -> Iterator[torch.nn.Parameter]:
        """All that the optimizer moves: ``parameters``, then gain, shift and log_std if there are any."""
        yield from self.parameters()
        if self.gain is not None and self.shift is not None:
            yield self.gain
            yield self.shift
        if self.log_std is not None:
            yield self.log_std

    def buffers(self) -> Iterator[torch.Tensor]:
        """What training changes without an optimizer: running mean and variance if there are any."""
        if self.running_mean is not None and self.running_variance is not None:
            yield self.running_mean
            yield self.running_variance

    def state(self) -> Iterator[torch.Tensor]:
        """``trainable``, then ``buffers``: all that the layer's outputs depend on, except for branches."""
        yield from self.trainable()
        yield from self.buffers()

    def initial_std(self, parameter: torch.Tensor) -> float:
        """Standard deviation of a parameter's initial distribution.

        Args:
            parameter: The layer's weight or bias.

        Returns:
            The standard deviation; 0 for a bias that starts at zero.
        """
        if self.orthogonal and parameter is self.weight:
            return self.orthogonal / max(self.fan_in, self.bias.shape[-1]) ** 0.5
        bound = self.weight_bound if parameter is self.weight else self.bias_bound
        return bound / 3**0.5

    def fresh(self, rng: SeedRng) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws a new weight and bias from the initial distribution; the layer's own stay as they are.

        Args:
            rng: The method's ``rng``.

        Returns:
            (weight, bias), of the shapes of the layer's.
        """
        if self.orthogonal:
            weight = _orthogonal(self, rng).mul_(self.orthogonal)
        else:
            weight = rng.uniform(self.weight).mul_(self.weight_bound)
        return weight, rng.uniform(self.bias).mul_(self.bias_bound)


def parameters(layers: Sequence[Layer]) -> list[torch.nn.Parameter]:
    """All weights and biases in a fixed order."""
    return [parameter for layer in layers for parameter in layer.parameters()]


def trainable(layers: Sequence[Layer]) -> list[torch.nn.Parameter]:
    """All that the optimizer moves, in a fixed order: every layer's ``trainable``."""
    return [parameter for layer in layers for parameter in layer.trainable()]


def fresh(layers: Sequence[Layer], rng: SeedRng) -> list[torch.Tensor]:
    """Draws new weights and biases from the initial distribution, in the order of ``parameters``."""
    return [tensor for layer in layers for tensor in layer.fresh(rng)]


def copies(layers: Sequence[Layer]) -> list[Layer]:
    """Copies of the layers as they are now, without branches. Nothing trains the copies."""

    def fixed(parameter: torch.nn.Parameter | None) -> Any:
        return None if parameter is None else torch.nn.Parameter(parameter.detach().clone(), False)

    made = []
    for layer in layers:
        vectors = {name: fixed(getattr(layer, name)) for name in ("gain", "shift", "log_std")}
        mean, variance = list(layer.buffers()) or (None, None)
        made.append(
            replace(
                layer,
                weight=fixed(layer.weight),
                bias=fixed(layer.bias),
                **vectors,
                running_mean=None if mean is None else mean.clone(),
                running_variance=None if variance is None else variance.clone(),
                features=None,
                branches=[],
            )
        )
    return made


@torch.no_grad()
def renew(layers: Sequence[Layer], rng: SeedRng) -> None:
    """Re-initialises the layers in place: fresh weights and biases, gains 1, shifts 0, running means 0 and
    variances 1, log_std at its start, no branches. The optimizer's moments are left alone."""
    for parameter, value in zip(parameters(layers), fresh(layers, rng), strict=True):
        parameter.copy_(value)
    for layer in layers:
        if layer.gain is not None and layer.shift is not None:
            layer.gain.fill_(1)
            layer.shift.zero_()
        if layer.running_mean is not None and layer.running_variance is not None:
            layer.running_mean.zero_()
            layer.running_variance.fill_(1)
        if layer.log_std is not None:
            layer.log_std.fill_(layer.log_std_start)
        layer.branches.clear()


def add_penalty(method: Method, layers: Sequence[Layer]) -> None:
    """Adds the gradient of the method's ``penalty`` to every ``.grad``."""
    with torch.enable_grad():
        value = method.penalty(layers)
        total = None if value is None else value.sum()
    if total is None:
        return
    wanted = trainable(layers)
    gradients = torch.autograd.grad(total, wanted, allow_unused=True)
    for parameter, gradient in zip(wanted, gradients, strict=True):
        if gradient is not None and parameter.grad is not None:
            parameter.grad.add_(gradient)


def feature_gradient(method: Method, layer: Layer, features: torch.Tensor) -> torch.Tensor | None:
    """Gradient of the method's ``feature_penalty`` with respect to the features, of their shape; None: it
    adds nothing."""
    with torch.enable_grad():
        wanted = features.detach().requires_grad_()
        value = method.feature_penalty(layer, wanted)
        return None if value is None else torch.autograd.grad(value.sum(), wanted)[0]


def _orthogonal(layer: Layer, rng: SeedRng) -> torch.Tensor:
    """As torch.nn.init.orthogonal_ with gain 1: rows or columns, whichever are fewer, are orthonormal."""
    weight = layer.weight
    # On the CPU, like the draws: the QR of another device may differ in the last digits.
    numbers = rng.normal(torch.empty(weight.shape, dtype=weight.dtype))
    matrix = numbers.flatten(layer.bias.dim())
    wide = matrix.shape[-2] < matrix.shape[-1]
    q, r = torch.linalg.qr(matrix.mT if wide else matrix)
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return (q.mT if wide else q).reshape(weight.shape).to(weight.device)
