"""Methods attached to torch modules, compared with the learner."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.contract.other_trainers import train_both
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from tests.support.method_names import ARCHITECTURES, EXAMPLE

#: Schedules under which the methods act within a few updates.
EAGER = {
    "cbp": "cbp:rate=0.2,maturity=2",
    "redo": "redo:period=3,tau=0.5",
    "regrama": "regrama:period=3,tau=0.5",
    "snr": "snr:period=2,window=4,limit=20",
    "dash": "dash:updates=2",
    "swr": "swr:period=3,share=0.1",
    "hare-tortoise": "hare-tortoise:decay=0.5,period=3",
}

SERVED = [EAGER.get(name, name) for name in METHODS if name not in ARCHITECTURES]

#: Methods that do not count the steps of reset weights from 0 by default.
COUNTING = [f"{EAGER[name]},fresh_count=true" for name in ("redo", "regrama", "snr", "swr")]

INSTANCES = [
    *SERVED,
    *COUNTING,
    "upgd:protect=false",
    "l2:decoupled=true",
    "syre+shrink-perturb:interval=2",
    EXAMPLE,
]


def check_against_the_learner(
    name: str, optimizer: str, network: NetworkSpec, build: Callable[[list[Layer]], nn.Module]
) -> None:
    """Two tasks of some updates: a stack of one seed, and a torch loop with the same weights and batches."""
    make = partial(create_method, name)
    for layers, model in train_both(make, network, OptimizerSpec(optimizer, 0.01, momentum=0.9), build):
        for mine, other in zip(model.parameters(), trainable(layers), strict=True):
            torch.testing.assert_close(mine.detach(), other.detach()[0], rtol=1e-9, atol=1e-12)
            assert torch.isfinite(mine).all()


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.last_norm = nn.GroupNorm(2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.first(x)).relu()
        return functional.relu(x + self.last_norm(self.second(y)))


def residual() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        Block(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
