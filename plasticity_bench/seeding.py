"""Random number generators: one per seed and purpose, so that no draw depends on another purpose."""

from __future__ import annotations

import numpy as np

#: Purpose -> branch of the seed's SeedSequence. A change needs a new protocol version. Branch 5
#: is that of fresh twins.
PURPOSES = {"data": 0, "init": 1, "method": 2, "actions": 3, "batches": 4, "probe": 6}


def generator(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """The generator of a seed for a purpose (of ``PURPOSES``) and a key, such as a task's index."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(PURPOSES[purpose], *key)))
