"""The learning rate that a method sets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from plasticity_bench.errors import InputError
from plasticity_bench.registry.choices import Chosen
from plasticity_bench.registry.settings import LEARNING_RATE

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method
    from plasticity_bench.specs import OptimizerSpec
    from plasticity_bench.tasks.base import Stream


def with_learning_rate(stream: Stream, method: Chosen[Method]) -> OptimizerSpec:
    """The stream's optimizer, with the method's learning rate if one was set.

    Raises InputError if the learning rate is not positive.
    """
    optimizer, lr = stream.optimizer, method.settings[LEARNING_RATE]
    if lr is not None and lr <= 0:
        raise InputError(f"{method.label}: lr must be positive")
    return optimizer if lr is None else replace(optimizer, lr=lr)
