"""Methods in stable-baselines3's PPO and A2C."""

from __future__ import annotations

import copy
import functools
import io
import pickle
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import gymnasium
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from torch import nn

from plasticity_bench.agents.adapters.sb3 import ArchitecturePolicy, attach, chains
from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.methods import Method, MethodInfo
from plasticity_bench.agents.networks import StackedNetwork
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.errors import InputError
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import NetworkSpec
from tests.support.attached import INSTANCES
from tests.support.method_names import ALWAYS_ON, ARCHITECTURES
from tests.support.paths import REPOSITORY

ALGORITHMS = ("ppo", "a2c")


def script(algorithm: str = "ppo", environment: Any = "CartPole-v1", **options: Any) -> Any:
    """What a user's script makes, with small networks of different sizes."""
    kwargs = {"net_arch": {"pi": [8, 6], "vf": [7]}, **options.pop("policy_kwargs", {})}
    settings = {"policy": "MlpPolicy", "seed": 4, "device": "cpu", **options, "policy_kwargs": kwargs}
    if algorithm == "a2c":
        return A2C(env=environment, **settings)
    return PPO(env=environment, **{"n_steps": 32, "batch_size": 16, "n_epochs": 2, **settings})


def numbers(model: Any) -> torch.Tensor:
    """All weights, and what the optimizer keeps."""
    kept = [v for s in model.policy.optimizer.state_dict()["state"].values() for v in s.values()]
    tensors = [*model.policy.parameters(), *(torch.as_tensor(value) for value in kept)]
    return torch.cat([tensor.detach().flatten().double() for tensor in tensors])


def trained(method: str, algorithm: str = "ppo", **options: Any) -> torch.Tensor:
    """``numbers`` after two tasks of seven or eight updates each; without a name nothing is attached."""
    fewer = {"n_steps": 16, "batch_size": 8} if algorithm == "ppo" else {}
    model = script(algorithm, **fewer, **options)
    attached = attach(method, model) if method else None
    for _ in range(2):
        model.learn(32)
        if attached:
            attached.task_end()
    return numbers(model)


#: The first training of each kind, for comparisons.
first = functools.cache(trained)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", INSTANCES)
def test_every_method_trains(name: str, algorithm: str) -> None:
    end = first(name, algorithm)
    assert torch.isfinite(end).all()
    if name == "none":
        assert torch.equal(end, first("", algorithm))
    elif name not in ("trac", "weight-clipping"):  # moves little, and clips only large weights, at first
        assert not torch.equal(end, first("", algorithm))


@pytest.mark.parametrize("name", INSTANCES)
def test_same_seed_same_bits(name: str) -> None:
    assert torch.equal(trained(name, "ppo"), first(name, "ppo"))


@pytest.mark.parametrize("name", sorted(set(METHODS) - ALWAYS_ON - ARCHITECTURES))
def test_zero_coefficient_is_plain_training_bit_for_bit(name: str) -> None:
    assert torch.equal(trained(f"{name}:{choose_method(name).cls.info.off}", "ppo"), first("", "ppo"))


@pytest.mark.parametrize(
    ("algorithm", "optimizer"), [("ppo", torch.optim.Adam), ("ppo", torch.optim.SGD), ("a2c", RMSpropTFLike)]
)
def test_l2_is_the_optimizers_weight_decay_bit_for_bit(algorithm: str, optimizer: Any) -> None:
    def kwargs(**options: float) -> Any:
        return {"policy_kwargs": {"optimizer_class": optimizer, "optimizer_kwargs": options}}

    decayed = trained("", algorithm, **kwargs(weight_decay=0.1))
    assert torch.equal(trained("l2:strength=0.1", algorithm, **kwargs()), decayed)
    assert not torch.equal(trained("", algorithm, **kwargs()), decayed)


@dataclass
class Penalty(Method):
    """L2 as a penalty."""

    info: ClassVar[MethodInfo] = MethodInfo(name="penalty", summary="L2")

    def penalty(self, layers: Any) -> torch.Tensor:
        return sum((p.square().sum() * 0.05 for layer in layers for p in layer.parameters()), torch.zeros(()))


def test_penalties_join_the_gradient_after_clipping() -> None:
    ends = []
    for method in (Penalty, "l2:strength=0.1"):
        model = script(max_grad_norm=0.01)
        attach(method, model)
        model.learn(64)
        ends.append(numbers(model))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-6)


def test_actor_and_critic_have_a_method_each_with_generators_of_their_own() -> None:
    model = script()
    layers = {name: part.layers for name, part in attach("syre", model).parts.items()}
    assert [layer.weight.shape for layer in layers["actor"]] == [(8, 4), (6, 8), (2, 6)]
    assert [layer.weight.shape for layer in layers["critic"]] == [(7, 4), (1, 7)]
    for key, (name, hidden, head) in enumerate((("actor", 2**0.5, 0.01), ("critic", 2**0.5, 1.0))):
        rng = SeedRng([4], "method", key, stacked=False)
        for layer in layers[name]:
            gain = hidden if layer.hidden else head
            assert layer.orthogonal == gain
            std = float(layer.weight.detach().square().mean().sqrt())
            assert std == pytest.approx(layer.initial_std(layer.weight), rel=1e-3)
            assert not layer.bias.any()
        torch.testing.assert_close(
            attach("syre:sigma=1", model).methods[name].offset[0],  # type: ignore[attr-defined]
            rng.normal(layers[name][0].weight) * layers[name][0].initial_std(layers[name][0].weight),
        )


def test_features_are_the_last_minibatchs_not_the_rollouts() -> None:
    model = script()
    attached = attach("cbp", model)
    seen: list[list[int]] = []
    part = attached.parts["actor"]
    model.policy.optimizer.register_step_pre_hook(
        lambda *_: seen.append(
            [len(layer.features) for layer in part.layers[:-1] if layer.features is not None]
        )
    )
    model.learn(64)
    model.predict(model.get_env().reset())
    assert seen == [[16, 16]] * 8
    features = part.layers[1].features
    assert features is not None
    assert features.shape == (16, 6)
    copy.deepcopy(model.policy)
    pickle.dumps(model.policy.mlp_extractor)


@pytest.mark.parametrize("sde", [False, True])
def test_reset_starts_a_gaussian_policy_anew(sde: bool) -> None:
    model = script(environment="Pendulum-v1", use_sde=sde, policy_kwargs={"log_std_init": -0.5})
    attached = attach("reset", model)
    model.learn(64)
    moved = model.policy.log_std.detach().clone()
    assert not torch.equal(moved, torch.full_like(moved, -0.5))
    attached.task_end()
    assert torch.equal(model.policy.log_std, torch.full_like(moved, -0.5))
    assert not model.policy.optimizer.state
    weight = model.policy.mlp_extractor.policy_net[2].weight.detach()
    torch.testing.assert_close(weight @ weight.T, 2 * torch.eye(6))
    model.learn(32)
    assert torch.isfinite(numbers(model)).all()


def test_without_orthogonal_initialisation_fresh_weights_are_torchs() -> None:
    model = script(policy_kwargs={"ortho_init": False})
    attached = attach("reset", model)
    attached.task_end()
    (layer, *_) = attached.parts["critic"].layers
    assert not layer.orthogonal
    assert 0.3 < float(layer.weight.detach().abs().max()) < 0.5
    assert layer.bias.any()


@pytest.mark.parametrize(
    "name", ["syre", "cbp:rate=0.2,maturity=2", "syre-offset-only:sigma=1", "trac", "upgd"]
)
def test_saved_and_loaded_training_goes_on_with_the_same_bits(name: str) -> None:
    model, file, states = script(), io.BytesIO(), io.BytesIO()
    attached = attach(name, model)
    model.learn(64)
    model.save(file)
    torch.save(attached.state_dict(), states)
    file.seek(0)
    states.seek(0)
    loaded = PPO.load(file, env=model.get_env(), device="cpu")
    attach(name, loaded, state=torch.load(states, weights_only=True))
    assert torch.equal(numbers(loaded), numbers(model))
    ends = []
    for made in (model, loaded):
        made.set_random_seed(9)
        made.learn(64)
        ends.append(numbers(made))
    assert torch.equal(*ends)


def test_learning_rate_schedules_reach_the_method() -> None:
    model = script(learning_rate=lambda left: 0.01 * left)
    optimizer = attach("none", model).parts["critic"].optimizer
    model.learn(64)
    assert optimizer.lr == model.policy.optimizer.param_groups[0]["lr"] == 0.0


class Shared(nn.Module):
    """An extractor as SB3's documentation has custom ones, with one network for both."""

    def __init__(self) -> None:
        super().__init__()
        self.policy_net = self.value_net = nn.Linear(4, 8)


def test_what_cannot_be_served_is_told_in_one_line() -> None:
    def line(make: Callable[[], Any], method: str = "l2") -> str:
        with pytest.raises(InputError) as caught:
            attach(method, make())
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def images() -> Any:
        return A2C("CnnPolicy", FakeImageEnv(screen_height=40, screen_width=40), device="cpu")

    def shared() -> Any:
        model = script()
        model.policy.mlp_extractor = Shared()
        return model

    assert "features_extractor.cnn.0.weight" in line(images)
    assert "DQN" in line(lambda: DQN("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu"))
    assert "share" in line(shared)
    assert "hidden units" in line(lambda: script(policy_kwargs={"net_arch": []}), "redo")
    for name in ARCHITECTURES:
        assert f"{name} changes the network" in line(script, name)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["crelu", "deep-fourier", "layer-norm", "layer-norm+deep-fourier"])
def test_architectures_are_those_of_the_learner_and_survive_saving(name: str, algorithm: str) -> None:
    model = script(algorithm, policy=ArchitecturePolicy, policy_kwargs={"architecture": name})
    attached = attach("l2-init" if "norm" not in name else "syre+reset", model)
    model.learn(64)
    attached.task_end()
    model.learn(64)
    assert torch.isfinite(numbers(model)).all()
    file, x = io.BytesIO(), torch.randn(5, 4)
    model.save(file)
    file.seek(0)
    loaded = type(model).load(file, device="cpu")
    policies = io.BytesIO()
    model.policy.save(policies)
    policies.seek(0)
    for policy in (loaded.policy, ArchitecturePolicy.load(cast(str, policies), device="cpu")):
        assert torch.equal(policy.predict_values(x), model.policy.predict_values(x))
    ours = chains(loaded.policy)["critic"].layers
    spec = create_method(name).network(NetworkSpec((4,), 1, (7,), activation="tanh"))
    stack = StackedNetwork(spec, SeedRng((0,), "init"), torch.device("cpu"), torch.float32)
    with torch.no_grad():
        for mine, theirs in zip(trainable(ours), trainable(stack.layers), strict=True):
            theirs.copy_(mine)
    torch.testing.assert_close(loaded.policy.predict_values(x), stack.forward(x.unsqueeze(0))[0])


def test_architecture_policy_takes_architectures_alone() -> None:
    for name in ("l2", "none", "layer-norm+l2", "crelu+reset"):
        with pytest.raises(InputError, match="attach the others"):
            script(policy=ArchitecturePolicy, policy_kwargs={"architecture": name})
    several = gymnasium.make("CartPole-v1")
    several.action_space = gymnasium.spaces.MultiDiscrete([2, 3])
    policy_kwargs = {"architecture": "crelu"}
    model = script(policy=ArchitecturePolicy, environment=several, policy_kwargs=policy_kwargs)
    assert model.policy.action_net.out_features == 5


def test_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["sb3_cartpole.py", "shrink-perturb", "64"])
    runpy.run_path(f"{REPOSITORY}/examples/sb3_cartpole.py", run_name="__main__")
    assert capsys.readouterr().out.count("return") == 2
