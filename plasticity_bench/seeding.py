"""Random number generators: one per seed and purpose, so that no draw depends on another purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: Purpose -> branch of the seed's SeedSequence. A change needs a new protocol version.
PURPOSES = {"data": 0, "init": 1, "method": 2, "actions": 3, "batches": 4, "probe": 6}
#: Branch of the seed's SeedSequence that all of its fresh twins draw from.
TWINS = 5


class Twin(NamedTuple):
    """The fresh twin of a seed: a learner that starts from scratch at a task.

    It takes the place of the seed wherever random numbers are drawn, except for the task's data, which are
    the seed's.
    """

    seed: int
    task: int


def generator(seed: int | Twin, purpose: str, *key: int) -> np.random.Generator:
    """The generator of a seed for a purpose (of ``PURPOSES``) and a key, such as a task's index.

    A twin has generators of its own.

    Example:
        >>> generator(0, "init").random() == generator(Twin(0, 10), "init").random()
        False
    """
    branch = (PURPOSES[purpose], *key)
    if isinstance(seed, Twin):
        return np.random.default_rng(np.random.SeedSequence(seed.seed, spawn_key=(TWINS, seed.task, *branch)))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=branch))


def data_seeds(seeds: Sequence[int | Twin]) -> list[int]:
    """The seeds whose data are trained on: those of twins are their seed's."""
    return [seed.seed if isinstance(seed, Twin) else seed for seed in seeds]
