"""Small learners for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.records.tables import COLUMNS
from plasticity_bench.registry.create import create_method, create_stream
from plasticity_bench.tasks import mnist_data
from plasticity_bench.tasks.base import SupervisedStream
from plasticity_bench.tasks.digits import PermutedDigits

DIGITS = "permuted-digits:tasks=3"


def shorten_digits(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Tasks of permuted-digits have ``steps`` updates, on the first images of the data set, not 112."""
    monkeypatch.setattr("plasticity_bench.tasks.digits.DIGIT_IMAGES", PermutedDigits.batch * steps)
    monkeypatch.setattr(PermutedDigits, "steps", steps)


def few_test_images(monkeypatch: pytest.MonkeyPatch, count: int = 1000) -> None:
    """Streams of MNIST evaluate on the first ``count`` test images: most of a short task's time."""
    real = mnist_data.load_mnist

    def load_mnist(dataset: str = "MNIST") -> mnist_data.MnistData:
        data = real(dataset)
        return replace(data, test_images=data.test_images[:count], test_labels=data.test_labels[:count])

    monkeypatch.setattr(mnist_data, "load_mnist", load_mnist)


def supervised(text: str) -> SupervisedStream:
    """A supervised stream by its name and settings."""
    stream = create_stream(text)
    assert isinstance(stream, SupervisedStream)
    return stream


def learner(
    method: str = "none", seeds: Sequence[int] = (0, 1), stream: str = DIGITS, **options: Any
) -> SupervisedLearner:
    """A learner as ``run`` makes it."""
    return SupervisedLearner(supervised(stream), create_method(method), seeds, **options)


def finish(made: SupervisedLearner) -> np.ndarray:
    """Trains to the end; returns the tables as (seeds, tasks, columns)."""
    while not made.finished:
        made.advance()
    return np.array([[[row.get(name, np.nan) for name in COLUMNS] for row in rows] for rows in made.rows])


def weights(made: SupervisedLearner, seed: int) -> list[torch.Tensor]:
    """The parameters of the ``seed``-th network of the stack."""
    return [p.detach()[seed].clone() for layer in made.layers for p in layer.parameters()]
