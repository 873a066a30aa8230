"""Checks that a method works in PPO, in a torch loop and in stable-baselines3, and measures its cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from plasticity_bench.agents.layers import Layer, trainable
from plasticity_bench.agents.methods.none import NoMethod
from plasticity_bench.agents.networks import StackedNetwork, cross_entropy_gradient
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.agents.trained_network import TrainedNetwork
from plasticity_bench.contract.results import Broken, DoesNotApply, Doubtful, Information
from plasticity_bench.contract.stacking import FIX_ROUNDING, ROUNDING_TOLERANCE, RULE
from plasticity_bench.contract.subject import Subject, same_bits
from plasticity_bench.contract.watch import named
from plasticity_bench.errors import InputError
from plasticity_bench.registry.create import create_stream
from plasticity_bench.registry.learning_rate import with_learning_rate
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from plasticity_bench.tasks.base import ControlStream

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method

GRIDWORLD = "shuffled-gridworld:tasks=2,rollouts=1"
SMALL_NETWORK = NetworkSpec((6,), 4, (8, 5))
SHARED = (
    "actor and critic have a method each: keep state in attributes of self, never in globals or class "
    "attributes"
)


def serves_ppo(subject: Subject) -> str:
    """Actor and critic train in a small gridworld; a seed alone and in a stack are bit-identical."""
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
            if torch.allclose(now[1], other[0], rtol=ROUNDING_TOLERANCE, atol=ROUNDING_TOLERANCE / 10):
                raise Doubtful(f"{what} in its last digits", FIX_ROUNDING)
            raise Broken(what, f"{SHARED}; {RULE}")
    return "actor and critic train in a gridworld; a seed alone and in a stack: bit-identical"


def _act(subject: Subject, seeds: tuple[int, ...]) -> list[dict[str, torch.Tensor]]:
    """The parameters of actor and critic after two tasks of one rollout, with 16 updates each."""
    from plasticity_bench.agents.ppo import PPOLearner

    stream = create_stream(GRIDWORLD)
    assert isinstance(stream, ControlStream)
    optimizer = with_learning_rate(stream, subject.chosen)
    made = PPOLearner(stream, subject.make(), seeds, optimizer=optimizer)
    while not made.finished:
        made.advance()
    made.close()
    return [{name: p.detach() for name, p in named(part.layers).items()} for part in made.parts]


def train_both(
    make: Callable[[], Method],
    network: NetworkSpec,
    optimizer: OptimizerSpec,
    build: Callable[[list[Layer]], nn.Module],
) -> Iterator[tuple[list[Layer], nn.Module]]:
    """Trains the same network in the benchmark's learner and in a torch loop with the method attached.

    Both train two tasks of ten updates, on the same random examples of four classes.

    Args:
        make: Makes the method; called once for each of the two.
        network: Architecture of one seed; both compute in float64.
        optimizer: "adam" or "sgd", at torch's defaults apart from step size and momentum.
        build: Makes the torch module, with the weights of the layers that it is given.

    Yields:
        (the learner's layers, the torch module) after every update.

    Raises:
        InputError: if the method cannot be attached to the module.
    """
    from plasticity_bench.agents.adapters.torch_adapter import attach

    start = StackedNetwork(network, SeedRng((3,), "init"), torch.device("cpu"), torch.float64)
    model = build(start.layers)
    theirs: torch.optim.Optimizer = (
        torch.optim.Adam(model.parameters(), optimizer.lr)
        if optimizer.name == "adam"
        else torch.optim.SGD(model.parameters(), optimizer.lr, momentum=optimizer.momentum)
    )
    attached = attach(make, model, theirs, seed=3)
    ours = TrainedNetwork(
        network, optimizer, make(), SeedRng((3,), "init"), torch.device("cpu"), torch.float64
    )
    ours.setup(cross_entropy_gradient, SeedRng((3,), "method", 0))
    generator = torch.Generator().manual_seed(0)
    for update in range(20):
        x = torch.randn(10, *network.inputs, generator=generator, dtype=torch.float64)
        y = torch.randint(4, (10,), generator=generator)
        theirs.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        theirs.step()
        with torch.no_grad():
            ours.learn(x.unsqueeze(0), nn.functional.one_hot(y, 4).double().unsqueeze(0))
            if update == 9:
                attached.task_end()
                ours.end_task()
        yield ours.layers, model


def _torch_network(layers: list[Layer]) -> nn.Module:
    """``SMALL_NETWORK`` as a torch module with these weights."""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 4))
    for parameter, start in zip(model.parameters(), trainable(layers), strict=True):
        parameter.data = start.detach()[0].clone()
    return model


def serves_torch(subject: Subject) -> str:
    """Attached to a torch network and optimizer, it gives the results of the benchmark's learner."""
    try:
        for layers, model in train_both(
            subject.make, SMALL_NETWORK, OptimizerSpec("adam", 0.01), _torch_network
        ):
            ours, theirs = layers, model
    except InputError as error:
        raise DoesNotApply(str(error)) from error
    for (name, expected), found in zip(named(ours).items(), theirs.parameters(), strict=True):
        if not torch.allclose(found, expected[0], rtol=1e-6, atol=1e-9):
            raise Broken(
                f"attached to a torch network, {name} does not end as in the benchmark's learner",
                "use only lr, moments(parameter), counts(parameter) and reset() of the optimizer, count "
                "dimensions from the end",
            )
    return "attach(...) to nn.Sequential and torch.optim.Adam: the results of the benchmark's learner"


def serves_sb3(subject: Subject) -> str:
    """Attached to stable-baselines3's PPO it trains; two runs are bit-identical."""
    try:
        ends = [_learn(subject) for _ in range(2)]
    except InputError as error:
        raise DoesNotApply(str(error)) from error
    if not ends[0].isfinite().all():
        raise Broken(
            "in stable-baselines3's PPO the weights are not finite", "look at small gradients and units"
        )
    if not same_bits(*ends):
        raise Broken("in stable-baselines3's PPO the same seed gives different results", SHARED)
    return "attach(...) to stable-baselines3's PPO"


def _learn(subject: Subject) -> torch.Tensor:
    from stable_baselines3 import PPO

    from plasticity_bench.agents.adapters.sb3 import attach

    kwargs: dict[str, Any] = {"net_arch": {"pi": [8, 6], "vf": [7]}}
    small: dict[str, Any] = {"n_steps": 16, "batch_size": 8, "n_epochs": 2, "policy_kwargs": kwargs}
    model = PPO("MlpPolicy", "CartPole-v1", seed=4, device="cpu", **small)
    attached = attach(subject.make, model)
    for _ in range(2):
        model.learn(32)
        attached.task_end()
    return nn.utils.parameters_to_vector(model.policy.parameters()).detach()


def costs(subject: Subject) -> str:
    """Time per update relative to plain training, for information only. Both are timed alternately."""
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
    raise Information(
        f"{ours / plain:.2f}x the time of none ({per_update:.2f} ms per update of 8 seeds together)"
    )
