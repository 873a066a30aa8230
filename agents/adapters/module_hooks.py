"""Forward hooks of torch modules that give methods the activations of hidden layers.

They are functions of this module and not closures, so that networks can still be copied and pickled.
"""

from __future__ import annotations

import torch
from torch import nn

from plasticity_bench.agents.layers import Layer, feature_gradient
from plasticity_bench.agents.methods import Method


def record_features(layer: Layer, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Keeps what the next layer reads in training; passes without gradients are evaluations."""
    if torch.is_grad_enabled():
        layer.features = _features(layer, inputs[0].detach().to(layer.weight.dtype))


def penalise_features(method: Method, layer: Layer, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Adds the gradient of the method's ``feature_penalty`` when the loss is differentiated."""
    if not (torch.is_grad_enabled() and inputs[0].requires_grad):
        return
    features = _features(layer, inputs[0].detach())

    def add(gradient: torch.Tensor) -> torch.Tensor:
        extra = feature_gradient(method, layer, features)
        return gradient if extra is None else gradient + extra.reshape(gradient.shape)

    inputs[0].register_hook(add)


def _features(layer: Layer, read: torch.Tensor) -> torch.Tensor:
    """What the next layer reads as the layer's features: (examples, units), or with positions."""
    if layer.kind == "linear":
        return read.reshape(-1, read.shape[-1])
    if read.dim() < 3:  # flattened, channel by channel
        return read.reshape(-1, layer.weight.shape[0], read.shape[-1] // layer.weight.shape[0], 1)
    return read.reshape(-1, *read.shape[-3:])
