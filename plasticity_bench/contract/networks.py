"""Checks that a method works on networks without a seed dimension, and on convolutions."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import torch

from plasticity_bench.agents.layers import Layer, add_penalty, feature_gradient, trainable
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.networks import StackedNetwork, cross_entropy_gradient
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.agents.trained_network import TrainedNetwork
from plasticity_bench.contract.results import Broken
from plasticity_bench.contract.subject import Subject
from plasticity_bench.contract.watch import named
from plasticity_bench.specs import WIDENING, NetworkSpec, OptimizerSpec, layer_shapes

CONVOLUTION = NetworkSpec((2, 14, 14), 4, (7,), channels=(3, 5), kernel=3)
BATCH = 16
CPU = torch.device("cpu")
FROM_THE_END = (
    "count dimensions from the end (-1: inputs, -2: units; in kernels -4: units): a plain network has no "
    "leading seed dimension, a stack has one"
)


def serves_a_plain_network(subject: Subject) -> str:
    """On a network without a seed dimension the hooks have the same effect as on that network in a stack."""
    _compare_with_slice(subject, subject.stream.network)
    return "weights (out, in) as well as (seeds, out, in)"


def serves_convolutions(subject: Subject) -> str:
    """A convolutional network trains in the same way in a stack, alone, and without a seed dimension."""
    together, alone = _train(subject, (0, 1, 2)), _train(subject, (1,))
    for (name, ours), theirs in zip(named(together).items(), trainable(alone), strict=True):
        if not torch.allclose(ours[1], theirs[0], rtol=1e-6, atol=1e-9):
            raise Broken(
                f"in a convolutional network {name} of a seed in a stack is not that of the seed alone",
                "kernels are (seeds, out, in, kh, kw): reduce over layer.weight.flatten(layer.bias.dim()), "
                "which is (..., out, inputs) for every kind of layer",
            )
        if not ours.isfinite().all():
            raise Broken(
                f"in a convolutional network {name} is not finite", "see what the hooks do to kernels"
            )
    _compare_with_slice(subject, CONVOLUTION)
    return "kernels (seeds, out, in, kh, kw), and without seeds"


def _train(subject: Subject, seeds: tuple[int, ...]) -> list[Layer]:
    """Trains on random images in double precision: two tasks of five updates."""
    method = subject.make()
    init = SeedRng(seeds, "init")
    trained = TrainedNetwork(CONVOLUTION, OptimizerSpec("adam", 1e-3), method, init, CPU, torch.float64)
    trained.setup(cross_entropy_gradient, SeedRng(seeds, "method"))
    data = SeedRng(seeds, "data")
    like = torch.zeros(len(seeds), BATCH, *CONVOLUTION.inputs, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(2):
            for _ in range(5):
                x = data.normal(like)
                target = torch.softmax(
                    data.normal(like.new_zeros(len(seeds), BATCH, CONVOLUTION.outputs)), -1
                )
                trained.learn(x, target)
            trained.end_task()
    return trained.layers


@torch.no_grad()
def _compare_with_slice(subject: Subject, plain_spec: NetworkSpec) -> None:
    """Compares a stack of two with a plain copy of its first network, given equal gradients and activations.

    Raises:
        Broken: if the plain copy ends with other weights, or if a feature penalty differs.
    """
    method, alone = subject.make(), subject.make()
    spec = method.network(plain_spec)
    stack = StackedNetwork(spec, SeedRng([3, 4], "init"), CPU, torch.float64)
    layers, flat, gradient = _plain_copy(stack.layers, 0)
    optimizers = (
        FlatOptimizer(stack.flat, stack.gradient, OptimizerSpec("adam", 1e-3)),
        FlatOptimizer(flat, gradient, OptimizerSpec("adam", 1e-3)),
    )
    alone.setup(layers, SeedRng([3], "method", stacked=False))
    method.setup(stack.layers, SeedRng([3, 4], "method"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for ours, theirs in zip(trainable(layers), trainable(stack.layers), strict=True):
            assert ours.grad is not None
            assert theirs.grad is not None
            theirs.grad.copy_(torch.randn(theirs.shape, generator=generator, dtype=theirs.dtype))
            ours.grad.copy_(theirs.grad[0])
        for mine, layer, shape in zip(layers, stack.layers, _activations(spec), strict=False):
            layer.features = torch.randn(2, *shape, generator=generator, dtype=torch.float64).relu()
            mine.features = layer.features[0]
        _compare_feature_penalties(method, stack.layers, alone, layers)
        for each, served, optimizer in (
            (method, stack.layers, optimizers[0]),
            (alone, layers, optimizers[1]),
        ):
            _update(each, served, optimizer)
    if method.info.task_boundaries:
        method.on_task_end(stack.layers, optimizers[0])
        alone.on_task_end(layers, optimizers[1])
    for (name, ours), theirs in zip(named(layers).items(), trainable(stack.layers), strict=True):
        if ours.shape != theirs.shape[1:] or not torch.allclose(ours, theirs[0], rtol=1e-6, atol=1e-9):
            raise Broken(
                f"without a seed dimension {name} {tuple(ours.shape)} does not end as in a stack",
                FROM_THE_END,
            )


def _compare_feature_penalties(
    method: Method, stack: list[Layer], alone: Method, layers: list[Layer]
) -> None:
    """Compares the gradients of ``feature_penalty`` for the features, layer by layer."""
    for mine, layer in zip(layers, stack, strict=True) if method.uses("feature_penalty") else ():
        if mine.features is None or layer.features is None:
            continue
        ours = feature_gradient(alone, mine, mine.features)
        theirs = feature_gradient(method, layer, layer.features)
        if ours is None and theirs is None:
            continue
        if ours is None or theirs is None or not torch.allclose(ours, theirs[0], rtol=1e-6, atol=1e-9):
            what = f"the gradient of feature_penalty for the features of {layer.name}"
            raise Broken(f"without a seed dimension {what} is not that of a stack", FROM_THE_END)


def _update(method: Method, layers: list[Layer], optimizer: FlatOptimizer) -> None:
    if method.uses("penalty"):
        add_penalty(method, layers)
    method.before_update(layers, optimizer)
    optimizer.step()
    method.after_update(layers, optimizer)


def _activations(spec: NetworkSpec) -> list[tuple[int, ...]]:
    """Shape of each hidden layer's activations in one network: (batch, features, ...)."""
    wider = WIDENING.get(spec.activation, 1)
    found: list[tuple[int, ...]] = []
    for shape in layer_shapes(spec):
        side = math.isqrt(shape.positions)
        place = (side, side) if shape.kind == "conv" else ()
        if shape.hidden:
            found.append((BATCH, wider * shape.weight[0], *place))
    return found


def _plain_copy(layers: list[Layer], seed: int) -> tuple[list[Layer], torch.Tensor, torch.Tensor]:
    """One network of a stack as a separate network: (layers, flat parameters, flat gradients)."""
    sizes = [p[seed].numel() for p in trainable(layers)]
    flat = torch.cat([p.detach()[seed].flatten() for p in trainable(layers)])
    gradient = torch.zeros_like(flat)
    own: dict[int, torch.nn.Parameter] = {}
    start = 0
    for p, size in zip(trainable(layers), sizes, strict=True):
        parameter = torch.nn.Parameter(flat[start : start + size].view(p.shape[1:]))
        parameter.grad = gradient[start : start + size].view(p.shape[1:])
        own[id(p)] = parameter
        start += size
    copies = []
    for layer in layers:
        values = {f.name: getattr(layer, f.name) for f in fields(layer)}
        tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
        changed: dict[str, Any] = {
            name: own.get(id(value), value[seed].clone()) for name, value in tensors.items()
        }
        copies.append(replace(layer, **changed))
    return copies, flat, gradient
