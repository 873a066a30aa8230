"""Shared by the methods that reset single units: what a unit is, and how it is re-initialised.

A unit is a row of a hidden linear layer or a channel of a convolution. Masks are ``(..., units)``. Nothing
here makes the host wait for the device. Fresh weights are drawn for a whole layer, so that the random numbers
depend on a method's schedule only, never on the data. torch is not imported, so that methods can import this
module at their top.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plasticity_bench.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, dtype

    from plasticity_bench.agents.layers import Layer
    from plasticity_bench.agents.optim import FlatOptimizer
    from plasticity_bench.agents.rng import SeedRng

#: Most numbers that ``Recent`` keeps: those of a few updates of a small stack, or of one of a large network.
ROOM = 2**19


def pairs(layers: Sequence[Layer]) -> list[tuple[Layer, Layer]]:
    """Every hidden layer with the layer that reads it. Raises InputError if a unit has several outputs."""
    found = list(itertools.pairwise(layers))
    for layer, following in found:
        columns = following.weight.shape[layer.bias.dim()]
        if layer.kind == following.kind and columns != layer.bias.shape[-1]:
            raise InputError("methods that reset units need an activation that makes one number of each")
    return found


class PerUnit(list["Tensor"]):
    """A number for every hidden unit, at first 0: a tensor ``(..., units)`` for each hidden layer.

    All of them are views of ``whole``, ``(..., units of all layers)``.

    Args:
        layers: As ``setup`` is given them.
        kind: Number type; None: that of the parameters.
    """

    def __init__(self, layers: Sequence[Layer], kind: dtype | None = None) -> None:
        widths = [layer.bias.shape[-1] for layer, _ in pairs(layers)]
        like = layers[0].bias
        self.whole = like.new_zeros((*like.shape[:-1], sum(widths)), dtype=kind)
        super().__init__(self.whole.split(widths, -1) if widths else ())

    def state_dict(self) -> list[Tensor]:
        """The tensors, one per hidden layer."""
        return [tensor.clone() for tensor in self]

    def load_state_dict(self, state: Sequence[Tensor]) -> None:
        """Copies ``state`` in; views taken before stay valid."""
        for tensor, saved in zip(self, state, strict=True):
            tensor.copy_(saved)


class Recent:
    """Tensors of the last updates, for running averages that are computed for several updates at once: one
    call for all of them takes hardly longer than a call for one.

    They are not part of the state: a method processes them before it returns its state.
    """

    def __init__(self) -> None:
        self.kept: list[Sequence[Tensor]] = []
        self.most = 1  # updates that are kept

    def fits(self, tensors: Sequence[Tensor]) -> bool:
        """Whether an update's tensors can be kept: there is room, and the batch is as large as the others."""
        if not self.kept:
            self.most = max(1, ROOM // sum(tensor.numel() for tensor in tensors))
            return True
        return len(self.kept) < self.most and tensors[0].shape == self.kept[0][0].shape

    def take(self) -> list[Tensor]:
        """Returns each of an update's tensors as ``(updates, ...)``, and forgets them."""
        import torch

        taken = [torch.stack(tensors) for tensors in zip(*self.kept, strict=True)]
        self.kept.clear()
        return taken

    def state_dict(self) -> list[Tensor]:
        """Nothing."""
        assert not self.kept
        return []

    def load_state_dict(self, state: Sequence[Tensor]) -> None:
        """Nothing was kept."""
        self.kept.clear()


def activations(layer: Layer, pooled: bool = False) -> Tensor:
    """Activations of the last batch, with a channel's positions as examples.

    Args:
        layer: A hidden layer. The method must have ``needs_features``.
        pooled: True: as the next layer reads them, after the 2x2 max pooling of a convolution. They always
            are if ``layer.pooled``.

    Returns:
        ``(..., examples, units)``.
    """
    features = layer.features
    assert features is not None, "the method sets needs_features"
    if layer.kind == "linear":
        return features
    if pooled and not layer.pooled:
        from torch.nn import functional

        images = functional.max_pool2d(features.flatten(0, -4), 2)
        features = images.view(*features.shape[:-2], *images.shape[-2:])
    return features.movedim(-3, -1).flatten(-4, -2)


def batch_size(layer: Layer) -> int:
    """Number of examples in the last batch. The method must have ``needs_features``."""
    assert layer.features is not None, "the method sets needs_features"
    return layer.features.shape[-2 if layer.kind == "linear" else -4]


def before_scored(updates: int, period: int, examples: int, batch: int) -> int:
    """How many updates are left before the ones whose batches are scored, for ``Method.repeats``.

    Args:
        updates: Updates done so far.
        period: Updates between two resets.
        examples: Examples that are scored, in the last batches of a period.
        batch: Examples of a batch.

    Example:
        >>> before_scored(0, period=100, examples=64, batch=16)
        96
    """
    return max(0, period - updates % period - max(1, -(-examples // batch)))


def incoming(layer: Layer, tensor: Tensor) -> Tensor:
    """A tensor of the shape of the layer's weights as ``(..., units, inputs)``."""
    return tensor.flatten(layer.bias.dim())


def outgoing(layer: Layer, tensor: Tensor) -> Tensor:
    """The outgoing weights of a layer's units, as a view.

    Args:
        layer: The layer of the units.
        tensor: Of the shape of the following layer's weights.

    Returns:
        ``(..., out, units, weights of one unit)``. A channel's weights are its kernel in the next
        convolution, or its block of columns after flattening.
    """
    return tensor.view(*tensor.shape[: layer.bias.dim()], layer.bias.shape[-1], -1)


def dormancy_scores(activity: Tensor) -> Tensor:
    """Every unit's activity over the mean of its layer: ``(..., units)``, in a silent layer 0 everywhere.

    With the mean of |activation| as the activity it is ReDo's score (Sokar et al. 2023, Eq. 1), with that of
    |gradient| GraMa's.
    """
    return activity / (activity.mean(-1, keepdim=True) + 1e-9)


def remembered(optimizer: FlatOptimizer, parameter: Tensor, fresh_count: bool) -> list[Tensor]:
    """What the optimizer remembers of a parameter, for a method that resets it: zero it in place.

    Args:
        optimizer: As a hook is given it.
        parameter: A parameter of one of the layers.
        fresh_count: True: the elements' step counts too (``FlatOptimizer.counts``).

    Returns:
        Tensors, each of the parameter's shape.
    """
    return [*optimizer.moments(parameter), *(optimizer.counts(parameter) if fresh_count else ())]


def reinitialise(
    layers: Sequence[Layer],
    masks: Sequence[Tensor | None],
    rng: SeedRng,
    optimizer: FlatOptimizer,
    fresh_count: bool = False,
) -> None:
    """Re-initialises units in place.

    Incoming weights are drawn from the layer's initial distribution, the bias becomes 0 (with a
    normalisation: gain 1, shift 0, running mean 0, running variance 1), then the outgoing weights become 0.
    The optimizer's moments of all of them are cleared, and their step counts if ``fresh_count``.

    Args:
        layers: All layers.
        masks: For each hidden layer the units to reset, ``(..., units)`` bool. None: the layer is left alone,
            and nothing is drawn for it.
        rng: The method's random numbers.
        optimizer: As a hook is given it.
        fresh_count: Whether Adam counts the steps of these weights again from 0. Else its step count stays,
            and their first updates are up to 6.6 times those of a new optimizer.
    """
    acting = list(masks)
    # Called even if no unit of these seeds is reset, so that a seed's numbers do not depend on the others.
    if fresh_count:
        optimizer.counts(layers[0].weight)
    for i, (layer, mask) in enumerate(zip(layers, masks, strict=False)):
        if mask is None:
            continue
        fresh, _ = layer.fresh(rng)
        if mask.device.type == "cpu" and not mask.any():  # on other devices the host would have to wait
            acting[i] = None
            continue
        wide = mask.view(*mask.shape, *[1] * (fresh.dim() - mask.dim()))
        layer.weight.copy_(fresh.where(wide, layer.weight))
        for parameter, value in zip((layer.bias, layer.gain, layer.shift), (0, 1, 0), strict=True):
            if parameter is not None:
                parameter.masked_fill_(mask, value)
        for parameter in layer.trainable():
            for tensor in remembered(optimizer, parameter, fresh_count):
                tensor.masked_fill_(wide if parameter is layer.weight else mask, 0)
        for buffer, start in zip(layer.buffers(), (0, 1), strict=False):
            buffer.masked_fill_(mask, start)
    for (layer, following), mask in zip(pairs(layers), acting, strict=True):
        if mask is not None:
            for tensor in (following.weight, *remembered(optimizer, following.weight, fresh_count)):
                outgoing(layer, tensor).masked_fill_(mask.unsqueeze(-2).unsqueeze(-1), 0)
