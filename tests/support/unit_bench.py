"""A small training loop that calls the method's hook separately, and resets of units written as loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from plasticity_bench.agents.layers import parameters
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.methods.units import remembered
from plasticity_bench.agents.networks import StackedNetwork, cross_entropy_gradient
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.specs import NetworkSpec, OptimizerSpec

SEEDS, BATCH = (0, 1, 2), 8
CPU = torch.device("cpu")
Arrays = list[np.ndarray]
Units = list[list[int] | None]  # per hidden layer; None: the layer is left alone, without a draw


class Bench:
    """Random data, double precision, Adam; the method's hook is called separately from the update."""

    def __init__(self, spec: NetworkSpec, method: Method, batch: int = BATCH) -> None:
        self.spec, self.method, self.batch = spec, method, batch
        self.network = StackedNetwork(spec, SeedRng(SEEDS, "init"), CPU, torch.float64)
        self.layers = self.network.layers
        self.optimizer = FlatOptimizer(self.network.flat, self.network.gradient, OptimizerSpec("adam", 0.01))
        self.fresh_count = getattr(method, "fresh_count", False)
        if self.fresh_count:
            self.optimizer.counts(self.layers[0].weight)  # moments are corrected from the first call on
        self.gradients = self.network.train_step(cross_entropy_gradient)
        self.gradients.keep_features = method.needs_features
        self.data = torch.Generator().manual_seed(0)
        with torch.no_grad():
            method.setup(self.layers, SeedRng(SEEDS, "method"))
        #: The references draw what the method should draw, one seed at a time.
        self.rngs = [SeedRng([seed], "method", stacked=False) for seed in SEEDS]

    @torch.no_grad()
    def update(self) -> None:
        """An update without the method's hook."""
        x = torch.randn(len(SEEDS), self.batch, *self.spec.inputs, generator=self.data, dtype=torch.float64)
        target = torch.rand(len(SEEDS), self.batch, self.spec.outputs, generator=self.data).double()
        self.gradients(x, target / target.sum(-1, keepdim=True))
        self.optimizer.step()

    @torch.no_grad()
    def hook(self) -> None:
        """The method's hook."""
        self.method.after_update(self.layers, self.optimizer)

    def weights(self, seed: int) -> tuple[Arrays, Arrays]:
        """Copies of one seed's weights and biases."""
        weights = [layer.weight[seed].detach().numpy().copy() for layer in self.layers]
        return weights, [layer.bias[seed].detach().numpy().copy() for layer in self.layers]

    def features(self, seed: int, i: int, pooled: bool = False) -> np.ndarray:
        """Activations of hidden layer i: (examples and positions, units)."""
        kept = self.layers[i].features
        assert kept is not None
        h = kept[seed].numpy()
        if h.ndim == 2:
            return h
        if pooled:
            rows, columns = h.shape[2] // 2, h.shape[3] // 2
            h = h[:, :, : 2 * rows, : 2 * columns].reshape(*h.shape[:2], rows, 2, columns, 2).max((3, 5))
        return np.stack([h[:, unit].ravel() for unit in range(h.shape[1])], 1)

    def read_by(self, i: int, unit: int) -> tuple[slice, int | NDArray[np.intp]]:
        """The indices of a unit's outgoing weights in the next layer's weights."""
        layer, following = self.layers[i], self.layers[i + 1]
        if layer.kind == following.kind:
            return slice(None), unit
        channels = layer.bias.shape[-1]
        return slice(None), np.arange(following.weight.shape[-1]).reshape(channels, -1)[unit]

    def reset(self, seed: int, units: Units, arrays: tuple[Arrays, Arrays]) -> None:
        """The reference: resets units of one seed in copies of its weights; None: layer without a draw."""
        weights, biases = arrays
        for i, chosen in enumerate(units):
            if chosen is None:
                continue
            layer = self.layers[i]
            fresh = self.rngs[seed].uniform(torch.from_numpy(weights[i])).numpy() * layer.weight_bound
            self.rngs[seed].uniform(torch.from_numpy(biases[i]))
            for unit in chosen:
                weights[i][unit], biases[i][unit] = fresh[unit], 0
        for i, chosen in enumerate(units):
            for unit in chosen or ():
                weights[i + 1][self.read_by(i, unit)] = 0

    def expect(self, seed: int, arrays: tuple[Arrays, Arrays]) -> None:
        """Checks that the seed has these weights."""
        for theirs, ours in zip(arrays, self.weights(seed), strict=True):
            for expected, found in zip(theirs, ours, strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    def check_moments(self, seed: int, units: Units, before: Arrays) -> None:
        """Checks that Adam's moments, and counts if the method counts again from 0, are cleared for all
        weights of the reset units and for no others."""
        kept = [np.ones(p.shape[1:], bool) for p in parameters(self.layers)]
        for i, chosen in enumerate(units):
            for unit in chosen or ():
                kept[2 * i][unit] = kept[2 * i + 1][unit] = kept[2 * i + 2][self.read_by(i, unit)] = False
        masks = [mask for mask in kept for _ in ("mvcc" if self.fresh_count else "mv")]
        for was, now, rest in zip(before, self.moments(seed), masks, strict=True):
            np.testing.assert_array_equal(now, was * rest)

    def moments(self, seed: int) -> Arrays:
        """Copies of Adam's moments of one seed, and of its counts if the method counts again from 0."""
        kept = [m for p in parameters(self.layers) for m in remembered(self.optimizer, p, self.fresh_count)]
        return [tensor[seed].numpy().copy() for tensor in kept]


#: (step from 1, seed, the seed's weights and biases, which may be changed) -> units to reset in every layer.
Choice = Callable[[int, int, tuple[Arrays, Arrays]], Units]


def run(bench: Bench, steps: int, choose: Choice) -> int:
    """Trains, and checks every step's resets against those of ``choose``. Returns the number of resets."""
    resets = 0
    for step in range(1, steps + 1):
        bench.update()
        expected = [bench.weights(seed) for seed in SEEDS]
        moments = [bench.moments(seed) for seed in SEEDS]
        chosen = [choose(step, seed, expected[seed]) for seed in SEEDS]
        bench.hook()
        for seed, units in zip(SEEDS, chosen, strict=True):
            bench.reset(seed, units, expected[seed])
            bench.expect(seed, expected[seed])
            bench.check_moments(seed, units, moments[seed])
            resets += sum(len(of_layer or ()) for of_layer in units)
    return resets
