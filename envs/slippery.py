"""SlipperyAnt: PyBullet's Ant on ground whose friction changes from task to task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from plasticity_bench.envs.locomotion import Ant
from plasticity_bench.errors import InputError


class SlipperyAnt(Ant):
    """PyBullet's Ant on ground whose friction is another one in every task.

    There are two ways to seed the frictions:

    - ``change_every`` is a number of steps (the default). The environment draws the frictions itself, each
      as 10^U(``low``, ``high``). They follow from ``seed``; if that is None, from the seed that ``reset`` is
      given; and from nothing else. A task ends at the first end of an episode after ``change_every`` steps.
      A reset with a seed starts again at task 0.
    - ``change_every=None``. The caller changes the tasks: ``reset(options={"friction": 0.1})`` begins the
      next one, and the environment draws no friction. The stream ``slippery-ant`` uses it like this: a
      friction follows from the stream's seed and the task's number through ``plasticity_bench.seeding``.

    Bullet limits the product of the ground's friction and a link's to 10, so that all frictions above 20 act
    the same. Observations, actions and rewards are those of ``Ant``. The ``info`` of a reset holds
    ``friction`` and ``task``, the number of the task from 0.

    Args:
        change_every: Steps after which the friction changes, or None.
        low: Least exponent of a friction that is drawn.
        high: Largest exponent of a friction that is drawn.
        seed: Seed of the frictions that are drawn.
        render_mode: None or "rgb_array".
        options: ``width`` and ``height`` of a picture, in pixels.

    Raises:
        InputError: A value is out of range.

    Source: Dohare et al. 2021, arXiv:2108.06325 (PyBullet's Ant, frictions from 10^-4 to 10^4).

    Example:
        >>> env = SlipperyAnt(change_every=None)
        >>> _, info = env.reset(seed=0, options={"friction": 0.1})
        >>> info
        {'friction': 0.1, 'task': 0}
        >>> env.close()
    """

    def __init__(
        self,
        change_every: int | None = 2_000_000,
        low: float = -4.0,
        high: float = 4.0,
        seed: int | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(render_mode, **options)
        if change_every is not None and change_every < 1:
            raise InputError(f"change_every={change_every} of SlipperyAnt is too small: give at least 1 step")
        if not -300 <= low <= high <= 300:
            raise InputError(f"low={low}, high={high} of SlipperyAnt: give -300 <= low <= high <= 300")
        self.change_every, self.low, self.high, self.schedule_seed = change_every, low, high, seed
        self.task = -1  # number of the current one; -1 before the first reset
        self._past = 0  # steps of the current task in episodes that have ended
        self._draws = _generator(seed if change_every else 0)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode, and the next task if it is due.

        Args:
            seed: Of the joints' starting angles; see the class for what else it seeds.
            options: Task variables, as for ``Ant``. Only with ``change_every=None`` may they hold
                ``friction``, and then the first reset must hold it.

        Returns:
            The observation, and ``{"friction": ..., "task": ...}``.

        Raises:
            InputError: An option is not known or out of range, or friction is given although it is drawn.
        """
        given = bool(options) and "friction" in options  # type: ignore[operator]
        if self.change_every is not None and given:
            raise InputError(
                "friction in the reset options: SlipperyAnt draws it itself; use Ant, or change_every=None"
            )
        if self.change_every is None and self.task < 0 and not given:
            raise InputError(
                "SlipperyAnt with change_every=None draws no friction: give it in the reset options"
            )
        self.variables.changed(options)  # so that an error comes before a draw
        if self.change_every is not None:
            self._draw_friction(seed)
        elif given:
            self.task += 1
        observation, _ = super().reset(seed=seed, options=options)
        return observation, {"friction": self.variables.friction, "task": self.task}

    def _draw_friction(self, seed: int | None) -> None:
        """The next task's, if it is due."""
        assert self.change_every is not None
        self._past += self.elapsed_steps
        if seed is not None:
            self.task = -1
            self._draws = _generator(seed if self.schedule_seed is None else self.schedule_seed)
        if self.task < 0 or self._past >= self.change_every:
            self.task += 1
            self._past = 0
            self.variables = replace(self.variables, friction=draw_friction(self._draws, self.low, self.high))

    def state_dict(self) -> dict[str, Any]:
        """As ``Ant``'s, with the schedule; ``change_every``, ``low`` and ``high`` are not part of it."""
        draws = dict(self._draws.bit_generator.state)
        return {**super().state_dict(), "task": self.task, "past": self._past, "draws": draws}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.task, self._past = state["task"], state["past"]
        self._draws.bit_generator.state = state["draws"]


def draw_friction(draws: np.random.Generator, low: float, high: float) -> float:
    """A friction 10^U(``low``, ``high``)."""
    return float(10.0 ** draws.uniform(low, high))


def _generator(seed: int | None) -> np.random.Generator:
    """Not the stream that Gymnasium makes from the same seed."""
    return np.random.default_rng(None if seed is None else (seed, 1))
