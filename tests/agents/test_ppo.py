"""Our PPO compared with stable-baselines3's, with autograd, and with itself: stacks, resume, every method."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from plasticity_bench.agents.normalize import Normalizer
from plasticity_bench.agents.policies import Categorical, Gaussian, Minibatch
from plasticity_bench.errors import InputError
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.specs import PPOSpec
from tests.support.control_bench import GymStream, PendulumStream, agent, finish, same, weights

STREAMS = {"choices": GymStream, "vectors": PendulumStream}


@pytest.mark.parametrize("kind", STREAMS)
def test_weights_are_those_of_stable_baselines3_bit_for_bit(kind: str) -> None:
    spec = PPOSpec(rollout=256, epochs=4, batch=64)
    stream = STREAMS[kind](tasks=1, rollouts=3, spec=spec, fused=False)
    ours = agent(stream=stream)
    theirs = PPO(
        "MlpPolicy",
        stream.make(),
        learning_rate=1e-3,
        n_steps=256,
        batch_size=64,
        n_epochs=4,
        policy_kwargs={"net_arch": list(stream.hidden), "activation_fn": torch.nn.ReLU},
        seed=0,
        device="cpu",
    )
    policy = theirs.policy
    extractor = policy.mlp_extractor
    modules: list[Any] = [*extractor.policy_net[::2], policy.action_net]
    modules += [*extractor.value_net[::2], policy.value_net]
    with torch.no_grad():
        for layer, module in zip((*ours.actor.layers, *ours.critic.layers), modules, strict=True):
            module.weight.copy_(layer.weight[0])
            module.bias.copy_(layer.bias[0])
    ours.rng.noise[0].set_state(torch.get_rng_state())
    ours.rng.order[0].set_state(np.random.get_state())  # noqa: NPY002
    theirs.learn(3 * 256)
    finish(ours)
    for layer, module in zip((*ours.actor.layers, *ours.critic.layers), modules, strict=True):
        assert torch.equal(layer.weight[0], module.weight)
        assert torch.equal(layer.bias[0], module.bias)
    if kind == "vectors":
        log_std = ours.actor.layers[-1].log_std
        assert log_std is not None
        assert torch.equal(log_std[0], policy.log_std)


@pytest.mark.parametrize("entropy", [0.0, 0.1])
@pytest.mark.parametrize("kind", STREAMS)
def test_gradient_is_that_of_autograd(kind: str, entropy: float) -> None:
    torch.manual_seed(0)
    spec = PPOSpec(entropy=entropy)
    outputs = torch.randn(2, 32, 3, requires_grad=True)
    advantages = torch.randn(2, 32)
    if kind == "choices":
        policy: Any = Categorical(spec)
        actions = torch.randint(3, (2, 32))
        made: Any = torch.distributions.Categorical(logits=outputs)
        log_prob, bonus = made.log_prob(actions), made.entropy()
    else:
        head = agent(seeds=(0, 1), stream=PendulumStream()).actor.layers[-1]
        log_std = head.log_std = torch.nn.Parameter(torch.randn(2, 3) / 2)
        log_std.grad = torch.zeros(2, 3)
        policy = Gaussian(head, spec)
        actions = torch.randn(2, 32, 3)
        scale = log_std.exp().unsqueeze(1).expand(2, 32, 3)
        made = torch.distributions.Normal(outputs, scale)
        log_prob, bonus = made.log_prob(actions).sum(-1), made.entropy().sum(-1)
    torch.testing.assert_close(policy.log_prob(outputs.detach(), actions), log_prob.detach())
    entropies = made.entropy().detach().view(2, 32, -1).sum(-1)
    torch.testing.assert_close(policy.entropy(outputs.detach()), entropies)
    old = log_prob.detach() + torch.randn(2, 32) / 3  # so that many ratios lie outside the clip range
    ratio = (log_prob - old).exp()
    surrogate = torch.minimum(advantages * ratio, advantages * ratio.clamp(0.8, 1.2))
    loss = (-surrogate.mean(1) - entropy * bonus.mean(1)).sum()
    wanted = [outputs] if kind == "choices" else [outputs, log_std]
    expected = torch.autograd.grad(loss, wanted)
    found = policy.gradient(outputs.detach(), Minibatch(actions, old, advantages))
    torch.testing.assert_close(found, expected[0])
    if kind == "vectors":
        torch.testing.assert_close(log_std.grad, expected[1])


@pytest.mark.parametrize("method", ["none", "cbp:rate=0.01,maturity=10", "syre+shrink-perturb"])
@pytest.mark.parametrize("kind", STREAMS)
def test_a_seed_does_not_depend_on_its_stack(kind: str, method: str) -> None:
    for environments in (1, 4):
        spec = PPOSpec(rollout=32, epochs=2, batch=16, environments=environments)
        stream = STREAMS[kind](spec=spec)
        together = finish(agent(method, (0, 1, 5), stream))
        for index, seed in enumerate((0, 1, 5)):
            alone = finish(agent(method, (seed,), stream))
            assert same(weights(alone), weights(together, index))
            assert str(alone.rows[0]) == str(together.rows[index])  # nan equals nan
            assert str(alone.rollouts[0]) == str(together.rollouts[index])


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("normalize", [False, True])
def test_a_resumed_run_is_bit_identical(kind: str, normalize: bool) -> None:
    spec = PPOSpec(
        rollout=32,
        epochs=2,
        batch=16,
        environments=2,
        normalize_observations=normalize,
        normalize_rewards=normalize,
    )
    stream = STREAMS[kind](tasks=3, rollouts=2, spec=spec)
    whole = agent("cbp:rate=0.01,maturity=10", (0, 3), stream)
    states = []
    while not whole.finished:
        states.append(copy.deepcopy(whole.state_dict()))
        whole.advance()
    for state in states:
        resumed = agent("cbp:rate=0.01,maturity=10", (0, 3), stream)
        resumed.load_state_dict(state)
        finish(resumed)
        assert all(same(weights(whole, s), weights(resumed, s)) for s in (0, 1))
        assert str(whole.rows) == str(resumed.rows)
        assert whole.rollouts == resumed.rollouts or normalize or str(whole.rollouts) == str(resumed.rollouts)


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("dropout", "batch-norm")])
def test_every_method_trains_both_networks(method: str, kind: str) -> None:
    spec = PPOSpec(rollout=64, epochs=2, batch=32, environments=2)
    stream = STREAMS[kind](rollouts=1, spec=spec, hidden=(16, 16))
    made = agent(method, (0, 1), stream)
    before = weights(made)
    finish(made)
    after = weights(made)
    assert all(tensor.isfinite().all() for tensor in after)
    assert not same(before, after)
    assert made.actor.method is not made.critic.method
    assert all(math.isfinite(row["final_performance"]) for rows in made.rows for row in rows)
    twice = finish(agent(method, (0, 1), stream))
    assert same(after, weights(twice))


@pytest.mark.parametrize("kind", STREAMS)
def test_the_policys_entropy_is_recorded(kind: str) -> None:
    """Of the last rollout's observations, by torch's distributions, with the weights at the task's end."""
    made = agent("none", (0, 1), STREAMS[kind](tasks=1, rollouts=2))
    finish(made)
    seen = made.observations.movedim(0, 2).flatten(1, 2)
    with torch.no_grad():
        outputs = made.actor.network.forward(seen)
    log_std = made.actor.layers[-1].log_std
    for s in (0, 1):
        if log_std is None:
            entropy = torch.distributions.Categorical(logits=outputs[s]).entropy().mean()
        else:
            entropy = (
                torch.distributions.Normal(outputs[s], log_std.detach()[s].exp()).entropy().sum(-1).mean()
            )
        assert made.rows[s][-1]["policy_entropy"] == pytest.approx(float(entropy), rel=1e-5)


def test_reset_restores_policy_value_and_exploration() -> None:
    made = agent("reset", (0,), PendulumStream(tasks=2, rollouts=1))
    log_std = made.actor.layers[-1].log_std
    assert log_std is not None
    made.advance()
    assert not log_std.any()
    for part in made.parts:
        assert not any(state.any() for state in part.optimizer.state.values())


def test_coefficient_zero_is_none() -> None:
    plain = finish(agent("none"))
    for method in ("l2:strength=0", "syre:strength=0", "cbp:rate=0", "spectral:strength=0"):
        assert same(weights(plain), weights(finish(agent(method)))), method


def test_methods_see_the_same_start() -> None:
    stream = GymStream()
    first, second = agent("none", (0,), stream), agent("syre", (0,), stream)
    assert same(weights(first), weights(second))
    np.testing.assert_array_equal(first.seen, second.seen)


def test_weights_that_are_not_numbers_are_reported_and_spare_the_others() -> None:
    for stream in (GymStream(), PendulumStream()):
        made, plain = agent("none", (0, 1), stream), finish(agent("none", (1,), stream))
        with torch.no_grad():
            made.actor.layers[0].weight[0] = float("nan")
            made.broken = made._broken()
        finish(made)
        assert all(math.isnan(row["final_performance"]) for row in made.rows[0])
        assert same(weights(made, 1), weights(plain))


def test_normalisation_is_that_of_stable_baselines3() -> None:
    stream = PendulumStream()
    theirs: Any = VecNormalize(DummyVecEnv([stream.make for _ in range(4)]), gamma=0.9)
    spec = PPOSpec(environments=4, gamma=0.9, normalize_observations=True, normalize_rewards=True)
    ours, rng = Normalizer(spec, 1, (3,)), np.random.default_rng(0)
    theirs.seed(3)
    seen = theirs.reset()
    np.testing.assert_allclose(ours.observe(theirs.get_original_obs()[None])[0], seen, rtol=1e-6)
    for _ in range(450):
        seen, rewards, done, _ = theirs.step(rng.uniform(-1, 1, (4, 1)).astype(np.float32))
        np.testing.assert_allclose(ours.observe(theirs.get_original_obs()[None])[0], seen, rtol=1e-5)
        scaled = ours.reward(theirs.get_original_reward()[None], done[None])
        np.testing.assert_allclose(scaled[0], rewards, rtol=1e-5)


def test_batch_must_divide_a_rollout() -> None:
    with pytest.raises(InputError, match="does not divide"):
        agent(stream=GymStream(spec=replace(PPOSpec(), rollout=100, batch=64)))


def test_performance_is_the_mean_return_of_the_last_fifth() -> None:
    made = agent(stream=GymStream(tasks=1, rollouts=10))
    finish(made)
    table = np.array(made.rollouts[0])
    number, mean = table[-2:, 2], table[-2:, 3]
    assert made.rows[0][0]["final_performance"] == pytest.approx((number * mean).sum() / number.sum())
    everything = (table[:, 2] * table[:, 3]).sum() / table[:, 2].sum()
    assert made.rows[0][0]["online_performance"] == pytest.approx(everything)
    assert made.rows[0][0]["episodes"] == table[:, 2].sum()
    assert table[:, 1].tolist() == [128 * (i + 1) for i in range(10)]
