"""The folder of the published MNIST, and the mark of tests that need it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MNIST = Path(os.environ.get("PLASTICITY_BENCH_DATA", "nowhere")) / "MNIST" / "raw"

needs_mnist = pytest.mark.skipif(
    not (MNIST / "train-images-idx3-ubyte.gz").exists(),
    reason="set PLASTICITY_BENCH_DATA to a folder with MNIST",
)
