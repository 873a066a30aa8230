"""That a method works in PPO, in a torch loop and in stable-baselines3; and what it costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from plasticity_bench.agents.layers import add_penalty, feature_gradient, trainable
from plasticity_bench.agents.methods.none import NoMethod
from plasticity_bench.agents.networks import StackedNetwork, cross_entropy_gradient
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.contract.results import Broken, DoesNotApply, Doubtful, Measured
from plasticity_bench.contract.stacking import MEND_ROUNDING, ROUNDING, RULE
from plasticity_bench.contract.subject import Subject, same_bits
from plasticity_bench.contract.watch import named
from plasticity_bench.errors import InputError
from plasticity_bench.registry.choices import with_learning_rate
from plasticity_bench.registry.create import create_stream
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from plasticity_bench.tasks.base import ControlStream

if TYPE_CHECKING:
    from plasticity_bench.agents.adapters.torch_adapter import Attachment
    from plasticity_bench.agents.methods import Method

GRIDWORLD = "shuffled-gridworld:tasks=2,rollouts=1"
PERCEPTRON = NetworkSpec((6,), 4, (8, 5))
SHARED = (
    "actor and critic have a method each: keep state in attributes of self, never in globals or class "
    "attributes"
)


def serves_ppo(subject: Subject) -> str:
    """Actor and critic train in a small gridworld; a seed is the same bits alone and in a stack."""
    try:
        together, alone = _act(subject, (0, 1)), _act(subject, (1,))
    except InputError as error:
        raise DoesNotApply(str(error)) from error
    for part, (ours, theirs) in zip(("actor", "critic"), zip(together, alone, strict=True), strict=True):
        for (name, now), other in zip(ours.items(), theirs.values(), strict=True):
            if not now.isfinite().all():
                raise Broken(f"in PPO the {part}'s {name} is not finite", "look at small gradients and units")
            if same_bits(now[1], other[0]):
                continue
            what = f"in PPO the {part}'s {name} of a seed in a stack is not that of the seed alone"
            if torch.allclose(now[1], other[0], rtol=ROUNDING, atol=ROUNDING / 10):
                raise Doubtful(f"{what} in its last digits", MEND_ROUNDING)
            raise Broken(what, f"{SHARED}; {RULE}")
    return "actor and critic train in a gridworld; a seed alone and in a stack: the same bits"


def _act(subject: Subject, seeds: tuple[int, ...]) -> list[dict[str, torch.Tensor]]:
    """What is trainable after two tasks of one rollout, 16 updates each, of actor and critic."""
    from plasticity_bench.agents.ppo import PPOLearner

    stream = create_stream(GRIDWORLD)
    assert isinstance(stream, ControlStream)
    optimizer = with_learning_rate(stream, subject.chosen)
    made = PPOLearner(stream, subject.make(), seeds, optimizer=optimizer)
    while not made.finished:
        made.advance()
    made.close()
    return [{name: p.detach() for name, p in named(part.layers).items()} for part in made.parts]


def side_by_side(
    method: Method,
    stack: StackedNetwork,
    optimizer: OptimizerSpec,
    model: nn.Module,
    theirs: torch.optim.Optimizer,
    attached: Attachment,
) -> Iterator[None]:
    """Trains two tasks of ten updates twice, on the same random examples of four classes: ``stack``, of the
    one seed 3, as the benchmark's learner does, and ``model``, which holds the same weights, in a torch loop
    in which ``attached`` is the method. Stops after every update."""
    ours = FlatOptimizer(stack.flat, stack.gradient, optimizer)
    gradients = stack.train_step(cross_entropy_gradient)
    gradients.keep_features = True
    if method.uses("feature_penalty"):
        gradients.feature_gradient = partial(feature_gradient, method)
    with torch.no_grad():
        method.setup(stack.layers, SeedRng((3,), "method", 0))
    generator = torch.Generator().manual_seed(0)
    for step in range(20):
        x = torch.randn(10, *stack.spec.inputs, generator=generator, dtype=torch.float64)
        y = torch.randint(4, (10,), generator=generator)
        theirs.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        theirs.step()
        with torch.no_grad():
            gradients(x.unsqueeze(0), nn.functional.one_hot(y, 4).double().unsqueeze(0))
            if method.uses("penalty"):
                add_penalty(method, stack.layers)
            method.before_update(stack.layers, ours)
            ours.step()
            method.after_update(stack.layers, ours)
            if step == 9:
                attached.task_end()
                if method.info.task_boundaries:
                    method.on_task_end(stack.layers, ours)
        yield


def serves_torch(subject: Subject) -> str:
    """Attached to a torch network and optimizer it does what it does in the benchmark's own learner."""
    from plasticity_bench.agents.adapters.torch_adapter import attach

    stack = StackedNetwork(PERCEPTRON, SeedRng((3,), "init"), torch.device("cpu"), torch.float64)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 4))
    for parameter, start in zip(model.parameters(), trainable(stack.layers), strict=True):
        parameter.data = start.detach()[0].clone()
    theirs = torch.optim.Adam(model.parameters(), 0.01)
    try:
        attached = attach(subject.make, model, theirs, seed=3)
    except InputError as error:
        raise DoesNotApply(str(error)) from error
    for _ in side_by_side(subject.make(), stack, OptimizerSpec("adam", 0.01), model, theirs, attached):
        pass
    for (name, wanted), found in zip(named(stack.layers).items(), model.parameters(), strict=True):
        if not torch.allclose(found, wanted[0], rtol=1e-6, atol=1e-9):
            raise Broken(
                f"attached to a torch network, {name} does not end as in the benchmark's learner",
                "use only lr, moments(parameter) and reset() of the optimizer, count dimensions from the end",
            )
    return "attach(...) to nn.Sequential and torch.optim.Adam: the numbers of the benchmark's learner"


def serves_sb3(subject: Subject) -> str:
    """Attached to stable-baselines3's PPO it trains, with the same bits twice."""
    try:
        ends = [_learn(subject) for _ in range(2)]
    except InputError as error:
        raise DoesNotApply(str(error)) from error
    if not ends[0].isfinite().all():
        raise Broken(
            "in stable-baselines3's PPO the weights are not finite", "look at small gradients and units"
        )
    if not same_bits(*ends):
        raise Broken("in stable-baselines3's PPO the same seed gives other numbers twice", SHARED)
    return "attach(...) to stable-baselines3's PPO"


def _learn(subject: Subject) -> torch.Tensor:
    from stable_baselines3 import PPO

    from plasticity_bench.agents.adapters.sb3 import attach

    kwargs: dict[str, Any] = {"net_arch": {"pi": [8, 6], "vf": [7]}}
    small: dict[str, Any] = {"n_steps": 16, "batch_size": 8, "n_epochs": 2, "policy_kwargs": kwargs}
    model = PPO("MlpPolicy", "CartPole-v1", seed=4, device="cpu", **small)
    attached = attach(model, subject.make)
    for _ in range(2):
        model.learn(32)
        attached.task_end()
    return nn.utils.parameters_to_vector(model.policy.parameters()).detach()


def costs(subject: Subject) -> str:
    """Time per update relative to plain training, both measured in turn; information only."""
    times: list[list[float]] = [[], []]
    learners = [subject.learner(range(8), method) for method in (NoMethod(), None)]
    while not all(made.finished for made in learners):
        for made, own in zip(learners, times, strict=True):
            task, began = made.task, time.perf_counter()
            while made.task == task:
                made.advance()
            own.append(time.perf_counter() - began)
    plain, ours = (statistics.median(own) for own in times)
    per_update = ours / subject.stream.steps * 1e3
    raise Measured(
        f"{ours / plain:.2f}x the time of none ({per_update:.2f} ms per update of 8 seeds together)"
    )
