"""The plasticity probe: how well do networks still learn something new, compared with fresh ones?

A copy of every network and a fresh network of the same architecture and initial distribution get the same new
output layer, the same inputs and the same random targets. Both are trained by the same few updates of a new
optimizer. What is compared is the share of the targets' variance that they explain afterwards. Lyle et al.
(2022, arXiv:2204.09560; 2023, arXiv:2303.01486) measure the same under the name of target-fitting capacity.

The networks themselves, their features and all generators of the run stay as they are.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch

from plasticity_bench.agents.diagnostics import sum_per_seed
from plasticity_bench.agents.networks import StackedNetwork, squared_error_gradient
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.specs import OptimizerSpec

#: Inputs and targets that vary less than this are constants.
EPSILON = 1e-6
#: Share of the variance that fresh networks must explain: less is no measure to compare with.
LEAST = 0.02


@dataclass(frozen=True)
class ProbeSpec:
    """What the probe trains."""

    updates: int = 32
    batch: int = 32  # examples per update, at least
    outputs: int = 8  # independent targets per example
    width: int = 32  # hidden units of the random networks that make the targets
    frequency: float = 1.0  # scale of the sine's argument, in radians
    optimizer: OptimizerSpec = field(default_factory=lambda: OptimizerSpec("adam", lr=3e-3))


#: What runs use.
PROBE = ProbeSpec()


@torch.no_grad()
def probe_retention(
    networks: Sequence[StackedNetwork], x: torch.Tensor, rng: SeedRng, spec: ProbeSpec = PROBE
) -> torch.Tensor:
    """What trained networks learn of random targets, over what fresh networks learn.

    Batch normalisation takes the batch's statistics throughout, dropout is off, and frozen branches, which
    belong to the old outputs, are left out.

    Args:
        networks: Stacks of networks of the same shape, S networks in all. They stay as they are.
        x: Inputs ``(S, N, *inputs)``.
        rng: Random numbers of the probe, with a generator for each of the S networks.
        spec: How the probe trains.

    Returns:
        ``(S,)``, float64: 1 if a network learns as well as a fresh one; 0 if it learns nothing, or predicts
        worse than the targets' mean; nan if the fresh one explains less than ``LEAST``, or if weights are
        not finite.
    """
    trained = _probed_networks(networks, rng, spec)
    y = random_targets(x, rng, spec)
    x, y = torch.cat([x, x]), torch.cat([y, y])
    explained = _train(trained, x, y, spec)
    aged, fresh = explained.chunk(2)
    return torch.where(fresh >= LEAST, aged / fresh, torch.nan)


def random_targets(x: torch.Tensor, rng: SeedRng, spec: ProbeSpec) -> torch.Tensor:
    """The sine of a random tanh network's outputs, with mean 0 and variance 1 over the examples.

    The random network reads inputs that were standardised over the examples.

    Args:
        x: Inputs ``(S, N, *inputs)``.
        rng: Draws the random networks, with a generator for each seed.
        spec: Their width, the number of targets and the sine's frequency.

    Returns:
        ``(S, N, spec.outputs)``, of the dtype of ``x``.
    """
    x = x.flatten(2)
    first = rng.normal(x.new_empty(len(x), x.shape[2], spec.width))
    second = rng.normal(x.new_empty(len(x), spec.width, spec.outputs))
    # Seed by seed: the last digits of a sum or product may depend on the number of seeds.
    rows = zip(x.unbind(0), first.unbind(0), second.unbind(0), strict=True)
    return torch.stack([_targets(own, a, b, spec) for own, a, b in rows])


def _targets(x: torch.Tensor, first: torch.Tensor, second: torch.Tensor, spec: ProbeSpec) -> torch.Tensor:
    """Of one seed: ``(N, spec.outputs)`` from inputs ``(N, inputs)``."""
    scaled = _standardised(x)
    varying = (scaled != 0).any(0).sum().clamp_min(1).to(x.dtype)
    hidden = torch.tanh(scaled @ first / varying.sqrt())
    return _standardised(torch.sin(spec.frequency * (hidden @ second) / math.sqrt(spec.width)))


def _standardised(values: torch.Tensor) -> torch.Tensor:
    """Mean 0 and standard deviation 1 over dimension 0; constants become 0."""
    centred = values - values.mean(0)
    deviation = centred.square().mean(0).sqrt()
    return torch.where(deviation > EPSILON, centred / deviation.clamp_min(EPSILON), 0.0)


class _Zeros(SeedRng):
    """Draws nothing: for networks whose parameters are all set afterwards."""

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(like)


def _rows(rng: SeedRng, rows: slice) -> SeedRng:
    """The generators of some of the seeds."""
    found = copy.copy(rng)
    found.generators = rng.generators[rows]
    return found


def _probed_networks(networks: Sequence[StackedNetwork], rng: SeedRng, spec: ProbeSpec) -> StackedNetwork:
    """One stack of twice as many networks: copies of the given ones, then fresh ones. Their last layers are
    new, and those of a copy and of its fresh network are equal."""
    first, count = networks[0], len(rng.generators)
    architecture = replace(first.spec, outputs=spec.outputs, log_std=False, dropout=0.0, injected=0)
    nothing = _Zeros([0] * 2 * count, "probe")
    made = StackedNetwork(architecture, nothing, first.flat.device, first.flat.dtype)
    made.products = first.products
    *hidden, head = made.layers
    start = 0
    for network in networks:
        rows = slice(start, start + network.seeds)
        for layer, trained in zip(hidden, network.layers, strict=False):
            fresh = trained.fresh(_rows(rng, rows))
            _set(layer.state(), trained.state(), rows)
            _set(layer.parameters(), fresh, slice(count + rows.start, count + rows.stop))
        start = rows.stop
    bounds = (head.weight_bound, head.bias_bound)
    drawn = [rng.uniform(p[:count]).mul_(bound) for p, bound in zip(head.parameters(), bounds, strict=True)]
    for rows in (slice(count), slice(count, None)):
        _set(head.parameters(), drawn, rows)
    return made


def _set(tensors: Iterable[torch.Tensor], values: Iterable[torch.Tensor], rows: slice) -> None:
    """Copies values into these rows of tensors."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor[rows].copy_(value)


def _train(network: StackedNetwork, x: torch.Tensor, y: torch.Tensor, spec: ProbeSpec) -> torch.Tensor:
    """Trains all networks. Returns the share of the targets' variance that they explain afterwards, ``(S,)``;
    0 if their error is larger than the variance."""
    optimizer = FlatOptimizer(network.flat, network.gradient, spec.optimizer)
    step = network.train_step(squared_error_gradient)
    count = max(1, x.shape[1] // spec.batch)
    batches = [(x[:, i::count].contiguous(), y[:, i::count].contiguous()) for i in range(count)]
    for update in range(spec.updates):
        step(*batches[update % count])
        optimizer.step()
    error = (network.forward(x, training=True) - y).square()
    return (1 - sum_per_seed(error) / sum_per_seed(y.square())).clamp_min(0)
