"""Ratios of sums over seeds, their means over streams, and their bootstrap intervals. Needs only numpy.

A resample of seeds takes the numerator and the denominator of every seed that it draws: both are resampled
together. The draws are independent between streams. nan is never dropped: see ``bootstrap``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plasticity_bench.stats.bootstrap import REPS, Difference, Interval
from plasticity_bench.stats.resampling import bounds_of, shares_of


@dataclass(frozen=True, eq=False)
class Ratio:
    """sum of ``numerator`` over sum of ``denominator``; both hold a value per seed, shape (seeds,)."""

    seeds: tuple[int, ...]
    numerator: np.ndarray
    denominator: np.ndarray

    @property
    def point(self) -> float:
        """The ratio of the sums; nan without seeds."""
        return float(self.numerator.sum() / self.denominator.sum()) if self.seeds else np.nan

    @property
    def contributions(self) -> np.ndarray:
        """Numerators over the mean denominator, (seeds,): their mean over seeds is the ratio."""
        return self.numerator / self.denominator.mean() if self.seeds else self.numerator

    def of(self, seeds: Sequence[int]) -> Ratio:
        """These of the seeds, in this order."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return Ratio(tuple(seeds), self.numerator[rows], self.denominator[rows])

    def common(self, other: Ratio) -> tuple[Ratio, Ratio]:
        """Both over the seeds of both, ascending."""
        if self.seeds == other.seeds:
            return self, other
        seeds = sorted(set(self.seeds) & set(other.seeds))
        return self.of(seeds), other.of(seeds)


def mean_of_ratios(columns: Sequence[Ratio], cap: float = np.inf) -> float:
    """The mean over streams of min(ratio, ``cap``); nan if a ratio is nan, or without streams."""
    return float(np.mean(np.minimum([column.point for column in columns], cap))) if columns else np.nan


def ratio_interval(
    columns: Sequence[Ratio], cap: float = np.inf, reps: int = REPS, rng_seed: int = 0
) -> Interval:
    """``mean_of_ratios`` with its 95% percentile interval.

    The bounds are nan if a stream has a single seed.
    """
    point = mean_of_ratios(columns, cap)
    if np.isnan(point) or min(len(column.seeds) for column in columns) < 2:
        return Interval(point, np.nan, np.nan)
    low, high = bounds_of(_resampled_means(columns, cap, reps, rng_seed))
    return Interval(point, float(low), float(high))


def ratio_difference(
    a: Sequence[Ratio], b: Sequence[Ratio], cap: float = np.inf, reps: int = REPS, rng_seed: int = 0
) -> Difference:
    """``mean_of_ratios`` of a minus that of b with its 95% interval, over the seeds of both on each stream.

    Every resample draws the same seeds for both, so the effect that a seed has on both cancels. Resamples
    without a difference count half in the probability. Raises ValueError if the numbers of streams differ.
    """
    pairs = [left.common(right) for left, right in zip(a, b, strict=True)]
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    point = mean_of_ratios(sides[0], cap) - mean_of_ratios(sides[1], cap)
    if np.isnan(point) or min(len(left.seeds) for left, _ in pairs) < 2:
        return Difference(point, np.nan, np.nan, np.nan)
    left_means, right_means = (_resampled_means(side, cap, reps, rng_seed) for side in sides)
    values = left_means - right_means
    low, high = bounds_of(values)
    probability = np.mean(values > 0) + np.mean(values == 0) / 2
    return Difference(point, float(low), float(high), float(probability))


def is_above_zero(values: np.ndarray, reps: int = REPS, rng_seed: int = 0) -> bool:
    """Whether the 95% bootstrap interval of the mean of ``values`` (seeds,) lies above 0.

    For a single seed: whether its value does.
    """
    if len(values) < 2:
        return bool((values > 0).all()) and len(values) > 0
    low, _ = bounds_of(shares_of((len(values),), reps, rng_seed)[0] @ values)
    return bool(low > 0)


def ratio_band(
    numerator: np.ndarray, denominator: np.ndarray, reps: int = 1000, rng_seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratios of sums over seeds of values (seeds, points), and their pointwise 95% bounds, each (points,).

    Whole seeds are resampled. A point is nan if the denominator's mean is not above 0, see ``is_above_zero``.
    The bounds are nan for a single seed.
    """
    sound = np.array([is_above_zero(column, reps, rng_seed) for column in denominator.T])
    below = np.where(sound, denominator.sum(axis=0), np.nan)
    point = numerator.sum(axis=0) / below
    if len(numerator) < 2:
        return point, np.full_like(point, np.nan), np.full_like(point, np.nan)
    (shares,) = shares_of((len(numerator),), reps, rng_seed)
    values = (shares @ numerator) / np.where(sound, shares @ denominator, np.nan)
    low, high = bounds_of(np.ascontiguousarray(values.T))
    return point, low, high


def place_ranges(
    rows: Sequence[Sequence[Ratio]], cap: float = np.inf, reps: int = REPS, rng_seed: int = 0
) -> list[tuple[int, int]]:
    """For every row the 95% range of its place by ``mean_of_ratios`` over resamples of the seeds.

    A resample draws, on every stream, from the seeds that any row has, the same for all rows. A row takes
    those of them that it has, or all its seeds if it has none of them. Place = 1 + number of rows with a
    higher value. ``rows``: for every row its streams, the same streams in the same order.
    """
    if not rows:
        return []
    values = np.zeros((reps, len(rows)))
    strata = list(zip(*rows, strict=True))
    seeds_of = [sorted({seed for column in stratum for seed in column.seeds}) for stratum in strata]
    shares = shares_of(tuple(map(len, seeds_of)), reps, rng_seed)
    for stratum, seeds, share in zip(strata, seeds_of, shares, strict=True):
        above, below = (by_seed([getattr(c, part) for c in stratum], stratum, seeds) for part in PARTS)
        total = share @ np.nan_to_num(below).T
        found = np.divide(
            share @ np.nan_to_num(above).T,
            total,
            out=np.tile([column.point for column in stratum], (reps, 1)),
            where=total > 0,
        )
        values += np.minimum(found, cap)
    places = np.sort(1 + (values[:, None, :] > values[:, :, None]).sum(axis=2), axis=0)
    low, high = places[int(0.025 * (reps - 1))], places[-1 - int(0.025 * (reps - 1))]
    return list(zip(low.tolist(), high.tolist(), strict=True))


#: The two arrays of a ratio.
PARTS = ("numerator", "denominator")


def by_seed(values: Sequence[np.ndarray], columns: Sequence[Ratio], seeds: Sequence[int]) -> np.ndarray:
    """(columns, seeds): ``values``, an array for every column, at its seeds; nan if it lacks a seed."""
    table = np.full((len(columns), len(seeds)), np.nan)
    for line, own, column in zip(table, values, columns, strict=True):
        line[np.searchsorted(seeds, column.seeds)] = own
    return table


def _resampled_means(columns: Sequence[Ratio], cap: float, reps: int, rng_seed: int) -> np.ndarray:
    """``mean_of_ratios`` of every resample, (reps,)."""
    lengths = tuple(len(column.seeds) for column in columns)
    total = np.zeros(reps)
    for column, share in zip(columns, shares_of(lengths, reps, rng_seed), strict=True):
        total += np.minimum((share @ column.numerator) / (share @ column.denominator), cap)
    return total / len(columns)
