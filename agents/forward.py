"""The forward pass of a stack of networks, in training and in prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from plasticity_bench.agents.layers import Layer
from plasticity_bench.specs import WIDENING

#: Name -> function of the pre-activations and the dimension that holds the units.
ACTIVATIONS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "relu": lambda z, _: torch.relu(z),
    "leaky-relu": lambda z, _: functional.leaky_relu(z),
    "tanh": lambda z, _: torch.tanh(z),
    "gelu": lambda z, _: functional.gelu(z),
    "crelu": lambda z, units: torch.cat([z, -z], units).relu(),
    "fourier": lambda z, units: torch.cat([z.sin(), z.cos()], units),
}

#: Number of multiplications below which torch computes batched products on a CPU in loops of its own, whose
#: results are bit-identical for any number of seeds.
LOOPED = 400

#: Share of a batch's statistics in the running ones, and what is added to variances: torch's defaults.
MOMENTUM, NORM_EPSILON = 0.1, 1e-5

#: Factors ``(S, B, units)`` for a hidden layer's activations, of the batch's size and the number of units.
Noise = Callable[[int, int], torch.Tensor]


def forward(
    layers: Sequence[Layer],
    x: torch.Tensor,
    activation: str,
    training: bool = False,
    noise: Noise | None = None,
) -> torch.Tensor:
    """``(S, B, *inputs)`` to ``(S, B, outputs)``; leaves hidden activations in ``layer.features``.

    ``training``: batch normalisation takes the batch's statistics (and updates the running ones), and
    activations are multiplied by ``noise`` after they were recorded.
    """
    seeds, batch = x.shape[:2]
    if layers[0].kind == "conv":
        # One grouped convolution serves all seeds: (S, B, C, H, W) -> (B, S*C, H, W).
        x = x.transpose(0, 1).reshape(batch, -1, *x.shape[3:])
    return _Pass(activation, seeds, batch, training, noise if training else None).through(layers, x)


@dataclass(frozen=True)
class _Pass:
    """One pass of a batch."""

    activation: str
    seeds: int
    batch: int
    training: bool
    noise: Noise | None

    def through(self, layers: Sequence[Layer], x: torch.Tensor, record: bool = True) -> torch.Tensor:
        added = []
        for layer in layers:
            if layer.branches:  # frozen: they predict, in training too
                frozen = replace(self, training=False, noise=None)
                added += [sign * frozen.through(branch, x, record=False) for sign, branch in layer.branches]
            x = self._convolution(layer, x, record) if layer.kind == "conv" else self._dense(layer, x, record)
        for outputs in added:
            x = x + outputs
        return x

    def _convolution(self, layer: Layer, x: torch.Tensor, record: bool) -> torch.Tensor:
        seeds, batch = self.seeds, self.batch
        x = functional.conv2d(x, layer.weight.flatten(0, 1), _bias(layer).flatten(), groups=seeds)
        if layer.running_mean is not None:
            mean, variance, gain, shift = _flat(layer)
            x = functional.batch_norm(x, mean, variance, gain, shift, self.training, MOMENTUM, NORM_EPSILON)
        elif layer.gain is not None and layer.shift is not None:
            x = functional.group_norm(x, seeds, layer.gain.flatten(), layer.shift.flatten())
        if self.activation in WIDENING:  # seed by seed: (B, S*C, H, W) -> (B, S*2*C, H, W)
            x = ACTIVATIONS[self.activation](x.view(batch, seeds, -1, *x.shape[2:]), 2).flatten(1, 2)
        else:
            x = ACTIVATIONS[self.activation](x, 1)
        if record:
            layer.features = x.view(batch, seeds, -1, *x.shape[2:]).transpose(0, 1)
        x = halve(x)
        if self.noise is not None:
            factors = self.noise(batch, x.shape[1] // seeds)
            x = x * factors.transpose(0, 1).reshape(batch, -1, 1, 1)
        return x

    def _dense(self, layer: Layer, x: torch.Tensor, record: bool) -> torch.Tensor:
        if x.dim() == 4:  # from the last convolution: (B, S*C, H, W) -> (S, B, C*H*W)
            x = x.view(self.batch, self.seeds, -1).transpose(0, 1)
        elif x.dim() > 3:
            x = x.flatten(2)
        x = linear(x, layer.weight, _bias(layer))
        if layer.running_mean is not None:
            x = _batch_norm(layer, x, self.training)
        elif layer.gain is not None and layer.shift is not None:
            x = functional.layer_norm(x, x.shape[-1:])
            x = torch.addcmul(layer.shift.unsqueeze(1), x, layer.gain.unsqueeze(1))
        if layer.hidden:
            x = ACTIVATIONS[self.activation](x, -1)
            if record:
                layer.features = x
            if self.noise is not None:
                x = x * self.noise(self.batch, x.shape[-1])
        return x


def halve(x: torch.Tensor) -> torch.Tensor:
    """``functional.max_pool2d(x, 2)`` of ``(N, C, H, W)``, bit for bit; on a CPU in a fraction of the time of
    torch's kernel for contiguous images."""
    if x.device.type != "cpu":
        return functional.max_pool2d(x, 2)
    if torch.is_grad_enabled() and x.requires_grad:
        return _Halve.apply(x)
    height, width = (side // 2 * 2 for side in x.shape[-2:])
    rows = torch.maximum(x[..., 0:height:2, :width], x[..., 1:height:2, :width])
    return torch.maximum(rows[..., 0::2], rows[..., 1::2])


class _Halve(torch.autograd.Function):
    """Forward by torch's kernel for channels-last images, backward by that for contiguous ones: each is the
    faster of the two, and both choose the first of equals."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        last = x.contiguous(memory_format=torch.channels_last)
        pooled, chosen = functional.max_pool2d(last, 2, return_indices=True)
        ctx.save_for_backward(x, chosen.contiguous())
        return pooled.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        x, chosen = ctx.saved_tensors
        sizes = ([2, 2], [2, 2], [0, 0], [1, 1], False)
        backward = torch.ops.aten.max_pool2d_with_indices_backward
        return backward(gradient.contiguous(), x.contiguous(), *sizes, chosen)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """``(S, B, in)`` to ``(S, B, out)``; on a CPU bit-identical to torch.nn.Linear for every seed alone."""
    if x.shape[1] > 1 or x.device.type != "cpu":
        return product(x, weight.mT, bias.unsqueeze(1))
    # torch computes a product with one row in another way, and a batched product of such in a third one.
    return torch.stack([torch.addmm(b, row, w.t()) for b, row, w in zip(bias, x, weight, strict=True)])


def product(x: torch.Tensor, transposed: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """``(S, B, in)`` to ``(S, B, out)`` from weights ``(S, in, out)`` and biases ``(S, 1, out)``."""
    seeds, inputs, outputs = transposed.shape
    if seeds == 1 or outputs > 1 or x.shape[1] * inputs < LOOPED or x.device.type != "cpu":
        return torch.baddbmm(bias, x, transposed)
    # With one output, torch computes a single product in another way than a batch of them.
    return torch.stack([torch.addmm(b, row, w) for b, row, w in zip(bias, x, transposed, strict=True)])


def _bias(layer: Layer) -> torch.Tensor:
    """Without a gradient if batch normalisation follows, which subtracts the bias again: the gradient
    would be rounding errors, which Adam would scale to whole steps."""
    return layer.bias if layer.running_mean is None else layer.bias.detach()


def _flat(layer: Layer) -> Iterator[torch.Tensor]:
    """Running mean and variance, gain and shift of all seeds' units, as views: the first two get written."""
    for tensor in (layer.running_mean, layer.running_variance, layer.gain, layer.shift):
        assert tensor is not None
        yield tensor.flatten()


def _batch_norm(layer: Layer, x: torch.Tensor, training: bool) -> torch.Tensor:
    """``(S, B, units)``, as torch.nn.BatchNorm1d for every seed. With torch's own kernel for such inputs a
    seed's last digits would depend on the other seeds."""
    count = x.shape[1]
    mean, variance, gain, shift = (tensor.view(x.shape[0], 1, -1) for tensor in _flat(layer))
    if not training:
        return torch.addcmul(shift, (x - mean) * (variance + NORM_EPSILON).rsqrt(), gain)
    # Over the examples of each unit, as layer normalisation over a row.
    rows, means, scales = torch.native_layer_norm(x.mT.contiguous(), (count,), None, None, NORM_EPSILON)
    with torch.no_grad():
        unbiased = (scales.square().reciprocal() - NORM_EPSILON).clamp_min_(0) * (count / (count - 1))
        for running, new in ((mean, means), (variance, unbiased)):
            running.mul_(1 - MOMENTUM).add_(new.mT * MOMENTUM)
    return torch.addcmul(shift, rows.mT.contiguous(), gain)
