"""What PPO computes from rewards: advantages for the update, and mean returns for the results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plasticity_bench.specs import PPOSpec


def generalised_advantages(
    rewards: np.ndarray, values: np.ndarray, last_value: np.ndarray, starts: np.ndarray, spec: PPOSpec
) -> np.ndarray:
    """Generalised advantage estimates (arXiv:1506.02438), computed in float32 as in stable-baselines3.

    Args:
        rewards: ``(T, S, E)``: steps of a rollout, seeds, environments of a seed.
        values: The critic's, before each step: ``(T, S, E)``.
        last_value: The critic's, after the last step: ``(S, E)``.
        starts: 1 if an episode begins at a step, else 0: ``(T + 1, S, E)``.
        spec: For the discount and lambda.

    Returns:
        The advantages ``(T, S, E)``.
    """
    following = np.concatenate([values[1:], last_value[None]])
    goes_on = 1.0 - starts[1:]
    advantages = rewards + spec.gamma * following * goes_on - values  # so far of one step
    decay = spec.gamma * spec.gae_lambda * goes_on
    for t in reversed(range(spec.rollout - 1)):
        advantages[t] += decay[t] * advantages[t + 1]
    return advantages


def mean_returns(rollouts: Sequence[Sequence[float]]) -> dict[str, float]:
    """Columns of a task's row, from its rollouts.

    Args:
        rollouts: Task, environment steps done, and number, mean return and mean length of the episodes that
            ended in the rollout.

    Returns:
        Number of episodes, mean return over the task and over the last fifth of its rollouts, mean length.
    """
    table = np.array(rollouts)
    late = table[-max(1, len(table) // 5) :]
    row = {"episodes": float(table[:, 2].sum())}
    for name, part, column in (
        ("online_performance", table, 3),
        ("final_performance", late, 3),
        ("episode_length", table, 4),
    ):
        number = part[:, 2]
        mean = np.nansum(number * part[:, column]) / number.sum() if number.sum() else np.nan
        row[name] = float(mean)
    return row
