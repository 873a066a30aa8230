"""Avalanche's benchmarks: how one is found, made for a seed, and turned into tensors.

Avalanche is imported when a benchmark is made, and what it prints goes to stderr. Nothing it does to the
global random generators outlasts a call.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.plugins import Plugin
from plasticity_bench.seeding import generator
from plasticity_bench.tasks.mnist_data import cache_folder, data_folder, load_mnist
from plasticity_bench.tasks.mnist_files import FILES, download_timeout, one_line


@dataclass(frozen=True)
class Facts:
    """What a benchmark needs to be described without being made."""

    shape: tuple[int, ...]  # of one example
    classes: int  # over all experiences
    tasks: int  # experiences, unless the user asks for another number
    data: str = ""  # its folder in torchvision's layout


#: Functions of avalanche.benchmarks.classic whose data torchvision knows.
BENCHMARKS: Mapping[str, Facts] = MappingProxyType(
    {
        "SplitMNIST": Facts((1, 28, 28), 10, 5, "MNIST"),
        "PermutedMNIST": Facts((1, 28, 28), 10, 10, "MNIST"),
        "RotatedMNIST": Facts((1, 28, 28), 10, 10, "MNIST"),
        "SplitFMNIST": Facts((1, 28, 28), 10, 5, "FashionMNIST"),
        "SplitCIFAR10": Facts((3, 32, 32), 10, 5, "cifar-10-batches-py"),
        "SplitCIFAR100": Facts((3, 32, 32), 100, 10, "cifar-100-python"),
    }
)


@dataclass(frozen=True)
class Benchmark:
    """A function that makes a benchmark: one of ``BENCHMARKS``, or a user's ``package.module:function``."""

    name: str
    plugin: Plugin | None = None  # the user's function

    @property
    def facts(self) -> Facts:
        """Of a user's function: what it makes for seed 0. Raises InputError if it cannot be made."""
        return BENCHMARKS[self.name] if self.name in BENCHMARKS else _facts(self)

    @property
    def function(self) -> Callable[..., Any]:
        """Raises InputError if there is none of that name."""
        if self.plugin:
            return self.plugin.load()
        if self.name not in BENCHMARKS:
            raise InputError(
                f'unknown Avalanche benchmark "{self.name}": {did_you_mean(self.name, BENCHMARKS)}, or '
                "package.module:function"
            )
        try:
            with contextlib.redirect_stdout(sys.stderr):
                from avalanche.benchmarks import classic
        except Exception as error:  # it writes ~/.avalanche and imports much of what is installed
            raise InputError(
                f"cannot import Avalanche: {one_line(error)}; it needs a writable home folder ($HOME) and a "
                "whole installation: pip install --upgrade avalanche-lib"
            ) from error
        return getattr(classic, self.name)

    def make(self, seed: int, tasks: int | None = None) -> tuple[Sequence[Any], Sequence[Any]]:
        """(training, test) experiences for a seed; ``tasks=None``: as many as the function likes.

        The function is called with those of ``seed``, ``n_experiences`` and ``dataset_root`` that it takes.
        Raises InputError if it fails, or makes another number of experiences.
        """
        function = self.function
        takes = inspect.signature(function).parameters
        given: dict[str, Any] = {}
        if "seed" in takes:
            given["seed"] = seed
        wanted = takes.get("n_experiences")
        if wanted is not None and (tasks is not None or wanted.default is wanted.empty):
            given["n_experiences"] = tasks or 5
        data = _data_root(self.facts.data) if self.name in BENCHMARKS else contextlib.nullcontext()
        with _isolated(seed), download_timeout(), contextlib.redirect_stdout(sys.stderr), data as root:
            if root is not None:
                given["dataset_root"] = root
            try:
                made = function(**given)
                train, test = list(made.train_stream), list(made.test_stream)
            except InputError:
                raise
            except Exception as error:  # urllib, torchvision, Avalanche and users raise what they like
                advice = f"; its data belongs in {root} or is downloaded" if root else ""
                raise InputError(
                    f"avalanche:{self.name} cannot be made: {one_line(error)}{advice}"
                ) from error
        if not train or len(test) not in (0, len(train)):
            raise InputError(f"avalanche:{self.name} has {len(train)} training, {len(test)} test experiences")
        if tasks is not None and len(train) != tasks:
            raise InputError(f"avalanche:{self.name} has {len(train)} experiences: write tasks={len(train)}")
        return train, test or train


def materialise(
    experience: Any, indices: np.ndarray, seed: int, *key: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples ``(N, *shape)`` float and labels ``(N,)``, under the transformations for evaluation.

    Raises InputError for examples that are no tensors of one shape with a class.
    """
    try:
        dataset = experience.dataset.eval()
        with _isolated(seed, *key):
            rows = [dataset[int(i)][:2] for i in indices]
        return torch.stack([x for x, _ in rows]).float(), torch.tensor([int(y) for _, y in rows])
    except Exception as error:
        raise InputError(
            f"experience {experience.current_experience} has no tensors of one shape with a class each: "
            f"{one_line(error)}; give the benchmark an eval_transform that makes them"
        ) from error


@functools.cache
def _facts(benchmark: Benchmark) -> Facts:
    train, _ = benchmark.make(0)
    shapes = materialise(train[0], np.arange(1), 0)[0].shape[1:]
    try:
        classes = 1 + max(int(max(experience.dataset.targets)) for experience in train)
    except Exception as error:
        raise InputError(f"avalanche:{benchmark.name} is no classification: {one_line(error)}") from error
    return Facts(tuple(shapes), classes, len(train))


@contextlib.contextmanager
def _data_root(data: str) -> Iterator[Path]:
    """A folder in torchvision's layout that has ``data``, or takes its download."""
    if data not in FILES:
        here = data_folder()
        yield here if (here / data).is_dir() else cache_folder() / "avalanche"
        return
    from filelock import FileLock

    load_mnist(data)  # verified copies, downloaded if they are not at hand
    root = cache_folder() / data / "source"
    unpacked = [root / data / "raw" / name.removesuffix(".gz") for name in FILES[data]]
    with FileLock(cache_folder() / data / ".lock"):  # torchvision unpacks them next to the copies
        try:
            for path in unpacked:
                path.unlink(missing_ok=True)
            yield root
        finally:
            for path in unpacked:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _isolated(seed: int, *key: int) -> Iterator[None]:
    """Global generators that depend on seed and key, and are put back afterwards."""
    number = int(generator(seed, "data", *key, 2**31).integers(2**32))
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed(number)
            np.random.seed(number)  # noqa: NPY002
            torch.manual_seed(number)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
