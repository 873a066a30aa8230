"""PPO for a stack of seeds: S agents of one method in S sets of environments, trained as batched networks.

The algorithm and its details are stable-baselines3's (Schulman et al. 2017, arXiv:1707.06347; generalised
advantages, arXiv:1506.02438): without a method, the weights that a seed with one environment ends with are
those of stable-baselines3's PPO, bit for bit (tests/agents/test_ppo.py). Policy and value network are
separate; a method acts on each by itself, at every gradient step.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from plasticity_bench.agents import diagnostics
from plasticity_bench.agents.agent_diagnostics import agent_diagnostics
from plasticity_bench.agents.clipping import GradientClipper
from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.normalize import Normalizer
from plasticity_bench.agents.policies import Categorical, Gaussian, Minibatch, Policy
from plasticity_bench.agents.returns import generalised_advantages, mean_returns
from plasticity_bench.agents.rng import PolicyRng, SeedRng
from plasticity_bench.agents.trained_network import TrainedNetwork
from plasticity_bench.errors import InputError
from plasticity_bench.seeding import Twin, data_seeds
from plasticity_bench.specs import OptimizerSpec, check_acting, is_measured, is_probed
from plasticity_bench.tasks.base import ControlStream


class PPOLearner:
    """Trains agents with PPO, one per seed, rollout by rollout.

    ``rows[s]`` holds a row of results for every finished task of seed s. ``rollouts[s]`` holds for every
    rollout: its task, the environment steps done, and number, mean return and mean length of the episodes
    that ended in it.

    Args:
        stream: What they train on, with the settings of PPO.
        method: The plasticity method, not set up yet; actor and critic get a copy each.
        seeds: Trained together as one stack, or twins of them; results of one do not depend on the others.
        optimizer: Replaces the stream's.
        device: Where the networks train. The environments run on the CPU.
        first_task: The task that they start with.

    Raises:
        InputError: The method cannot train an agent, or the batch does not divide a rollout.
    """

    def __init__(
        self,
        stream: ControlStream,
        method: Method,
        seeds: Sequence[int] | Sequence[Twin],
        *,
        optimizer: OptimizerSpec | None = None,
        device: str | torch.device = "cpu",
        first_task: int = 0,
    ) -> None:
        self.stream, self.first_task, self.device = stream, first_task, torch.device(device)
        self.seeds: list[Any] = list(seeds)
        self.spec = stream.ppo
        self.examples = self.spec.rollout * self.spec.environments  # of one seed, per rollout
        if self.examples % self.spec.batch:
            raise InputError(
                f"batch {self.spec.batch} does not divide the {self.examples} steps of a rollout"
            )
        spec, optimizer = stream.network, optimizer or stream.optimizer
        self.actor, self.critic = self.parts = tuple(
            TrainedNetwork(s, optimizer, copy.deepcopy(method), SeedRng(seeds, "init", key), self.device)
            for key, s in enumerate((spec, replace(spec, outputs=1, log_std=False)))
        )
        check_acting(self.actor.network.spec, method.info.name)
        head = self.actor.layers[-1]
        self.policy: Policy = Categorical(self.spec) if stream.discrete else Gaussian(head, self.spec)
        self.actor.setup(self.policy.gradient, SeedRng(seeds, "method", 0))
        self.critic.setup(self._value_gradient, SeedRng(seeds, "method", 1))
        self.clipper = GradientClipper(self.actor, self.critic, self.spec.max_grad_norm)
        self.rng = PolicyRng(seeds)
        self.normalizer = Normalizer(self.spec, len(self.seeds), spec.inputs)
        self.task, self.rollout = first_task, 0
        self.rows: list[list[dict[str, float]]] = [[] for _ in seeds]
        self.rollouts: list[list[list[float]]] = [[] for _ in seeds]
        self._allocate(spec.inputs, spec.outputs)
        self.worlds = stream.worlds(data_seeds(seeds))
        self._begin_task()

    @property
    def finished(self) -> bool:
        """Whether all tasks are done."""
        return self.task >= self.stream.tasks

    @property
    def progress(self) -> int:
        """Steps done so far in the environments of one seed, of ``total``."""
        return (self.task * self.stream.rollouts + self.rollout) * self.examples

    @property
    def total(self) -> int:
        """Number of steps of the whole stream in the environments of one seed."""
        return self.stream.tasks * self.stream.steps

    @torch.no_grad()
    def advance(self) -> None:
        """One rollout and the update after it; at the end of a task also its row and ``on_task_end``."""
        last = self.rollout + 1 == self.stream.rollouts
        self._collect()
        norms = self._learn(last and self._is_measured())
        self.rollout += 1
        if last:
            self._end_task(norms)
        self.broken = self._broken()

    def _is_measured(self) -> bool:
        """Whether diagnostics are taken at the end of the task."""
        return is_measured(self.task, self.stream.tasks)

    def policy_state(self, index: int) -> dict[str, Any]:
        """The policy of a seed: the actor's parameters and extras, and the normalisation of observations."""
        weights = [p.detach()[index].cpu().clone() for p in trainable(self.actor.layers)]
        extras = self.actor.network.extras(slice(index, index + 1))
        return {"weights": weights, **extras, **self.normalizer.of_seed(index)}

    def close(self) -> None:
        """Frees the environments."""
        self.worlds.close()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on; only plain values and tensors."""
        arrays = {name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}
        return {
            "task": self.task,
            "rollout": self.rollout,
            "trained": [part.state_dict() for part in self.parts],
            "rng": self.rng.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            "worlds": self.worlds.state_dict(),
            "rows": self.rows,
            "rollouts": self.rollouts,
            **arrays,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned, in a learner that has not begun; it continues bit for
        bit."""
        for part, saved in zip(self.parts, state["trained"], strict=True):
            part.load_state_dict(saved)
        self.rng.load_state_dict(state["rng"])
        self.normalizer.load_state_dict(state["normalizer"])
        self.worlds.load_state_dict(state["worlds"])
        self.rows, self.rollouts = state["rows"], state["rollouts"]
        self.task, self.rollout = state["task"], state["rollout"]
        for name in _ARRAYS:
            setattr(self, name, state[name].cpu().numpy().copy())
        self.broken = self._broken()

    def _allocate(self, inputs: tuple[int, ...], outputs: int) -> None:
        time, shape = self.spec.rollout, (len(self.seeds), self.spec.environments)
        self.observations = torch.zeros(time, *shape, *inputs)
        kind, tail = (torch.int64, ()) if self.stream.discrete else (torch.float32, (outputs,))
        self.actions = torch.zeros(time, *shape, *tail, dtype=kind)
        self.outputs = torch.zeros(time, *shape, outputs)
        self.values = torch.zeros(time, *shape)
        self.rewards = np.zeros((time, *shape), np.float32)
        self.starts = np.ones((time + 1, *shape), np.float32)  # 1 if an episode begins
        self.returns, self.lengths = np.zeros(shape), np.zeros(shape, np.int64)  # of the running episodes
        self.losses = np.zeros(len(self.seeds))  # mean squared error of the values, summed over the task
        self.broken = self._broken()

    def _begin_task(self) -> None:
        self.worlds.begin(self.task)
        self.normalizer.restart()
        self.seen = self.normalizer.observe(self.worlds.observations)
        self.starts[-1] = 1
        self.returns[:], self.lengths[:], self.losses[:] = 0, 0, 0

    def _collect(self) -> None:
        """Acts for one rollout, and records the episodes that end in it."""
        self.starts[0] = self.starts[-1]
        episodes = np.zeros((3, len(self.seeds)))  # number, returns and lengths of those that ended
        seen, chosen = self.observations.numpy(), self.actions.numpy()
        broken = torch.from_numpy(self.broken) if self.broken.any() else None
        worlds, normalizer = self.worlds, self.normalizer
        acting = self.actor.gradients.steppers(self.observations, self.outputs)
        draw = self.policy.sampler(self.rng.noise, self.outputs, self.actions)
        for t in range(self.spec.rollout):
            seen[t] = self.seen
            for act in acting:
                act(t)
            if broken is not None:  # weights that are nan: it acts at random, and its rows say nan
                self.outputs[t, broken] = 0
            draw(t)
            action = chosen[t] if self.stream.discrete else np.maximum(np.minimum(chosen[t], 1), -1)
            step = worlds.step(action if broken is None else np.nan_to_num(action))
            self.seen = normalizer.observe(worlds.observations)
            done = step.terminated | step.truncated
            self.starts[t + 1] = done
            self.rewards[t] = normalizer.reward(step.rewards, done)
            self.returns += step.rewards
            self.lengths += 1
            if done.any():
                episodes += [done.sum(1), (self.returns * done).sum(1), (self.lengths * done).sum(1)]
                self.returns[done], self.lengths[done] = 0, 0
                cut = step.truncated & ~step.terminated
                if cut.any():
                    self.rewards[t] += self.spec.gamma * self._value(normalizer.scaled(step.final)) * cut
        x = self.observations.to(self.device)
        values = x.new_empty(*self.values.shape, 1)
        for evaluate in self.critic.gradients.steppers(x, values):
            for t in range(self.spec.rollout):
                evaluate(t)
        self.values.copy_(values.squeeze(-1))
        for rollouts, (number, returns, lengths) in zip(self.rollouts, episodes.T.tolist(), strict=True):
            means = [returns / number, lengths / number] if number else [float("nan")] * 2
            rollouts.append([self.task, self.progress + self.examples, int(number), *means])

    def _value(self, observations: np.ndarray) -> np.ndarray:
        """The critic's value of scaled observations: ``(S, E)``."""
        x = torch.from_numpy(observations).to(self.device)
        return self.critic.gradients.outputs(x).squeeze(-1).cpu().numpy()

    def _value_gradient(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """d(value * mean squared error)/d(outputs), one loss per seed: ``(S, B, 1)``."""
        return (outputs - targets.unsqueeze(-1)).mul_(2 / targets.shape[-1]).mul_(self.spec.value)

    def _learn(self, measured: bool) -> dict[str, torch.Tensor]:
        """The update after a rollout. Returns the norms of its last gradient step if ``measured``."""
        values = self.values.numpy()
        estimates = generalised_advantages(
            self.rewards, values, self._value(self.seen), self.starts, self.spec
        )
        for s in range(len(self.seeds)):
            self.losses[s] += np.square(estimates[:, s].copy(), dtype=np.float64).mean()
        arrays = (self.observations, self.actions, self.outputs, estimates, estimates + values)
        x, actions, outputs, advantages, targets = (
            # As stable-baselines3 counts examples: (T, S, E, ...) to (S, E * T, ...).
            torch.as_tensor(array).to(self.device).movedim(0, 2).flatten(1, 2)
            for array in arrays
        )
        log_prob = self.policy.log_prob(outputs, actions)
        rollout = [tensor.flatten(0, 1) for tensor in (x, actions, log_prob, advantages, targets)]
        last = self.spec.epochs * self.examples // self.spec.batch - 1
        before: list[torch.Tensor] = []
        norms: dict[str, torch.Tensor] = {}
        for epoch in range(self.spec.epochs):
            chosen = self._batches()
            # Selecting rows by a flat index is faster than by a table of indices.
            x, actions, old_log_prob, advantages, targets = (
                tensor.index_select(0, chosen.flatten()).view(*chosen.shape, *tensor.shape[1:])
                for tensor in rollout
            )
            if self.spec.normalize_advantage:
                deviation = advantages.std(-1, keepdim=True)
                advantages = (advantages - advantages.mean(-1, keepdim=True)) / (deviation + 1e-8)
            for i in range(len(chosen)):
                self.actor.gradients(x[i], Minibatch(actions[i], old_log_prob[i], advantages[i]))
                self.critic.gradients(x[i], targets[i])
                if measured and epoch * len(chosen) + i == last:
                    before = [p.detach().clone() for p in self._trainable()]
                    norms["gradient_norm"] = diagnostics.norm(self.clipper.gradients)
                for part in self.parts:
                    part.add_penalty()
                self.clipper.clip()
                for part in self.parts:
                    part.update()
        if measured:
            changes = [now - then for now, then in zip(self._trainable(), before, strict=True)]
            norms["update_norm"] = diagnostics.norm(changes)
        return norms

    def _batches(self) -> torch.Tensor:
        """One epoch's examples, as indices into seeds x examples: ``(minibatches, S, B)``."""
        orders = self.rng.permutations(self.examples)
        orders += self.examples * np.arange(len(orders))[:, None]
        batches = orders.reshape(len(orders), -1, self.spec.batch).swapaxes(0, 1)
        return torch.from_numpy(np.ascontiguousarray(batches)).to(self.device)

    def _trainable(self) -> list[torch.nn.Parameter]:
        return [parameter for part in self.parts for parameter in trainable(part.layers)]

    def _broken(self) -> np.ndarray:
        """Which seeds have weights that are not finite: ``(S,)``."""
        finite = [p.detach().flatten(1).sum(1).isfinite() for p in self._trainable()]
        return ~torch.stack(finite).all(0).cpu().numpy()

    def _end_task(self, norms: dict[str, torch.Tensor]) -> None:
        columns = self._diagnostics() | norms if norms else {}
        self.broken = self._broken()
        values = {name: value.tolist() for name, value in columns.items()}
        for s, rows in enumerate(self.rows):
            row = {"task": self.task, "online_loss": float(self.losses[s]) / self.stream.rollouts}
            row |= mean_returns(self.rollouts[s][-self.stream.rollouts :])
            if self.broken[s]:
                row["online_performance"] = row["final_performance"] = float("nan")
            row |= {name: value[s] for name, value in values.items()}
            rows.append(row)
        for part in self.parts:
            part.end_task()
        self.task, self.rollout = self.task + 1, 0
        if not self.finished:
            self._begin_task()

    def _diagnostics(self) -> dict[str, torch.Tensor]:
        seen = self.observations.movedim(0, 2).flatten(1, 2).to(self.device)
        probed = range(2) if is_probed(self.task, self.stream.tasks) else ()
        rngs = [SeedRng(self.seeds, "probe", self.task, key) for key in probed]
        return agent_diagnostics(self.actor, self.critic, self.policy, seen, rngs)


#: Arrays that a rollout leaves to the next.
_ARRAYS = ("seen", "starts", "returns", "lengths", "losses")
