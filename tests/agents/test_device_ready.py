"""Training steps neither use tensors on the host nor wait for it, as far as can be checked without a GPU.

On the device "meta", tensors have shapes and no numbers; every operation is inspected. In torch's fake mode
the device "cuda" can be used in the same way, if gradients are computed by hand: autograd needs a real GPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from plasticity_bench.agents.capture import EagerUpdater
from plasticity_bench.agents.diagnostics import sum_per_seed
from plasticity_bench.agents.forward import linear
from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.registry.catalog import METHODS, STREAMS
from plasticity_bench.registry.choices import choose_stream
from plasticity_bench.tasks.base import SupervisedStream
from plasticity_bench.tasks.images import ImageTask
from tests.support.fake_cuda import CUDA, Listing, fake_cuda
from tests.support.learners import DIGITS, learner, supervised
from tests.support.method_names import NOT_CAPTURED, VARIANTS
from tests.support.mnist_files import needs_mnist

META = torch.device("meta")


def marked(*streams: str) -> list[Any]:
    """Parameters of a test, some of which need MNIST."""
    return [pytest.param(name, marks=needs_mnist if "mnist" in name else []) for name in streams]


CONVOLUTIONS = "permuted-mnist:tasks=3"
#: Every supervised stream, and variants that reach other code.
SUPERVISED = [name for name in STREAMS if issubclass(choose_stream(name).cls, SupervisedStream)]
STREAM_VARIANTS = (
    "permuted-mnist:architecture=mlp",
    "online-permuted-mnist:batch_size=1",
    "bit-flip:flips=2",
)
#: Methods that draw at every update copy numbers from the host to the device.
DRAWING = ("dropout", "upgd", "syre-redrawn", "interval=1,")
#: Operations on CUDA whose results may differ from run to run: sums of floats in the order of arrival, which
#: torch's notes on determinism list. Whole numbers add up alike in any order.
UNORDERED = {
    *(
        "index_add",
        "index_add_",
        "scatter_add",
        "scatter_reduce",
        "index_put",
        "index_put_",
        "_index_put_impl_",
    ),
    *("put_", "histc", "bincount", "cumsum", "_ctc_loss", "embedding_dense_backward", "max_unpool2d"),
    *("upsample_bilinear2d_backward", "adaptive_max_pool2d_backward", "avg_pool3d_backward", "scatter_add_"),
}


def steps(made: SupervisedLearner, device: torch.device, count: int = 4) -> Listing:
    """A few updates, of which the last is watched."""
    x, y = made.current.batches(0, count)
    target = made._target(y, x.dtype)
    for i in range(count - 1):
        made.trained.learn(x[i], target[i])
    with Listing(device) as listing:
        output = made.trained.learn(x[-1], target[-1])
    assert output.device.type == device.type
    made._sums(output.unsqueeze(0), y[-1:])
    return listing


def rest(made: SupervisedLearner, device: torch.device) -> None:
    """The work between two tasks."""
    made.trained.end_task()
    made.current = made.source.task(1)
    columns = made._diagnostics([p.detach().clone() for p in trainable(made.layers)])
    columns |= made._final_performance()
    assert {value.device.type for value in columns.values()} == {device.type}


def expected(name: str) -> str:
    """What a method's update does that a captured update must not do."""
    if "l2-er" in name:
        return "waits for the device in _linalg_eigh"
    return "moves tensors between cpu and" if any(part in name for part in DRAWING) else ""


@pytest.mark.parametrize("name", [*METHODS, *VARIANTS])
def test_an_update_stays_on_the_device(name: str) -> None:
    with torch.no_grad():
        made = learner(name, device=META, updater=EagerUpdater)
        listing = steps(made, META)
        assert listing.found.startswith(expected(name))
        assert bool(listing.found) == bool(expected(name))
        rest(made, META)
        again = steps(made, META)  # after a boundary: other weights, other steps, branches
        if "interval=1," not in name and "period=3," not in name:
            assert bool(again.found) == bool(expected(name)), again.found
    assert not (listing.names | again.names) & UNORDERED


@pytest.mark.parametrize(
    "name", ["none", "batch-norm", "redo:period=4", "snr:period=2", "cbp:rate=0.5,maturity=1"]
)
@needs_mnist
def test_convolutions_too(name: str) -> None:
    with torch.no_grad():
        made = learner(name, stream=CONVOLUTIONS, device=META, updater=EagerUpdater)
        listing = steps(made, META, 3)
        assert bool(listing.found) == ("rate=0.5" in name)  # which draws fresh units at every update
        rest(made, META)
    assert not listing.names & UNORDERED - {"cumsum", "scatter_add_"}  # snr's, of whole numbers


@pytest.mark.parametrize("stream", marked(*SUPERVISED, *STREAM_VARIANTS))
def test_every_streams_batches_are_gathered_on_the_device(stream: str) -> None:
    with torch.no_grad():
        spec = supervised(stream).optimizer
        plain = replace(spec, fused=spec.name != "sgd")  # torch's fused SGD has no meta kernel
        made = learner("l2", stream=stream, device=META, updater=EagerUpdater, optimizer=plain)
        with Listing(META) as listing:
            x, y = made.current.batches(0, 2)
            made.current.probe()
        assert listing.found == ""
        assert (x.device, y.device) == (META, META)
        assert steps(made, META, 2).found == ""


@pytest.mark.parametrize(
    "name", ["none", "l2", "redo:period=4", "trac", "shrink-perturb", "hare-tortoise", "swr"]
)
def test_on_cuda_without_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_cuda(monkeypatch):
        for stream in (DIGITS, "bit-flip:tasks=3"):
            made = learner(name, stream=stream, device=CUDA, updater=EagerUpdater)
            listing = steps(made, CUDA, 3)
            assert listing.found == ""
            assert listing.names & {"_fused_adam_"}
            made.trained.end_task()


def test_a_tensor_of_the_hosts_is_found() -> None:
    a, b = torch.zeros(3, device=META), torch.zeros(3)
    with torch.no_grad(), Listing(META) as listing:
        torch.add(a, 2.0).mul_(a)
        assert listing.found == ""
        torch.add(a, b.to(META))
    assert listing.found == "moves tensors between cpu and meta in _to_copy"
    assert listing.names == {"add", "mul_", "_to_copy"}


def test_methods_that_are_not_captured_are_those_that_are_known() -> None:
    assert {name for name in METHODS if expected(name)} <= set(NOT_CAPTURED)


@pytest.mark.parametrize(
    "stream", ["permuted-digits", "random-label-mnist:tasks=2,epochs=2", "permuted-mnist"]
)
def test_a_gpus_way_to_gather_gives_the_same_batches(stream: str) -> None:
    source = supervised(stream).open((3, 5, 8), torch.device("cpu"), torch.float32)
    for index in (0, 1):
        task = source.task(index)
        assert isinstance(task, ImageTask)
        x, y = task.batches(3, 9)
        other_x, other_y = torch.full_like(x, -1).flatten(3), torch.full_like(y, -1)
        train = task.source.train
        task.fill(other_x, other_y, train, torch.stack(list(task.orders))[:, 3 * x.shape[2] : 9 * x.shape[2]])
        other_x.sub_(train.shift).mul_(1 / train.scale)
        assert torch.equal(x.flatten(3), other_x)
        assert torch.equal(y, other_y)


def test_a_gpus_way_to_sum_and_multiply_gives_the_same_numbers() -> None:
    """A GPU processes all seeds in one call; a CPU processes them one by one, with other calls."""
    values = torch.randn(3, 50, 7)
    assert sum_per_seed(values.to(META)).shape == (3,)
    torch.testing.assert_close(values.flatten(1).sum(1, dtype=torch.float64), sum_per_seed(values))
    for batch, outputs in ((1, 4), (16, 1)):
        made = learner(stream="bit-flip:tasks=2", device=META, updater=EagerUpdater)
        assert made.trained.predictor.forward(torch.empty(2, batch, 20, device=META)).shape == (2, batch, 1)
        x, weight = torch.randn(3, batch, 60), torch.randn(3, outputs, 60)
        bias = torch.randn(3, outputs)
        torch.testing.assert_close(linear(x, weight, bias), torch.baddbmm(bias.unsqueeze(1), x, weight.mT))
