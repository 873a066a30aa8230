"""Hare and tortoise: the average, compared with a loop, and that predictions use it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.methods.hare_tortoise import HareTortoise
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.errors import InputError
from plasticity_bench.registry.create import create_method
from tests.support.learners import few_test_images, finish, learner
from tests.support.method_bench import Bench

MNIST = "permuted-mnist:tasks=2,images=640"


@pytest.mark.parametrize("kind", ["perceptron", "convolution", "normalised"])
@pytest.mark.parametrize("clear", [False, True])
def test_the_tortoise_is_the_average_of_the_hare(kind: str, clear: bool) -> None:
    method = HareTortoise(decay=0.8, period=3, clear=clear)
    bench, plain = Bench(method, kind, "adam"), Bench(create_method("none"), kind, "adam")
    tortoise = [p.detach().numpy().copy() for p in trainable(bench.layers)]
    for update in range(1, 8):
        bench.step()
        plain.step()  # from the same weights and moments with the same gradients
        for slow, fast in zip(tortoise, trainable(plain.layers), strict=True):
            slow[:] = 0.8 * slow + 0.2 * fast.detach().numpy()
        if update % 3 == 0:
            with torch.no_grad():
                for slow, fast in zip(tortoise, trainable(plain.layers), strict=True):
                    fast.copy_(torch.from_numpy(slow))
                    for moment in plain.optimizer.moments(fast) if clear else ():
                        moment.zero_()
        for slow, found in zip(tortoise, trainable(method.tortoise), strict=True):
            np.testing.assert_allclose(found.detach().numpy(), slow, rtol=1e-12, atol=1e-14)
        for fast, found in zip(trainable(plain.layers), trainable(bench.layers), strict=True):
            torch.testing.assert_close(found, fast, rtol=1e-12, atol=1e-14)
            assert found.requires_grad


@pytest.mark.parametrize("stream", ["permuted-digits:tasks=2", MNIST])
@pytest.mark.parametrize("method", ["", "layer-norm+", "batch-norm+"])
def test_the_tortoise_predicts(method: str, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All recorded values of a task apart from the norms come from a network with the averaged weights."""
    few_test_images(monkeypatch)
    made = learner(f"{method}hare-tortoise:decay=0.9,period=20", (2, 3), stream=stream)
    shadow = StackedNetwork(made.network.spec, SeedRng((2, 3), "init"), torch.device("cpu"), torch.float32)
    average = [tensor for layer in shadow.layers for tensor in layer.state()]
    correct, made.piece, steps = torch.zeros(2), 1, made.stream.steps
    for step in range(steps):
        (x,), (y,) = made.current.batches(step, step + 1)
        correct += (shadow.forward(x).argmax(-1) == y).float().mean(1)
        task = made.current
        made.advance()
        with torch.no_grad():
            # After a return hare and tortoise agree, so the average may be taken of what stands there now.
            fast = [tensor for layer in made.layers for tensor in layer.state()]
            for slow, value in zip(average, fast, strict=True):
                slow.copy_(value if (step + 1) % 20 == 0 else 0.9 * slow + 0.1 * value)
    row = [rows[0] for rows in made.rows]
    np.testing.assert_allclose([r["online_performance"] for r in row], correct / steps, atol=2e-3)
    if "mnist" in stream:  # there are held-out images
        right = torch.cat([(shadow.forward(x).argmax(-1) == y).double() for x, y in task.evaluation()], 1)
        np.testing.assert_allclose([r["final_performance"] for r in row], right.mean(1), atol=2e-3)
    shadow.forward(task.probe()[0])
    features = [layer.features for layer in shadow.layers if layer.hidden and layer.features is not None]
    dead = [(f.movedim(2, -1).flatten(1, -2) if f.dim() > 3 else f).abs().amax(1) == 0 for f in features]
    expected = torch.cat(dead, -1).double().mean(-1)
    np.testing.assert_allclose([r["dead_fraction"] for r in row], expected, atol=0.03)


def test_in_batch_norm_the_running_statistics_are_averaged_and_returned_too() -> None:
    made = learner("batch-norm+hare-tortoise:decay=0.9,period=20")
    made.piece = 20
    made.advance()
    for layer, slow in zip(made.layers, made.trained.predictor.layers, strict=True):
        for ours, theirs in zip(layer.state(), slow.state(), strict=True):
            assert torch.equal(ours, theirs)
    made.piece = 5
    made.advance()
    assert not torch.equal(next(made.layers[0].buffers()), next(made.trained.predictor.layers[0].buffers()))


@pytest.mark.parametrize(("text", "phrase"), [("decay=1", "below 1"), ("period=-1", "at least 0")])
def test_mistakes_are_one_line(text: str, phrase: str) -> None:
    with pytest.raises(InputError) as caught:
        create_method(f"hare-tortoise:{text}")
    assert phrase in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hare_may_predict() -> None:
    """The same training; only what is scored differs. Without returns the hare is plain training."""
    setting = "hare-tortoise:decay=0.99,period=30"
    slow, fast = (learner(f"{setting}{end}") for end in ("", ",predict=hare"))
    tables = [finish(made) for made in (slow, fast)]
    assert torch.equal(slow.network.flat, fast.network.flat)
    assert (tables[0][..., 1] != tables[1][..., 1]).all()
    never = finish(learner("hare-tortoise:period=0,predict=hare"))
    np.testing.assert_array_equal(never, finish(learner("none")))
    with pytest.raises(InputError, match='predict=rabbit is neither "tortoise" nor "hare"'):
        learner("hare-tortoise:predict=rabbit")
