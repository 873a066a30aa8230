"""The MNIST family: permutations and random labels on MNIST or Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.errors import did_you_mean
from plasticity_bench.ranges import AT_LEAST_ONE, Range
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from plasticity_bench.tasks.base import StreamInfo, SupervisedStream

if TYPE_CHECKING:
    import numpy as np
    import torch

    from plasticity_bench.tasks.images import ImageDraw, ImageTasks

MNIST_PIXELS, TRAIN_IMAGES = 784, 60_000
DATASETS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
#: The network of Dohare et al. and Kumar et al. apart from its width and depth.
MNIST_PERCEPTRON = NetworkSpec((MNIST_PIXELS,), 10, (100, 100))


@dataclass(frozen=True)
class MnistStream(SupervisedStream):
    """What the family shares: the data, scaled to [0, 1], and whether the test set is evaluated."""

    tested: ClassVar[bool] = False  # evaluate the 10,000 test images, under the task's permutation

    dataset: str = "mnist"  # "mnist" or "fashion-mnist"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dataset not in DATASETS:
            raise ValueError(f'unknown dataset "{self.dataset}": {did_you_mean(self.dataset, DATASETS)}')

    def draw(self, seed: int, index: int) -> ImageDraw:
        """What one seed sees in task ``index``."""
        raise NotImplementedError

    def open(self, seeds: Sequence[int], device: torch.device, dtype: torch.dtype) -> ImageTasks:
        from plasticity_bench.tasks.images import Images, ImageTasks
        from plasticity_bench.tasks.mnist_data import load_mnist

        data = load_mnist(DATASETS[self.dataset])
        train = Images.of(data.train_images, data.train_labels, device, 0.0, 255.0)
        test = Images.of(data.test_images, data.test_labels, device, 0.0, 255.0) if self.tested else None
        return ImageTasks(train, test, seeds, self.draw, self.batch, self.network.inputs, dtype)


@dataclass(frozen=True)
class PermutedMnist(MnistStream):
    """Task 0 is the data as they are, the others are fixed pixel permutations of training and test set."""

    batch: ClassVar[int] = 64
    info: ClassVar[StreamInfo] = StreamInfo(
        name="permuted-mnist",
        version=1,
        summary="MNIST and pixel permutations of it, for convolutions or a 4x300 network",
        source="Ziyin, Xu & Chuang 2025, ICLR, arXiv:2408.15495",
        deviations=(
            "the paper's learning rate, epochs and widths were not found: Adam 3e-3, three epochs of 10,000 "
            "images drawn again for every task, batch 64, convolutions of 8 and 16 channels (5x5, 2x2 max "
            "pooling) and a hidden layer of 128 units",
            "task 0 is not permuted, as in the source; convolutions find it far easier than the rest. It is "
            "no late task, so level and retention do not use it; learning curves and averages hold it",
        ),
        seeds=8,
        warmup_tasks=1,
        ranges={"images": Range(batch, TRAIN_IMAGES), "epochs": AT_LEAST_ONE},
    )
    tested: ClassVar[bool] = True
    optimizer: ClassVar[OptimizerSpec] = OptimizerSpec("adam", 3e-3)

    tasks: int = 10  # number of tasks
    architecture: str = "cnn"  # "cnn": two convolutions, two linear layers; "mlp": 784-300-300-300-10
    images: int = 10_000  # training images of a task, drawn again for every task
    epochs: int = 3  # passes over them

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture not in ("cnn", "mlp"):
            raise ValueError(f'unknown architecture "{self.architecture}"; known: cnn, mlp')

    @property
    def steps(self) -> int:
        return self.images // self.batch * self.epochs

    @property
    def network(self) -> NetworkSpec:
        if self.architecture == "cnn":
            return NetworkSpec((1, 28, 28), 10, (128,), channels=(8, 16))
        return replace(MNIST_PERCEPTRON, hidden=(300, 300, 300))

    def draw(self, seed: int, index: int) -> ImageDraw:
        from plasticity_bench.seeding import generator
        from plasticity_bench.tasks.images import ImageDraw

        rng = generator(seed, "data", index)
        pixels = rng.permutation(MNIST_PIXELS)  # drawn for task 0 too, so that the rest does not depend on it
        chosen = rng.permutation(TRAIN_IMAGES)[: self.images]
        return ImageDraw(
            order=_epochs(rng, chosen, self.epochs, self.batch), pixels=pixels if index else None
        )


@dataclass(frozen=True)
class PermutedMnistLong(MnistStream):
    """Hundreds of permutations, each seen for one pass over 10,000 images. Task 0 is not permuted."""

    info: ClassVar[StreamInfo] = StreamInfo(
        name="permuted-mnist-long",
        version=1,
        summary="pixel permutations of 10,000 MNIST images each, one pass, two hidden layers of 100",
        source="Kumar, Marklund & Van Roy 2023, arXiv:2308.11958",
        deviations=(
            "200 tasks (source: 500; set tasks=500)",
            "Adam 1e-3, one of the four optimizer settings that the source sweeps for every method",
        ),
        seeds=8,
    )
    batch: ClassVar[int] = 16
    steps: ClassVar[int] = 625
    network: ClassVar[NetworkSpec] = MNIST_PERCEPTRON
    optimizer: ClassVar[OptimizerSpec] = OptimizerSpec("adam", 1e-3)

    tasks: int = 200  # number of tasks

    def draw(self, seed: int, index: int) -> ImageDraw:
        from plasticity_bench.seeding import generator
        from plasticity_bench.tasks.images import ImageDraw

        rng = generator(seed, "data", index)
        pixels = rng.permutation(MNIST_PIXELS)
        return ImageDraw(
            order=rng.permutation(TRAIN_IMAGES)[: self.steps * self.batch], pixels=pixels if index else None
        )


@dataclass(frozen=True)
class OnlinePermutedMnist(MnistStream):
    """Every task is one pass over all 60,000 training images under a fresh pixel permutation."""

    info: ClassVar[StreamInfo] = StreamInfo(
        name="online-permuted-mnist",
        version=1,
        summary="pixel permutations of all 60,000 MNIST images, one pass each, three hidden layers",
        source="Dohare et al. 2024, doi:10.1038/s41586-024-07711-7",
        deviations=(
            "100 tasks, width 100, batch 16 for a laptop (source: tasks=800,width=2000,batch_size=1)",
            "SGD with step size 0.003 per example of a batch (source: 0.003 at batch 1, one of three swept)",
            "permutations are drawn again rather than composed with the last one: the same distribution",
        ),
        seeds=4,
        ranges={"width": AT_LEAST_ONE, "batch_size": Range(1, TRAIN_IMAGES)},
    )
    tasks: int = 100  # number of tasks
    width: int = 100  # units of each of the three hidden layers
    batch_size: int = 16  # examples per update

    @property
    def batch(self) -> int:
        return self.batch_size

    @property
    def steps(self) -> int:
        return TRAIN_IMAGES // self.batch_size

    @property
    def network(self) -> NetworkSpec:
        return replace(MNIST_PERCEPTRON, hidden=(self.width,) * 3, init="kaiming")

    @property
    def optimizer(self) -> OptimizerSpec:
        return OptimizerSpec("sgd", 0.003 * self.batch_size)

    def draw(self, seed: int, index: int) -> ImageDraw:
        from plasticity_bench.seeding import generator
        from plasticity_bench.tasks.images import ImageDraw

        rng = generator(seed, "data", index)
        pixels = rng.permutation(MNIST_PIXELS)
        return ImageDraw(order=rng.permutation(TRAIN_IMAGES)[: self.steps * self.batch], pixels=pixels)


@dataclass(frozen=True)
class RandomLabelMnist(MnistStream):
    """The same 1,200 images throughout; in every task their labels are shuffled again and memorised."""

    info: ClassVar[StreamInfo] = StreamInfo(
        name="random-label-mnist",
        version=1,
        summary="memorise fresh random labels of 1,200 MNIST images; scored at each task's end",
        source="Kumar, Marklund & Van Roy 2023, arXiv:2308.11958; Lyle et al. 2023, arXiv:2303.01486",
        deviations=(
            "40 epochs a task (source: 400; set epochs=400)",
            "Adam 1e-3, one of the four optimizer settings that the source sweeps for every method",
        ),
        seeds=4,
        score="final_performance",
        ranges={"epochs": AT_LEAST_ONE},
    )
    images: ClassVar[int] = 1200
    batch: ClassVar[int] = 16
    network: ClassVar[NetworkSpec] = MNIST_PERCEPTRON
    optimizer: ClassVar[OptimizerSpec] = OptimizerSpec("adam", 1e-3)

    tasks: int = 50  # number of tasks
    epochs: int = 40  # passes over the images in a task

    @property
    def steps(self) -> int:
        return self.images // self.batch * self.epochs

    def draw(self, seed: int, index: int) -> ImageDraw:
        import numpy as np

        from plasticity_bench.seeding import generator
        from plasticity_bench.tasks.images import ImageDraw

        rng = generator(seed, "data", index)
        chosen = generator(seed, "data").permutation(TRAIN_IMAGES)[: self.images]
        labelled_as = np.arange(TRAIN_IMAGES)
        labelled_as[chosen] = rng.permutation(chosen)
        order = _epochs(rng, chosen, self.epochs, self.batch)
        return ImageDraw(order=order, labelled_as=labelled_as, evaluation=chosen)


def _epochs(rng: np.random.Generator, chosen: np.ndarray, epochs: int, batch: int) -> np.ndarray:
    """The chosen images in a new order for every epoch, whole batches only."""
    import numpy as np

    whole = len(chosen) // batch * batch
    return np.concatenate([rng.permutation(chosen)[:whole] for _ in range(epochs)])
