"""The agent and the environment together: our PPO on our Ant, stable-baselines3's on the published one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
import pybullet_envs_gymnasium  # noqa: F401  # registers AntBulletEnv-v0
import torch
from stable_baselines3 import PPO

from plasticity_bench.seeding import generator
from plasticity_bench.specs import OptimizerSpec, PPOSpec
from plasticity_bench.tasks.ant import StationaryAnt
from tests.support.control_bench import agent

STEPS, BATCH, EPOCHS, ROLLOUTS = 512, 128, 2, 3  # more than one episode


@dataclass(frozen=True)
class SmallAnt(StationaryAnt):
    """Short rollouts, and Adam as torch has it by default."""

    @property
    def ppo(self) -> PPOSpec:
        return replace(super().ppo, rollout=STEPS, batch=BATCH, epochs=EPOCHS)

    @property
    def optimizer(self) -> OptimizerSpec:
        return replace(super().optimizer, fused=False)


def test_weights_are_those_of_stable_baselines3_on_the_published_ant() -> None:
    ours = agent(stream=SmallAnt(tasks=1, rollouts=ROLLOUTS))
    theirs = PPO(
        "MlpPolicy",
        gymnasium.make("AntBulletEnv-v0"),
        learning_rate=1e-4,
        n_steps=STEPS,
        batch_size=BATCH,
        n_epochs=EPOCHS,
        policy_kwargs={"net_arch": [256, 256], "activation_fn": torch.nn.ReLU},
        seed=0,
        device="cpu",
    )
    start = int(generator(0, "data", 0).integers(2**31))  # the start of the task
    theirs.get_env().seed(start)  # type: ignore[union-attr]
    policy = theirs.policy
    modules: list[Any] = [*policy.mlp_extractor.policy_net[::2], policy.action_net]
    modules += [*policy.mlp_extractor.value_net[::2], policy.value_net]
    layers = (*ours.actor.layers, *ours.critic.layers)
    with torch.no_grad():
        for layer, module in zip(layers, modules, strict=True):
            module.weight.copy_(layer.weight[0])
            module.bias.copy_(layer.bias[0])
    ours.rng.noise[0].set_state(torch.get_rng_state())
    ours.rng.order[0].set_state(np.random.get_state())  # noqa: NPY002
    before = layers[0].weight.detach().clone()
    theirs.learn(ROLLOUTS * STEPS)
    while not ours.finished:
        ours.advance()
    ours.close()
    theirs.get_env().close()  # type: ignore[union-attr]
    assert sum(rollout[2] for rollout in ours.rollouts[0]) >= 1, "an episode ended, and another began"
    assert not torch.equal(layers[0].weight, before)
    for layer, module in zip(layers, modules, strict=True):
        assert torch.equal(layer.weight[0], module.weight)
        assert torch.equal(layer.bias[0], module.bias)
    log_std = ours.actor.layers[-1].log_std
    assert log_std is not None
    assert torch.equal(log_std[0], policy.log_std)
