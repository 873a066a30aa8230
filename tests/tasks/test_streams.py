"""The contract of every registered stream, and each stream compared with the definition in its source."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from plasticity_bench.errors import InputError
from plasticity_bench.registry.catalog import STREAMS, SUITES
from plasticity_bench.registry.choices import choose_stream
from plasticity_bench.registry.create import create_stream
from plasticity_bench.seeding import generator
from plasticity_bench.specs import late_tasks
from plasticity_bench.tasks.base import SupervisedStream
from plasticity_bench.tasks.images import ImageDraw, Images, ImageTasks
from plasticity_bench.tasks.threshold_units import BitFlipTasks, Target
from tests.support.learners import supervised
from tests.support.mnist_files import MNIST, needs_mnist

CPU = torch.device("cpu")
SUPERVISED = [name for name in STREAMS if issubclass(choose_stream(name).cls, SupervisedStream)]
ALL = [pytest.param(name, marks=needs_mnist if "mnist" in name else []) for name in SUPERVISED]
#: Small enough to look at every batch.
SMALL = {"random-label-mnist": ":epochs=2", "permuted-mnist": ":images=640,epochs=2"}


def small(name: str) -> SupervisedStream:
    return supervised(name + SMALL.get(name, ""))


def source(stream: SupervisedStream, seeds: tuple[int, ...] = (0, 1)):  # type: ignore[no-untyped-def]
    return stream.open(seeds, CPU, torch.float32)


@pytest.mark.parametrize("name", STREAMS)
def test_info_is_complete(name: str) -> None:
    chosen = choose_stream(name)
    info = chosen.cls.info
    assert info.name == name
    assert any(mark in info.source for mark in ("arXiv:", "doi:"))
    assert info.deviations, "every stream says what it changes of its source, or leaves open"
    assert info.summary
    assert info.seeds >= 4
    assert 0 <= info.warmup_tasks <= late_tasks(chosen.make().tasks).start


def test_suites_name_streams_that_exist() -> None:
    for suite in SUITES.values():
        for text in suite.streams:
            create_stream(text)


@pytest.mark.parametrize("name", ALL)
def test_tasks_have_the_shapes_of_the_network(name: str) -> None:
    stream = small(name)
    spec, task = stream.network, source(stream).task(1)
    x, y = task.batches(2, 5)
    assert x.shape == (3, 2, stream.batch, *spec.inputs)
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    if stream.info.loss == "mse":
        assert y.shape == (3, 2, stream.batch, spec.outputs)
    else:
        assert y.shape == (3, 2, stream.batch)
        assert 0 <= int(y.min()) <= int(y.max()) < spec.outputs
    probe, targets = task.probe()
    assert probe.shape[2:] == x.shape[3:]
    assert 256 <= probe.shape[1] <= 512
    assert targets.shape[:2] == probe.shape[:2]
    assert task.batches(stream.steps - 1, stream.steps)[0].shape[0] == 1


@pytest.mark.parametrize("name", ALL)
def test_a_task_depends_on_seed_and_index_alone(name: str) -> None:
    stream = small(name)
    first = source(stream, (3, 8))
    first.task(5)
    there = first.task(2).batches(0, 2)
    alone = source(stream, (8,)).task(2).batches(0, 2)
    for stacked, single in zip(there, alone, strict=True):
        assert torch.equal(stacked[:, 1], single[:, 0])
        assert not torch.equal(stacked[:, 0], stacked[:, 1])
    assert not torch.equal(there[0], first.task(3).batches(0, 2)[0])


@pytest.mark.parametrize("name", ALL)
def test_pieces_of_a_task_are_the_task(name: str) -> None:
    task = source(small(name)).task(1)
    whole = task.batches(0, 6)
    for part in range(2):
        assert torch.equal(whole[part], torch.cat([task.batches(0, 1)[part], task.batches(1, 6)[part]]))


@needs_mnist
@pytest.mark.parametrize(
    "name", ["permuted-mnist", "permuted-mnist-long", "online-permuted-mnist", "random-label-mnist"]
)
def test_fashion_mnist_serves_as_well(name: str) -> None:
    other = dataclasses.replace(small(name), dataset="fashion-mnist")  # type: ignore[call-arg]
    fashion = source(other).task(0).batches(0, 1)[0]
    assert not torch.equal(fashion, source(small(name)).task(0).batches(0, 1)[0])


def test_unknown_settings_are_refused() -> None:
    for text, message in [
        ("permuted-mnist:dataset=cifar", "unknown dataset"),
        ("permuted-mnist:architecture=resnet", "unknown architecture"),
        ("permuted-mnist:images=60001", "images must be at least 64 and at most 60000"),
        ("online-permuted-mnist:batch_size=0", "batch_size must be at least 1"),
        ("bit-flip:flips=16", "flips must be at least 0 and at most 15"),
        ("permuted-digits:tasks=1", "at least 2 tasks"),
        ("permuted-digits:task=1", 'did you mean "tasks"'),
        ("permuted-digit", 'did you mean "permuted-digits"'),
    ]:
        with pytest.raises(InputError, match=message):
            create_stream(text)


def test_digits_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and deviation are bit-identical, which depends on the memory layout.

    If scikit-learn's file is not in the usual place, scikit-learn reads it.
    """
    import sklearn.datasets

    from plasticity_bench.tasks import digits

    wanted = sklearn.datasets.load_digits(return_X_y=True)
    read = digits.load_digits()
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    for found in (read, digits.load_digits.__wrapped__()):
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)
            assert not ours.flags.writeable
        assert (found[0].mean(), found[0].std()) == (wanted[0].mean(), wanted[0].std())


def test_permuted_digits_is_one_pass_over_permuted_images() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    stream = small("permuted-digits")
    opened = source(stream, (4,))
    x, y = opened.task(7).batches(0, stream.steps)
    rng = generator(4, "data", 7)
    order, pixels = rng.permutation(1797)[: 112 * 16], rng.permutation(64)
    assert len(set(order)) == 1792
    expected = (images[order][:, pixels] - images.mean()) / images.std()
    np.testing.assert_allclose(x.reshape(-1, 64).numpy(), expected, atol=1e-5)
    assert np.array_equal(y.flatten().numpy(), labels[order])


def test_bit_flip_follows_the_authors_definition() -> None:
    """Computed unit by unit and example by example, like the authors' code."""
    stream = small("bit-flip")
    opened = source(stream, (2,))
    assert isinstance(opened, BitFlipTasks)
    x, y = (values[:, 0].flatten(0, 1).numpy() for values in opened.task(3).batches(0, 4))
    rng = generator(2, "data")
    weights, biases = rng.choice([-1.0, 1.0], (100, 20)), rng.choice([-1.0, 1.0], 100)
    outputs, bias = rng.choice([-1.0, 1.0], 100), rng.choice([-1.0, 1.0])
    for bits, target in zip(x, y[:, 0], strict=True):
        total = bias
        for w, b, v in zip(weights, biases, outputs, strict=True):
            threshold = 0.7 * (20 + 1) - (20 - w.sum() + b) / 2
            total += v * (w @ bits + b > threshold)
        assert target == total
    assert set(np.unique(x)) == {0.0, 1.0}
    assert (x[:, :15] == x[0, :15]).all()
    assert len(np.unique(x[:, 15:], axis=0)) > 20
    assert isinstance(opened.targets[0], Target)


@pytest.mark.parametrize("flips", [1, 4])
def test_flips_change_that_many_slow_bits(flips: int) -> None:
    opened = source(supervised(f"bit-flip:flips={flips}"), (0,))
    for index in range(1, 6):
        assert (opened.slow_bits(0, index) != opened.slow_bits(0, index - 1)).sum() == flips


@needs_mnist
def test_permuted_mnist_permutes_train_and_test_alike_and_leaves_task_0() -> None:
    from plasticity_bench.tasks.mnist_data import load_mnist

    data, stream = load_mnist(), small("permuted-mnist")
    opened = source(stream, (0,))
    test = torch.cat([x for x, _ in opened.task(0).evaluation()], 1)
    assert test.shape == (1, 10_000, 1, 28, 28)
    np.testing.assert_allclose(test[0].reshape(-1, 784).numpy(), data.test_images / 255, atol=1e-6)
    pixels = generator(0, "data", 1).permutation(784)
    permuted = torch.cat([x for x, _ in opened.task(1).evaluation()], 1)
    np.testing.assert_allclose(
        permuted[0].reshape(-1, 784).numpy(), data.test_images[:, pixels] / 255, atol=1e-6
    )
    x, y = opened.task(1).batches(0, 1)
    inverse = np.argsort(pixels)
    seen = (x.reshape(-1, 784).numpy()[:, inverse] * 255).round().astype(np.uint8)
    for image, label in zip(seen, y.flatten(), strict=True):
        found = np.flatnonzero((data.train_images == image).all(1))
        assert data.train_labels[found[0]] == label


@needs_mnist
def test_random_labels_are_a_shuffle_on_the_same_images() -> None:
    from plasticity_bench.tasks.mnist_data import load_mnist

    data, stream = load_mnist(), small("random-label-mnist")
    opened = source(stream, (6,))
    pairs = []
    for index in (0, 1):
        x, y = zip(*opened.task(index).evaluation(), strict=True)
        pairs.append((torch.cat(x, 1), torch.cat(y, 1)))
    assert torch.equal(pairs[0][0], pairs[1][0])
    assert not torch.equal(pairs[0][1], pairs[1][1])
    chosen = generator(6, "data").permutation(60_000)[:1200]
    for _, labels in pairs:
        assert torch.equal(
            labels[0].sort()[0], torch.from_numpy(data.train_labels[chosen].astype(np.int64)).sort()[0]
        )
    x, y = opened.task(1).batches(0, stream.steps)
    known = {
        image.tobytes(): int(label)
        for image, label in zip(pairs[1][0][0].numpy(), pairs[1][1][0], strict=True)
    }
    assert all(
        known[image.tobytes()] == int(label)
        for image, label in zip(x.reshape(-1, 784).numpy(), y.flatten(), strict=True)
    )
    assert len(x.reshape(-1, 784)) == 2 * 1200


@needs_mnist
def test_permutation_is_avalanches(tmp_path: Path) -> None:
    """The same pixel permutation through Avalanche's PermutedMNIST gives the same images and labels."""
    from avalanche.benchmarks.classic import PermutedMNIST

    from plasticity_bench.tasks.mnist_data import load_mnist

    shutil.copytree(MNIST, tmp_path / "MNIST" / "raw")
    theirs = PermutedMNIST(n_experiences=2, seed=3, dataset_root=tmp_path)
    data = load_mnist()
    places = (0, 1, 777, 59_999)
    rows = np.argsort(data.train_labels, kind="stable")[list(places)]  # Avalanche sorts the images by class
    their_rng = np.random.RandomState(3)
    for experience in theirs.train_stream:
        seen = torch.stack([experience.dataset[int(row)][0].flatten() for row in places]) * 0.3081 + 0.1307
        pixels = their_rng.permutation(784)
        ours = ImageTasks(
            Images.of(data.train_images, data.train_labels, CPU, 0.0, 255.0),
            None,
            [0],
            lambda seed, index, pixels=pixels: ImageDraw(order=rows, pixels=pixels),  # type: ignore[misc]
            4,
            (784,),
            torch.float32,
        )
        x, y = ours.task(0).batches(0, 1)
        torch.testing.assert_close(x[0, 0], seen, rtol=0, atol=1e-5)
        assert y.flatten().tolist() == [int(experience.dataset[int(row)][1]) for row in places]
