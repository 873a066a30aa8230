"""permuted-digits: hundreds of pixel permutations of scikit-learn's bundled digits, on a small network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.ranges import NOT_NEGATIVE
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from plasticity_bench.tasks.base import StreamInfo, SupervisedStream

if TYPE_CHECKING:
    import numpy as np
    import torch

    from plasticity_bench.tasks.images import ImageDraw, ImageTasks

DIGIT_IMAGES = 1797  # images in the data set


@lru_cache(maxsize=1)
def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits, as ``sklearn.datasets.load_digits(return_X_y=True)`` gives them: pixels
    (1797, 64) of 0 to 16 as float64, and labels (1797,). Both are read-only: a process reads the file once.
    If the installed file is at its usual place, it is read without importing scikit-learn, which takes longer
    than training several tasks."""
    import numpy as np

    package = find_spec("sklearn")
    file = Path(package.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if package else None
    if file is not None and file.is_file():
        table = np.loadtxt(file, delimiter=",")
        images, labels = table[:, :-1], table[:, -1].astype(int)
    else:
        from sklearn import datasets

        images, labels = datasets.load_digits(return_X_y=True)
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


@dataclass(frozen=True)
class PermutedDigits(SupervisedStream):
    """Every task is one pass over all 1,797 8x8 digits under a fresh pixel permutation."""

    info: ClassVar[StreamInfo] = StreamInfo(
        name="permuted-digits",
        version=1,
        summary="pixel permutations of the 1,797 8x8 digits, one pass each (embedded data)",
        source=(
            "a small version of the online permuted MNIST of Dohare et al. 2024, "
            "doi:10.1038/s41586-024-07711-7"
        ),
        deviations=(
            "scikit-learn's 8x8 digits in place of MNIST: 64 pixels, 1,797 images, no download",
            "300 tasks, two hidden layers of 100, batch 16, Adam 1e-3 (source: 800, 3x2000, batch 1, SGD)",
            "pixels are standardised by the data set's mean and deviation (source: scaled to [0, 1])",
            "the last 5 images of a pass do not fill a batch and are left out",
        ),
        seeds=16,
        later=("sgd",),
        ranges={"sgd": NOT_NEGATIVE},
    )
    batch: ClassVar[int] = 16
    steps: ClassVar[int] = DIGIT_IMAGES // batch
    network: ClassVar[NetworkSpec] = NetworkSpec((64,), 10, (100, 100))

    tasks: int = 300  # number of tasks
    sgd: float = 0.0  # step size of plain SGD in place of Adam; 0: Adam

    @property
    def optimizer(self) -> OptimizerSpec:
        return OptimizerSpec("sgd", self.sgd) if self.sgd else OptimizerSpec("adam", 1e-3)

    def draw(self, seed: int, index: int) -> ImageDraw:
        """A fresh permutation and a fresh order, for every task."""
        from plasticity_bench.seeding import generator
        from plasticity_bench.tasks.images import ImageDraw

        rng = generator(seed, "data", index)
        order = rng.permutation(DIGIT_IMAGES)[: self.steps * self.batch]
        return ImageDraw(order=order, pixels=rng.permutation(64))

    def open(self, seeds: Sequence[int], device: torch.device, dtype: torch.dtype) -> ImageTasks:
        import numpy as np

        from plasticity_bench.tasks.images import Images, ImageTasks

        images, labels = load_digits()
        train = Images.of(images.astype(np.uint8), labels, device, float(images.mean()), float(images.std()))
        return ImageTasks(train, None, seeds, self.draw, self.batch, (64,), dtype)
