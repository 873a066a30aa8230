"""Several configurations of a method in one stack, as a sweep trains them side by side.

Each configuration is a ``TrainedNetwork`` of its own with the seeds that all of them share, so that its hooks
and its optimizer get bit for bit what they get if it trains alone. Forward and backward passes, metrics and
diagnostics, which take most of the time on small networks, run once for all, on one network of
(configurations x seeds) that holds copies of the weights. Copying takes about a tenth of an update of
permuted-digits. (Views of the stack instead of copies would save that, but vector instructions would split
them differently, which changes the last digits.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from plasticity_bench.agents.gradients import OutputGradient
from plasticity_bench.agents.layers import Layer, feature_gradient, trainable
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.agents.supervised import Predictor
from plasticity_bench.agents.trained_network import TrainedNetwork
from plasticity_bench.errors import InputError
from plasticity_bench.specs import NetworkSpec, OptimizerSpec


class Rows:
    """A ``Storage`` for G networks of the same shape: rows of two matrices ``(G, numbers)``."""

    def __init__(self, groups: int) -> None:
        self.groups, self.taken = groups, 0
        self.matrices: tuple[torch.Tensor, ...] = ()

    def __call__(
        self, count: int, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.matrices:
            self.matrices = tuple(
                torch.zeros(self.groups, count, dtype=dtype, device=device) for _ in range(2)
            )
        weights, gradients = self.matrices
        if count != weights.shape[1]:
            raise InputError("configurations that train other networks than each other are no stack")
        self.taken += 1
        return weights[self.taken - 1], gradients[self.taken - 1]


class TrainedGroups:
    """As ``TrainedNetwork``, for G configurations with S seeds each: network g * S + s is seed s of
    configuration g.

    A configuration whose code raises is in ``failed`` from then on. Its networks stay as they are, and the
    others are not affected.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        members: Sequence[tuple[Method, OptimizerSpec]],
        seeds: Sequence[int],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        precision: str = "float32",
    ) -> None:
        memory = Rows(len(members))
        self.groups = [
            TrainedNetwork(spec, optimizer, method, SeedRng(seeds, "init"), device, dtype, memory, precision)
            for method, optimizer in members
        ]
        spec = self.groups[0].network.spec
        if any(group.network.spec != spec for group in self.groups):
            raise InputError("configurations that train other networks than each other are no stack")
        self.rows = [slice(g * len(seeds), (g + 1) * len(seeds)) for g in range(len(members))]
        self.network = StackedNetwork(spec, SeedRng([*seeds] * len(members), "init"), device, dtype)
        self.network.products = self.groups[0].network.products
        self.layers = self.network.layers
        self.seeds, self.failed = list(seeds), dict[int, Exception]()
        self._places = {layer.name: i for i, layer in enumerate(self.layers)}
        for rows, group in zip(self.rows, self.groups, strict=True):
            for layer, own in zip(self.layers, group.layers, strict=True):
                if layer.running_mean is not None and layer.running_variance is not None:
                    own.running_mean = layer.running_mean[rows]
                    own.running_variance = layer.running_variance[rows]
        self._pair(memory)

    def _pair(self, memory: Rows) -> None:
        """Views of weights and gradients, ``(G, numbers)`` for each parameter: the stack's, the groups'."""
        stacked, count = trainable(self.layers), len(self.groups)
        starts = [int(p.storage_offset()) for p in trainable(self.groups[0].layers)]
        weights, gradients = memory.matrices
        self._weights = [p.detach().view(count, -1) for p in stacked]
        self._gradients = [p.grad.view(count, -1) for p in stacked if p.grad is not None]
        sizes = [p.shape[1] for p in self._weights]
        places = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        self._own_weights = [weights[:, place] for place in places]
        self._own_gradients = [gradients[:, place] for place in places]

    def setup(self, loss: OutputGradient, rngs: Sequence[SeedRng]) -> None:
        """Before the first step: the loss's gradient, and every method's generators."""
        self.output_gradient = loss
        for g, (group, rng) in enumerate(zip(self.groups, rngs, strict=True)):
            self._guarded(g, partial(group.setup, loss, rng))
        # Dropout draws from the generators that the methods draw from.
        noise = SeedRng([], "method")
        noise.generators = [generator for rng in rngs for generator in rng.generators]
        self.network.rng = noise
        self.refresh()

    @property
    def alive(self) -> list[int]:
        """The configurations that have not failed."""
        return [g for g in range(len(self.groups)) if g not in self.failed]

    @property
    def stacks(self) -> list[StackedNetwork]:
        """The configurations' networks."""
        return [group.network for group in self.groups]

    def refresh(self) -> None:
        """To be called after the groups were changed: copies their weights, and chooses again how gradients
        and predictions are computed."""
        self._gather()
        alive = [self.groups[g] for g in self.alive]
        self._acting = [(g, self.groups[g]) for g in self.alive]
        #: Frozen branches differ from one configuration to the next: each computes by itself.
        self._branched = any(layer.branches for group in alive for layer in group.layers)
        self._averaged = any(group.predictor is not group.network for group in alive)
        self._step = self.network.train_step(self.output_gradient)
        self._step.keep_features = any(group.method.needs_features for group in alive)
        if any(group.method.uses("feature_penalty") for group in alive):
            self._step.feature_gradient = self._feature_gradient
        self.predictor: Predictor = self.network
        if self._branched or self._averaged:
            self.predictor = _Predictors(self)

    @torch.no_grad()
    def _gather(self) -> None:
        torch._foreach_copy_(self._weights, self._own_weights)

    def learn(self, x: torch.Tensor, target: Any) -> torch.Tensor:
        """One update of all, on ``(G * S, B, ...)``. Returns what was predicted before it."""
        predicted = self._predictions(x)
        outputs = self.gradients(x, target)
        for g, group in self._acting:
            try:
                group.add_penalty()
                group.update()
            except Exception as error:  # of a method: the other configurations go on
                self.drop(g, error)
        self._gather()
        return outputs if predicted is None else predicted

    def gradients(self, x: torch.Tensor, target: torch.Tensor, training: bool = True) -> torch.Tensor:
        """Sets every ``.grad``, of the stack and of the groups; returns the outputs."""
        if self._branched or not training:
            # Each group computes a measurement by itself too: the last digits of a product with one row
            # depend on the number of networks.

            def own(group: TrainedNetwork, rows: slice) -> torch.Tensor:
                return group.gradients(x[rows], target[rows], training)

            outputs = self._each(own, x)
            torch._foreach_copy_(self._gradients, self._own_gradients)
            return outputs
        outputs = self._step(x, target, training)
        torch._foreach_copy_(self._own_gradients, self._gradients)
        if self._step.keep_features:
            for rows, group in zip(self.rows, self.groups, strict=True):
                for layer, mine in zip(self.layers, group.layers, strict=True):
                    mine.features = None if layer.features is None else layer.features[rows]
        return outputs

    def probe(self, x: torch.Tensor, target: torch.Tensor) -> None:
        """For a measurement: see ``TrainedNetwork.probe``."""
        self.gradients(x, target, training=False)
        self.predictor.forward(x)

    def end_task(self) -> None:
        """Ends the task for all methods that use task boundaries."""
        if any(group.method.info.task_boundaries for group in self.groups):
            for g in self.alive:
                self._guarded(g, self.groups[g].end_task)
            self.refresh()

    def _predictions(self, x: torch.Tensor) -> torch.Tensor | None:
        """The predictions; None if the outputs in training are the predictions."""
        if self._averaged or (self._branched and self.network.spec.two_modes):

            def own(group: TrainedNetwork, rows: slice) -> torch.Tensor:
                assert group._predict is not None
                return group._predict(x[rows])

            return self._each(own, x)
        return self._step.outputs(x) if self.network.spec.two_modes else None

    def _each(
        self, compute: Callable[[TrainedNetwork, slice], torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        """Outputs ``(G * S, B, outputs)`` that each group computes by itself; zeros of those that failed."""
        found: list[torch.Tensor] = []
        for g, (group, rows) in enumerate(zip(self.groups, self.rows, strict=True)):
            if g not in self.failed:
                try:
                    found.append(compute(group, rows))
                    continue
                except Exception as error:  # as in learn
                    self.drop(g, error)
            found.append(self.network.flat.new_zeros(len(self.seeds), x.shape[1], self.network.spec.outputs))
        return torch.cat(found)

    def _feature_gradient(self, layer: Layer, features: torch.Tensor) -> torch.Tensor | None:
        """``feature_gradient`` of every group for its part of the features; zeros for groups without one."""
        place = self._places[layer.name]
        found: dict[int, torch.Tensor] = {}
        for g, group in self._acting:
            if not group.method.uses("feature_penalty"):
                continue
            try:
                extra = feature_gradient(group.method, group.layers[place], features[self.rows[g]])
                if extra is not None:
                    found[g] = extra
            except Exception as error:  # as in learn
                self.drop(g, error)
        if not found:
            return None
        return torch.cat(
            [found[g] if g in found else torch.zeros_like(features[rows]) for g, rows in enumerate(self.rows)]
        )

    def _guarded(self, g: int, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # as in learn
            self.drop(g, error)

    def drop(self, g: int, error: Exception) -> None:
        """Stops training configuration g."""
        self.failed[g] = error
        self._acting = [(g, self.groups[g]) for g in self.alive]


class _Predictors:
    """The groups' own predictors as one Predictor."""

    def __init__(self, trained: TrainedGroups) -> None:
        self.trained = trained
        self.layers = [replace(layer, features=None) for layer in trained.layers]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(G * S, B, *inputs)`` to ``(G * S, B, outputs)``."""
        trained = self.trained
        networks = [
            group.network if g in trained.failed else group.predictor
            for g, group in enumerate(trained.groups)
        ]
        outputs = [network.forward(x[rows]) for network, rows in zip(networks, trained.rows, strict=True)]
        for i, layer in enumerate(self.layers):
            features = [f for network in networks if (f := network.layers[i].features) is not None]
            layer.features = torch.cat(features) if layer.hidden else None
        return torch.cat(outputs)
