"""The contract of every registered method. A new method is tested without a change here."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from plasticity_bench.agents.layers import parameters
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.contract.checks import CHECKS, Check, examine
from plasticity_bench.contract.results import Verdict
from plasticity_bench.contract.subject import Subject
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.registry.settings import split_parts
from plasticity_bench.specs import OptimizerSpec
from tests.support.learners import DIGITS, finish, learner, weights
from tests.support.method_names import ALWAYS_ON, ARCHITECTURES, EXAMPLE, NEVER_OFF, SOON, VARIANTS

#: Methods that move the weights at their setup.
MOVED = {"syre-offset-only", "normalize-and-project"}
ALL = [*METHODS, *VARIANTS, EXAMPLE]


def expected(check: str, name: str) -> str:
    """The state of a check for a method, if it is not "passed"."""
    parts = {name} if name == EXAMPLE else {part.partition(":")[0] for part in split_parts(name)}
    built = parts & ARCHITECTURES and "normalize=false" not in name
    match check:
        case "off" if parts & NEVER_OFF or name in ALWAYS_ON - {"trac", "head-reset"}:
            return Verdict.INAPPLICABLE
        case "off" if name in {"trac", "head-reset"}:  # it has settings, none of which turns it off
            return Verdict.WARNING
        case "acts" if name in {"none", *SOON} - {"hare-tortoise"}:
            return Verdict.WARNING
        case "start" if parts & MOVED and "normalize=false" not in name:
            return Verdict.WARNING
        case "ppo" if parts & {"dropout", "batch-norm"}:
            return Verdict.INAPPLICABLE
        case "ppo" if name == "spectral":  # products of one row end in other digits in a stack
            return Verdict.WARNING
        case "torch" | "sb3" if built:
            return Verdict.INAPPLICABLE
    return Verdict.PASSED


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_called_as_it_is_registered(name: str) -> None:
    assert choose_method(name).cls.info.name == name


@lru_cache(maxsize=2)
def subject(name: str) -> Subject:
    """One subject for all checks of a method: they share its runs, as in ``plasticity_bench check``."""
    return Subject(name)


# The checks of one method come one after the other, so that a test process can share their runs.
@pytest.mark.parametrize("check", [check for check in CHECKS if check.name != "cost"], ids=lambda c: c.name)
@pytest.mark.parametrize("name", ALL)
def test_contract(check: Check, name: str) -> None:
    """The checks of ``plasticity_bench check``; tests/contract/test_contract.py shows that each can fail."""
    result = examine(check, subject(name))
    assert result.state == expected(check.name, name), result


def test_seeds_differ() -> None:
    tables = finish(learner("none", (0, 1)))
    assert not np.array_equal(tables[0], tables[1])


def test_reset_starts_each_task_with_a_new_network_and_no_moments() -> None:
    made = learner("reset")
    first = weights(made, 0)
    while made.task == 0:
        made.advance()
    assert not any(torch.equal(now, then) for now, then in zip(weights(made, 0), first, strict=True))
    assert all(
        not moment.any() for p in parameters(made.layers) for moment in made.trained.optimizer.moments(p)
    )
    bound = made.layers[0].weight_bound
    assert float(made.layers[0].weight.detach().abs().max()) <= bound
    assert float(made.layers[0].weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.05)


def test_shrink_perturb_is_the_formula_with_fresh_noise() -> None:
    made = learner("shrink-perturb:shrink=0.25,noise=0.5", (7,), stream=DIGITS)
    while made.task == 0:
        made.advance()
    other = learner("none", (7,))
    while other.task == 0:
        other.advance()
    noise = SeedRng((7,), "method")
    for layer, trained in zip(made.layers, other.layers, strict=True):
        weight, bias = layer.fresh(noise)
        torch.testing.assert_close(layer.weight.detach(), 0.75 * trained.weight.detach() + 0.5 * weight)
        torch.testing.assert_close(layer.bias.detach(), 0.75 * trained.bias.detach() + 0.5 * bias)


@pytest.mark.parametrize(("name", "decoupled"), [("adam", False), ("adam", True), ("sgd", False)])
def test_l2_is_torchs_weight_decay(name: str, decoupled: bool) -> None:
    """Against torch.optim's own weight_decay: Adam and SGD coupled, AdamW decoupled."""
    spec = OptimizerSpec(name, 0.01)
    made = learner(f"l2:strength=0.1,decoupled={decoupled}", optimizer=spec, dtype=torch.float64)
    cls = {
        ("adam", False): torch.optim.Adam,
        ("adam", True): torch.optim.AdamW,
        ("sgd", False): torch.optim.SGD,
    }
    theirs = [p.detach().clone().requires_grad_() for p in parameters(made.layers)]
    optimizer = cls[name, decoupled](theirs, lr=0.01, weight_decay=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for ours, other in zip(parameters(made.layers), theirs, strict=True):
            assert ours.grad is not None
            other.grad = torch.randn(other.shape, generator=generator, dtype=torch.float64)
            ours.grad.copy_(other.grad)
        with torch.no_grad():
            made.trained.method.before_update(made.layers, made.trained.optimizer)
            made.trained.optimizer.step()
        optimizer.step()
    for ours, other in zip(parameters(made.layers), theirs, strict=True):
        torch.testing.assert_close(ours.detach(), other.detach(), rtol=1e-10, atol=1e-12)
