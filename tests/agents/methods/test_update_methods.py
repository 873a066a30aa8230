"""Methods that change the update itself, compared with the papers' algorithms written as loops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from plasticity_bench.agents.methods.dash import Dash
from plasticity_bench.agents.methods.trac import Trac, erfi
from plasticity_bench.agents.methods.upgd import Upgd
from tests.support.learners import learner
from tests.support.method_bench import SEEDS, Bench, Tensors

both = pytest.mark.parametrize("kind", ["perceptron", "convolution"])


@both
def test_dash_shrinks_by_clipped_cosines(kind: str) -> None:
    bench = Bench(Dash(floor=0.2, alpha=0.4, updates=3), kind)
    plain = [p.clone() for p in bench.now()]

    def step() -> Tensors:
        gradients = bench.step()
        for p, g in zip(plain, gradients, strict=True):
            p.sub_(g, alpha=0.1)
        return gradients

    for _ in range(4):  # before any boundary nothing shrinks
        step()
    bench.boundary()
    mean = [torch.zeros_like(p) for p in plain]
    for _ in range(3):
        mean = [0.6 * m - 0.4 * g for m, g in zip(mean, step(), strict=True)]
    factors = []
    for p, m in zip(plain, mean, strict=True):
        for vector, direction in vectors(p, m):
            cosine = float((vector * direction).sum()) / float(vector.norm() * direction.norm())
            factors.append(min(max(cosine, 0.2), 1.0))
            vector.mul_(factors[-1])
    assert len(set(factors)) > 5
    for now, expected in zip(bench.now(), plain, strict=True):
        torch.testing.assert_close(now, expected)
    step()  # once per boundary
    for now, expected in zip(bench.now(), plain, strict=True):
        torch.testing.assert_close(now, expected)


def vectors(p: torch.Tensor, m: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The vectors that shrink together: a seed's biases, a unit's row, a kernel."""
    if p.dim() == 5:
        return [
            (p[s, o, i], m[s, o, i]) for s in range(2) for o in range(p.shape[1]) for i in range(p.shape[2])
        ]
    if p.dim() == 3:
        return [(p[s, o], m[s, o]) for s in range(2) for o in range(p.shape[1])]
    return [(p[s], m[s]) for s in range(2)]


@both
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_upgd_is_the_authors_loop(kind: str, optimizer: str) -> None:
    """UPGD with SGD, and its Adam version, written per seed with torch.optim's update and without noise."""
    lr, beta, decay, factor = 0.01, 0.9, 0.1, 2.0
    bench = Bench(Upgd(beta=beta, sigma=0.0, weight_decay=decay, factor=factor), kind, optimizer, lr)
    weights = bench.now()
    utility = [torch.zeros_like(p) for p in weights]
    first, second = ([torch.zeros_like(p) for p in weights] for _ in range(2))
    for t in range(1, 6):
        gradients = bench.step()
        for s in range(len(SEEDS)):
            for u, g, w in zip(utility, gradients, weights, strict=True):
                u[s] = beta * u[s] + (1 - beta) * -g[s] * w[s]
            largest = max(float(u[s].max()) for u in utility)
            for i, (u, g, w) in enumerate(zip(utility, gradients, weights, strict=True)):
                step = g[s]
                if optimizer == "adam":
                    first[i][s] = 0.9 * first[i][s] + 0.1 * g[s]
                    second[i][s] = 0.999 * second[i][s] + 0.001 * g[s] ** 2
                    step = first[i][s] / (1 - 0.9**t) / ((second[i][s] / (1 - 0.999**t)).sqrt() + 1e-8)
                gate = 1 - 1 / (1 + torch.exp(-u[s] / (1 - beta**t) / largest))
                w[s] = (1 - lr * decay) * w[s] - lr * factor * step * gate
        for ours, theirs in zip(bench.now(), weights, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_upgd_noise_is_gated_and_of_the_right_size() -> None:
    """With gradients of zero the utility is zero: factor * lr * sigma * noise / 2."""
    bench = Bench(Upgd(sigma=0.5, weight_decay=0.0, factor=2.0), lr=0.1)
    before = bench.now()
    bench.step(scale=0.0)
    moved = torch.cat([(now - old).flatten() for now, old in zip(bench.now(), before, strict=True)])
    assert float(moved.std()) == pytest.approx(0.1 * 0.5, rel=0.15)


def test_erfi_is_scipys() -> None:
    x = np.concatenate([-np.logspace(-10, 1, 100), [0.0], np.logspace(-10, 1, 100)])
    np.testing.assert_allclose(erfi(torch.tensor(x)).numpy(), scipy.special.erfi(x), rtol=1e-13)


@both
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_trac_is_the_papers_loop(kind: str, optimizer: str) -> None:
    """Per seed: one of torch's optimizers as the base, and the tuner with scipy's erfi."""
    bench = Bench(Trac(scale=1e-2), kind, optimizer, 0.01)
    reference = bench.now()
    base = [p.clone().requires_grad_() for p in reference]
    optimizers = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    theirs = optimizers[optimizer](base, lr=0.01)
    betas = np.array([0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999])
    variance, sigma = np.zeros((2, 6)), np.full((2, 6), 1e-8)
    scales = []
    for _ in range(12):
        gradients = bench.step()
        for p, g in zip(base, gradients, strict=True):
            p.grad = g
        h = np.array(
            [
                sum(
                    float(((p.detach()[s] - r[s]) * g[s]).sum())
                    for p, r, g in zip(base, reference, gradients, strict=True)
                )
                for s in range(2)
            ]
        )[:, None]
        variance = betas**2 * variance + h**2
        sigma = betas * sigma - h
        theirs.step()
        s = 1e-2 / scipy.special.erfi(0.5**0.5) * scipy.special.erfi(sigma / (np.sqrt(2 * variance) + 1e-8))
        total = np.maximum(s.sum(-1), 0)
        scales.append(total.copy())
        for now, p, r in zip(bench.now(), base, reference, strict=True):
            for i in range(2):
                expected = r[i] + total[i] * (p.detach()[i] - r[i])
                torch.testing.assert_close(now[i], expected, rtol=1e-9, atol=1e-12)
    assert (np.array(scales) == 0).any()  # both branches of the maximum are reached
    assert (np.array(scales) > 0).any()


def test_dash_shrinks_within_a_run_at_boundaries_only() -> None:
    """In the learner: until the tenth update of the second task, dash is none bit for bit; then it is not."""
    made, plain = learner("dash"), learner("none")
    for run in (made, plain):
        while run.task == 0:
            run.advance()
        run.piece = 9
        run.advance()
    assert torch.equal(made.network.flat, plain.network.flat)
    for run in (made, plain):
        run.piece = 1
        run.advance()
    assert not torch.equal(made.network.flat, plain.network.flat)
