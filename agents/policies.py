"""Distributions over actions, given a policy network's outputs, and PPO's gradient with respect to the
outputs.

Gradients are written out by hand, as autograd on these few numbers would take as long as the networks. The
order of operations is that of stable-baselines3 and autograd, so that the results are bit-identical to
theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from plasticity_bench.agents.layers import Layer
from plasticity_bench.specs import PPOSpec


@dataclass
class Minibatch:
    """The examples of a gradient step of the policy.

    Args:
        actions: ``(S, B)``, or ``(S, B, A)`` if they are vectors.
        old_log_prob: Their log probability under the policy that acted: ``(S, B)``.
        advantages: ``(S, B)``.
    """

    actions: torch.Tensor
    old_log_prob: torch.Tensor
    advantages: torch.Tensor


#: Called with a step of the rollout whose outputs are there; writes the actions of that step.
Sampler = Callable[[int], None]


class Policy(Protocol):
    """A distribution over actions for S seeds, given a network's outputs ``(S, N, outputs)``."""

    def sampler(
        self, generators: Sequence[torch.Generator], outputs: torch.Tensor, actions: torch.Tensor
    ) -> Sampler:
        """Prepares a rollout: draws the noise of all steps, which does not depend on the outputs.

        Args:
            generators: One for each seed.
            outputs: ``(T, S, E, outputs)``, on the CPU; written while the rollout runs.
            actions: ``(T, S, E)``, or ``(T, S, E, A)`` if they are vectors; the sampler writes them.
        """

    def log_prob(self, outputs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Log probabilities ``(..., N)``, from outputs ``(..., N, outputs)`` whose dimension -3 is S."""

    def entropy(self, outputs: torch.Tensor) -> torch.Tensor:
        """Entropy of the actions in nats, ``(S, N)``, from outputs ``(S, N, outputs)``."""

    def gradient(self, outputs: torch.Tensor, batch: Minibatch) -> torch.Tensor:
        """d(PPO's loss)/d(outputs), one loss per seed; sets the gradient of log_std if there is one."""


def surrogate_gradient(log_prob: torch.Tensor, batch: Minibatch, clip: float) -> torch.Tensor:
    """d(clipped surrogate loss)/d(log_prob), one mean per seed: ``(S, B)`` (Schulman et al. 2017, Eq. 7)."""
    ratio = (log_prob - batch.old_log_prob).exp()
    inside = (ratio >= 1 - clip) & (ratio <= 1 + clip)
    plain = batch.advantages * ratio
    clipped = batch.advantages * ratio.clamp(1 - clip, 1 + clip)
    # Outside the clip range there is a gradient only if the plain term is the lower one.
    active = (inside | (plain < clipped)).to(ratio.dtype)
    return active.mul_(-1 / ratio.shape[-1]).mul_(batch.advantages).mul_(ratio)


class Gaussian:
    """Independent Gaussians; the outputs are their means, ``head.log_std`` (S, A) their log deviations."""

    def __init__(self, head: Layer, spec: PPOSpec) -> None:
        assert head.log_std is not None
        self.log_std, self.spec = head.log_std, spec

    def sampler(
        self, generators: Sequence[torch.Generator], outputs: torch.Tensor, actions: torch.Tensor
    ) -> Sampler:
        for rows, generator in zip(actions.unbind(1), generators, strict=True):
            for row in rows.unbind(0):  # one by one: numbers that are drawn together are different ones
                row.normal_(generator=generator)
        actions.mul_(self._scale().cpu())
        chosen, means = actions.numpy(), outputs.numpy()

        def sample(step: int) -> None:
            chosen[step] += means[step]

        return sample

    def log_prob(self, outputs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        scale = self._scale()
        squared = (actions - outputs).square_().neg_()
        constant = math.log(math.sqrt(2 * math.pi))
        return squared.div_(2 * scale.square()).sub_(scale.log()).sub_(constant).sum(-1)

    def entropy(self, outputs: torch.Tensor) -> torch.Tensor:
        constant = math.log(math.sqrt(2 * math.pi * math.e))
        own = (self.log_std.detach() + constant).sum(-1, keepdim=True)
        return own.expand(outputs.shape[:-1])

    def gradient(self, outputs: torch.Tensor, batch: Minibatch) -> torch.Tensor:
        scale = self._scale()
        difference = batch.actions - outputs
        negative = difference.square().neg_()
        twice_variance = 2 * scale.square()
        scores = negative / twice_variance
        constant = math.log(math.sqrt(2 * math.pi))
        log_prob = (scores - scale.log()).sub_(constant).sum(-1)
        upstream = surrogate_gradient(log_prob, batch, self.spec.clip).unsqueeze(-1)
        # Through the variance, then through the normalisation, of every example.
        of_scale = (-upstream * (scores / twice_variance)).mul_(2).mul_(2 * scale)
        of_scale -= upstream / scale
        of_log_std = _sum_rows(of_scale) * scale.squeeze(1)
        if self.spec.entropy:  # a Gaussian's entropy grows by 1 per unit of log_std
            of_log_std -= self.spec.entropy
        assert self.log_std.grad is not None
        self.log_std.grad.copy_(of_log_std)
        return (upstream / twice_variance).mul_(2 * difference)

    def _scale(self) -> torch.Tensor:
        return self.log_std.detach().exp().unsqueeze(-2)  # (S, 1, A)


class Categorical:
    """Discrete actions; the outputs are their logits."""

    def __init__(self, spec: PPOSpec) -> None:
        self.spec = spec

    def sampler(
        self, generators: Sequence[torch.Generator], outputs: torch.Tensor, actions: torch.Tensor
    ) -> Sampler:
        # As torch.multinomial draws one of each row: the largest probability over exponential noise.
        noise = torch.empty_like(outputs)
        for rows, generator in zip(noise.unbind(1), generators, strict=True):
            for row in rows.unbind(0):  # one by one: numbers that are drawn together are different ones
                row.exponential_(generator=generator)
        numbers, chosen, logits = noise.numpy(), actions.numpy(), outputs.unbind(0)

        def sample(step: int) -> None:
            probabilities = torch.softmax(_normalised(logits[step]), -1).numpy()
            (probabilities / numbers[step]).argmax(-1, out=chosen[step])

        return sample

    def log_prob(self, outputs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return _normalised(outputs).gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def entropy(self, outputs: torch.Tensor) -> torch.Tensor:
        logits = _normalised(outputs)
        return -(logits.exp() * logits).sum(-1)

    def gradient(self, outputs: torch.Tensor, batch: Minibatch) -> torch.Tensor:
        logits = _normalised(outputs)
        log_prob = logits.gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        upstream = surrogate_gradient(log_prob, batch, self.spec.clip).unsqueeze(-1)
        probabilities = logits.exp()
        gradient = probabilities * -upstream
        gradient.scatter_add_(-1, batch.actions.unsqueeze(-1), upstream)
        if self.spec.entropy:
            entropy = -(probabilities * logits).sum(-1, keepdim=True)
            gradient += (self.spec.entropy / outputs.shape[-2]) * probabilities * (logits + entropy)
        return gradient


def _normalised(logits: torch.Tensor) -> torch.Tensor:
    return logits - logits.logsumexp(-1, keepdim=True)


def _sum_rows(values: torch.Tensor) -> torch.Tensor:
    """``(S, B, A)`` to ``(S, A)``, one seed after the other: the order in which torch adds depends on the
    shape."""
    return torch.stack([rows.sum(0) for rows in values.unbind(0)])
