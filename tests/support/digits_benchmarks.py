"""Small Avalanche benchmarks of scikit-learn's digits, as a user's functions make them: no download."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from avalanche.benchmarks import benchmark_from_datasets, nc_benchmark
from avalanche.benchmarks.utils import as_classification_dataset
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

TRAIN = 120


class Digits(TensorDataset):
    """Images ``(1, 8, 8)`` scaled to [0, 1], or the same images under a permutation of pixels."""

    def __init__(self, first: int, last: int, pixels: np.ndarray | None = None) -> None:
        images, labels = load_digits(return_X_y=True)
        rows = images[first:last] / 16
        rows = rows if pixels is None else rows[:, pixels]
        self.targets = [int(label) for label in labels[first:last]]
        super().__init__(torch.tensor(rows).float().view(-1, 1, 8, 8), torch.tensor(self.targets))

    def __getitem__(self, index: Any) -> Any:
        return self.tensors[0][index], self.targets[index]


def split_digits(n_experiences: int = 5, seed: int | None = None) -> Any:
    """The ten classes, some in each experience."""
    return nc_benchmark(
        Digits(0, TRAIN), Digits(TRAIN, TRAIN + 60), n_experiences, task_labels=False, seed=seed
    )


def permuted_digits(n_experiences: int = 3, seed: int = 0) -> Any:
    """All classes, under another permutation of pixels in each experience."""
    rng = np.random.default_rng(seed)
    permutations = [rng.permutation(64) for _ in range(n_experiences)]
    return benchmark_from_datasets(
        train=[as_classification_dataset(Digits(0, TRAIN, pixels)) for pixels in permutations],
        test=[as_classification_dataset(Digits(TRAIN, TRAIN + 60, pixels)) for pixels in permutations],
    )
