"""Diagnostics of agents that act: of policy and value network, on observations of a task's last rollout."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from plasticity_bench.agents import diagnostics
from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.policies import Policy
from plasticity_bench.agents.probe import probe_retention
from plasticity_bench.agents.rng import SeedRng
from plasticity_bench.agents.trained_network import TrainedNetwork

#: Observations on which diagnostics are measured.
PROBE_OBSERVATIONS = 1000
#: Diagnostics that are recorded for the critic too.
OF_CRITIC = ("dormant_fraction", "dead_fraction", "effective_rank", "stable_rank")


def agent_diagnostics(
    actor: TrainedNetwork,
    critic: TrainedNetwork,
    policy: Policy,
    observations: torch.Tensor,
    rngs: Sequence[SeedRng],
) -> dict[str, torch.Tensor]:
    """Units, ranks and the probe of the policy (and some of the critic), the policy's entropy, norms of both.

    Args:
        actor: The policy networks.
        critic: The value networks.
        policy: What the actor's outputs mean.
        observations: Of the last rollout, ``(S, N, *inputs)``, on the networks' device.
        rngs: Random numbers of the probe for actor and critic. Empty: the probe does not run.

    Returns:
        Column -> values ``(S,)``.
    """
    probe = observations[:, :: -(-observations.shape[1] // PROBE_OBSERVATIONS)]
    outputs, _ = (part.network.forward(probe) for part in (actor, critic))
    columns, of_critic = (diagnostics.layer_diagnostics(part.layers) for part in (actor, critic))
    columns |= {f"critic_{name}": of_critic[name] for name in OF_CRITIC}
    log_std = actor.layers[-1].log_std
    if log_std is not None:
        columns["action_std"] = log_std.detach().exp().mean(-1)
    entropy = policy.entropy(outputs)
    columns["policy_entropy"] = diagnostics.sum_per_seed(entropy) / entropy.shape[1]
    for name, part, rng in zip(("", "critic_"), (actor, critic), rngs, strict=False):
        columns[f"{name}probe_retention"] = probe_retention([part.network], probe, rng)
    parameters = [parameter for part in (actor, critic) for parameter in trainable(part.layers)]
    return {**columns, "weight_norm": diagnostics.norm(parameters)}
