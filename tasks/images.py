"""Streams of image tasks: one data set, and for every seed and task an order, a permutation, labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from plasticity_bench.tasks.base import PROBE_EXAMPLES


@dataclass(frozen=True)
class ImageDraw:
    """What one seed sees in one task, drawn by the stream from (seed, index) alone."""

    order: np.ndarray  # (steps * batch,) indices into the images, in the order of training
    pixels: np.ndarray | None = None  # (P,) permutation of the pixels; None: as they are
    labelled_as: np.ndarray | None = None  # (images,) image i bears the label of this one; None: its own
    evaluation: np.ndarray | None = None  # (N,) training images to evaluate on at the end


@dataclass(frozen=True)
class Images:
    """A data set on the device: uint8 images ``(N, P)``, seen as (image - shift) / scale; labels ``(N,)``."""

    images: torch.Tensor
    labels: torch.Tensor
    shift: float
    scale: float

    @classmethod
    def of(
        cls, images: np.ndarray, labels: np.ndarray, device: torch.device, shift: float, scale: float
    ) -> Images:
        """Takes numpy arrays; on a CPU a memory-mapped array is used in place, shared between processes."""
        import warnings

        with warnings.catch_warnings():  # torch warns that a read-only array must not be written to
            warnings.simplefilter("ignore", UserWarning)
            pixels = torch.from_numpy(images).to(device)
        return cls(pixels, torch.from_numpy(labels.astype(np.int64)).to(device), shift, scale)


class ImageTasks:
    """TaskSource over one data set."""

    def __init__(
        self,
        train: Images,
        test: Images | None,
        seeds: Sequence[int],
        draw: Callable[[int, int], ImageDraw],
        batch: int,
        shape: tuple[int, ...],
        dtype: torch.dtype,
    ) -> None:
        self.train, self.test = train, test
        self.seeds, self.draw, self.batch, self.shape, self.dtype = seeds, draw, batch, shape, dtype

    def task(self, index: int) -> ImageTask:
        """The task's draws for every seed."""
        return ImageTask(self, [self.draw(seed, index) for seed in self.seeds])


class ImageTask:
    """Task of S seeds; permutations and orders are index operations on the device."""

    def __init__(self, source: ImageTasks, draws: Sequence[ImageDraw]) -> None:
        device = source.train.images.device
        self.source = source

        def together(arrays: Sequence[np.ndarray | None]) -> Sequence[torch.Tensor | None]:
            """On the device in one transfer; all seeds have one, or none has."""
            known = [array for array in arrays if array is not None]
            return torch.from_numpy(np.stack(known)).to(device).unbind(0) if known else [None] * len(arrays)

        self.orders = torch.from_numpy(np.stack([d.order for d in draws])).to(device).unbind(0)
        self.pixels = together([d.pixels for d in draws])
        self.labelled_as = together([d.labelled_as for d in draws])
        self.evaluated = together([d.evaluation for d in draws])

    def batches(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See Task."""
        batch = self.source.batch
        return self._gather(
            [order[start * batch : stop * batch] for order in self.orders], steps=stop - start
        )

    def probe(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The first images of the task's order."""
        x, y = self._gather([order[:PROBE_EXAMPLES] for order in self.orders])
        return x[0], y[0]

    def evaluation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The test images under the task's permutation, or the chosen training images, 1000 at a time."""
        for indices in self._evaluated_indices():
            x, y = self._gather(indices, held_out=self.source.test)
            yield x[0], y[0]

    def _evaluated_indices(self) -> Iterator[list[torch.Tensor]]:
        if self.source.test is not None:
            every = torch.arange(len(self.source.test.images), device=self.source.test.images.device)
            yield from ([piece] * len(self.orders) for piece in every.split(1000))
        else:
            pieces = [chosen.split(1000) for chosen in self.evaluated if chosen is not None]
            yield from map(list, zip(*pieces, strict=True))

    def _gather(
        self, indices: Sequence[torch.Tensor], steps: int = 1, held_out: Images | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images ``(steps, S, N / steps, *shape)`` and labels of one index ``(N,)`` per seed."""
        data = held_out or self.source.train
        count, size = len(indices[0]), data.images.shape[1]
        stacked = (steps, len(indices), count // steps)
        x = torch.empty(*stacked, size, dtype=self.source.dtype, device=data.images.device)
        y = torch.empty(stacked, dtype=torch.long, device=data.images.device)
        if data.images.device.type != "cpu":
            self.fill(x, y, data, torch.stack(list(indices)))
        for s, index in enumerate(indices if data.images.device.type == "cpu" else ()):
            rows = data.images.index_select(0, index)
            pixels = self.pixels[s]
            if pixels is not None:
                rows = rows.gather(1, pixels.expand(count, size))
            x[:, s] = rows.view(steps, -1, size)
            labelled_as = self.labelled_as[s]
            y[:, s] = data.labels[index if labelled_as is None else labelled_as[index]].view(steps, -1)
        return x.sub_(data.shift).mul_(1 / data.scale).view(*stacked, *self.source.shape), y

    def fill(self, x: torch.Tensor, y: torch.Tensor, data: Images, index: torch.Tensor) -> None:
        """What ``_gather`` does seed by seed, for ``index (S, N)`` in a few calls: they take a GPU's time."""
        seeds, count = index.shape
        rows = data.images[index]
        if pixels := [found for found in self.pixels if found is not None]:
            rows = rows.gather(2, torch.stack(pixels).unsqueeze(1).expand(seeds, count, -1))
        if labelled_as := [found for found in self.labelled_as if found is not None]:
            index = torch.stack(labelled_as).gather(1, index)
        x.transpose(0, 1).copy_(rows.view(seeds, x.shape[0], -1, rows.shape[-1]))
        y.transpose(0, 1).copy_(data.labels[index].view(seeds, x.shape[0], -1))
