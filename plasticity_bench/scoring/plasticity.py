"""Level, retention, plasticity loss and fresh level, from a learner, its fresh twins and those of `none`.

For seed i and task k, A is the performance of the learner that has trained on all tasks up to k, F that of
its fresh twin, and G that of the fresh twin of plain training. c is chance, and w the weight of the task (see
``twins``). Sums are over seeds i and the late tasks k:

    level L = sum w (A - c) / sum w (G - c)           retention R = sum w (A - c) / sum w (F - c)
    fresh level Q = sum w (F - c) / sum w (G - c)     plasticity loss = 1 - R;  L = R x Q
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from plasticity_bench.scoring.twins import Twins, late_places
from plasticity_bench.stats.ratios import Ratio, is_above_zero

#: Why a measure is not defined.
NO_TWINS = "no fresh twins: run again without --no-twins"
NO_PLAIN_TWINS = "no fresh twins of none: run it on this stream without --no-twins"
NO_COMMON_SEEDS = "no seed of which none has fresh twins"
TWINS_AT_CHANCE = "its fresh twins are not significantly above chance"
PLAIN_AT_CHANCE = "the fresh twins of none are not significantly above chance"

_NOTHING = Ratio((), np.zeros(0), np.zeros(0))


@dataclass(frozen=True, eq=False)
class LossCurve:
    """The plasticity loss over tasks: 1 - R(k) = sum of ``lost`` over sum of ``fresh``, over seeds.

    ``lost``: w (F - A), and ``fresh``: w (F - c); both (seeds, tasks).
    """

    tasks: tuple[int, ...]
    lost: np.ndarray
    fresh: np.ndarray


@dataclass(frozen=True, eq=False)
class Plasticity:
    """The measures of one cell.

    ``ratios``: measure -> ratio over the seeds for which it is defined. ``undefined``: measure -> why it is
    not defined for any seed. ``curve``: None without fresh twins. ``room``: the mean of G - c over the late
    tasks and the seeds of plain training, without weights; nan if there are no twins of it.
    """

    ratios: Mapping[str, Ratio]
    undefined: Mapping[str, str] = field(default_factory=dict)
    curve: LossCurve | None = None
    room: float = np.nan


def plasticity(
    seeds: Sequence[int], performance: np.ndarray, chance: float, twins: Twins, plain: Twins | None
) -> Plasticity:
    """The measures of a learner.

    Args:
        seeds: Its seeds.
        performance: A, of shape (seeds, tasks).
        chance: c.
        twins: Its fresh twins, of some or all of the seeds.
        plain: The fresh twins of plain training. None or without seeds: not recorded.
    """
    learner = _Sums(seeds, performance, chance, twins, plain)
    own, with_plain = learner.shared(twins), learner.shared(plain)
    both = [seed for seed in own if seed in with_plain]
    a, f, g = learner.late(), learner.late_twins(twins), learner.late_twins(plain)
    ratios = {
        "level": _ratio(with_plain, a, g),
        "retention": _ratio(own, a, f),
        "plasticity_loss": _ratio(own, {seed: f[seed] - a[seed] for seed in own}, f),
        "fresh_level": _ratio(both, f, g),
    }
    no_plain = NO_COMMON_SEEDS if plain and plain.seeds else NO_PLAIN_TWINS
    why = {
        "level": "" if with_plain else no_plain,
        "retention": "" if own else NO_TWINS,
        "plasticity_loss": "" if own else NO_TWINS,
        "fresh_level": "" if both else no_plain if own else NO_TWINS,
    }
    for name, ratio in ratios.items():
        below = ratio.denominator
        if not why[name] and not np.isnan(below).any() and not is_above_zero(below):
            why[name] = PLAIN_AT_CHANCE if name in ("level", "fresh_level") else TWINS_AT_CHANCE
    undefined = {name: reason for name, reason in why.items() if reason}
    ratios |= dict.fromkeys(undefined, _NOTHING)
    curve = learner.curve(twins, own) if own else None
    late = late_places(twins.tasks, performance.shape[1])
    room = float(plain.performance[:, late].mean()) - chance if plain and plain.seeds else np.nan
    return Plasticity(ratios, undefined, curve, room)


def _ratio(seeds: Sequence[int], above: Mapping[int, float], below: Mapping[int, float]) -> Ratio:
    numbers = [np.array([values[seed] for seed in seeds]) for values in (above, below)]
    return Ratio(tuple(seeds), *numbers)


class _Sums:
    """Sums over late tasks of a learner and of twins, seed by seed."""

    def __init__(
        self, seeds: Sequence[int], performance: np.ndarray, chance: float, twins: Twins, plain: Twins | None
    ) -> None:
        self.seeds, self.performance, self.chance = seeds, performance, chance
        self.tasks = performance.shape[1]
        # Data and order are the same for all learners of a seed, so its weights are those of any twin.
        self.weights = {
            seed: weights
            for each in (plain, twins)
            if each
            for seed, weights in zip(each.seeds, each.weights, strict=True)
        }
        self.twin_tasks = np.array(twins.tasks)
        self.late_ones = late_places(twins.tasks, self.tasks)

    def shared(self, twins: Twins | None) -> list[int]:
        """Those of the seeds of which there are twins."""
        return [seed for seed in self.seeds if twins and seed in twins.seeds]

    def at_twins(self) -> dict[int, np.ndarray]:
        """seed -> w (A - c) at the tasks of twins, for the seeds with weights."""
        own = zip(self.seeds, self.performance[:, self.twin_tasks] - self.chance, strict=True)
        return {seed: self.weights[seed] * above for seed, above in own if seed in self.weights}

    def of_twins(self, twins: Twins | None) -> dict[int, np.ndarray]:
        """seed -> w (F - c) at the tasks of twins, for the learner's seeds."""
        if twins is None:
            return {}
        above = dict(zip(twins.seeds, twins.performance - self.chance, strict=True))
        return {seed: self.weights[seed] * above[seed] for seed in self.shared(twins)}

    def late(self) -> dict[int, float]:
        """seed -> sum over the late tasks of w (A - c)."""
        return {seed: float(values[self.late_ones].sum()) for seed, values in self.at_twins().items()}

    def late_twins(self, twins: Twins | None) -> dict[int, float]:
        """seed -> sum over the late tasks of w (F - c)."""
        return {seed: float(values[self.late_ones].sum()) for seed, values in self.of_twins(twins).items()}

    def curve(self, twins: Twins, seeds: Sequence[int]) -> LossCurve:
        """The loss over tasks of these seeds, which have twins."""
        own, fresh = self.at_twins(), self.of_twins(twins)
        below = np.array([fresh[seed] for seed in seeds])
        return LossCurve(twins.tasks, below - np.array([own[seed] for seed in seeds]), below)
