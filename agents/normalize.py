"""Running normalisation of observations and rewards, seed by seed: stable-baselines3's VecNormalize."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from plasticity_bench.specs import PPOSpec

NORMALIZED_LIMIT = 10.0
VARIANCE_EPSILON = 1e-8


class RunningMoments:
    """Running mean and variance, ``(S, *shape)``, by the parallel algorithm of Chan et al. 1979."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mean, self.variance, self.count = np.zeros(shape), np.ones(shape), 1e-4

    def update(self, values: np.ndarray) -> None:
        """Takes values ``(S, E, *shape)`` into account."""
        mean, variance, count = values.mean(1), values.var(1), values.shape[1]
        delta, total = mean - self.mean, self.count + count
        squares = self.variance * self.count + variance * count
        squares += np.square(delta) * self.count * count / total
        self.mean = self.mean + delta * count / total
        self.variance, self.count = squares / total, total

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        tensors = {"mean": torch.from_numpy(self.mean), "variance": torch.from_numpy(self.variance)}
        return {**tensors, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores ``state_dict``."""
        self.mean, self.variance = state["mean"].numpy().copy(), state["variance"].numpy().copy()
        self.count = state["count"]


def scale(observations: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Standardised observations, clipped to +-``NORMALIZED_LIMIT``: float32."""
    scaled = (observations - mean) / np.sqrt(variance + VARIANCE_EPSILON)
    return np.clip(scaled, -NORMALIZED_LIMIT, NORMALIZED_LIMIT).astype(np.float32)


class Normalizer:
    """Normalises observations and rewards, each only if the spec says so.

    Args:
        spec: Settings of PPO.
        seeds: Number of seeds S.
        inputs: Shape of an observation.
    """

    def __init__(self, spec: PPOSpec, seeds: int, inputs: tuple[int, ...]) -> None:
        self.gamma = spec.gamma
        self.observations = RunningMoments((seeds, *inputs)) if spec.normalize_observations else None
        self.returns = RunningMoments((seeds,)) if spec.normalize_rewards else None
        self.running = np.zeros((seeds, spec.environments))  # discounted returns

    def observe(self, observations: np.ndarray) -> np.ndarray:
        """Takes observations ``(S, E, *inputs)`` into account, and returns them normalised."""
        if self.observations is None:
            return observations
        self.observations.update(observations)
        return self.scaled(observations)

    def scaled(self, observations: np.ndarray) -> np.ndarray:
        """Normalised observations; the running statistics stay as they are."""
        if self.observations is None:
            return observations
        return scale(observations, self.observations.mean[:, None], self.observations.variance[:, None])

    def reward(self, rewards: np.ndarray, done: np.ndarray) -> np.ndarray:
        """Takes rewards ``(S, E)`` into account, and returns them divided by the standard deviation of the
        discounted return."""
        if self.returns is None:
            return rewards
        self.running = self.running * self.gamma + rewards
        self.returns.update(self.running)
        self.running[done] = 0
        return np.clip(
            rewards / np.sqrt(self.returns.variance[:, None] + VARIANCE_EPSILON),
            -NORMALIZED_LIMIT,
            NORMALIZED_LIMIT,
        )

    def of_seed(self, seed: int) -> dict[str, torch.Tensor]:
        """Mean and variance of a seed's observations; empty if they are not normalised."""
        if self.observations is None:
            return {}
        found = self.observations.mean[seed], self.observations.variance[seed]
        return dict(zip(("mean", "variance"), map(torch.from_numpy, found), strict=True))

    def restart(self) -> None:
        """To be called when all episodes were cut."""
        self.running[:] = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        parts = {"observations": self.observations, "returns": self.returns}
        state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items() if part}
        return {**state, "running": torch.from_numpy(self.running)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores ``state_dict``."""
        if self.observations is not None:
            self.observations.load_state_dict(state["observations"])
        if self.returns is not None:
            self.returns.load_state_dict(state["returns"])
        self.running = state["running"].numpy().copy()
