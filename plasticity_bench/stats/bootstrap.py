"""Statistics over seeds: interquartile mean, bootstrap intervals, Theil-Sen slope. Needs only numpy.

The interquartile mean with stratified percentile-bootstrap intervals follows rliable (Agarwal et al.,
"Deep Reinforcement Learning at the Edge of the Statistical Precipice", arXiv 2108.13264).

nan is never dropped: a statistic of values that include a nan is nan, and so is its interval. The caller
decides which seeds take part, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from plasticity_bench.stats.resampling import (
    bounds_of,
    places_of,
    resampled_means,
    shares_of,
)

#: Resamples per interval. The Monte-Carlo error of a bound is then a few percent of the interval's width.
REPS = 2000

#: Maps values of shape (..., n) to (...): called with the last axis to reduce.
Statistic = Callable[[np.ndarray], np.ndarray]


class Interval(NamedTuple):
    """A point estimate with its 95% interval. All nan if unknown; only the bounds are nan for one seed."""

    point: float
    low: float
    high: float


class Difference(NamedTuple):
    """A difference of two estimates, its 95% interval, and the share of resamples in which it is positive."""

    point: float
    low: float
    high: float
    probability: float


def interquartile_mean(x: np.ndarray, axis: int | None = -1) -> np.ndarray:
    """Mean of the values left after dropping floor(n / 4) at each end, as scipy's trim_mean(x, 0.25).

    ``axis=None`` takes all values together, as rliable does for a (seeds x streams) matrix.
    nan if there are no values, or a nan is among them.
    """
    x = np.asarray(x, dtype=float)
    x = x.ravel() if axis is None else np.moveaxis(x, axis, -1)
    n = x.shape[-1]
    if n == 0:
        return np.full(x.shape[:-1], np.nan)
    cut = n // 4
    middle = np.sort(x, axis=-1)[..., cut : n - cut].mean(axis=-1)
    # Sorting puts nan last, so the trimming could drop it.
    return np.where(np.isnan(x).any(axis=-1), np.nan, middle)


def stratified_bootstrap(
    strata: Sequence[np.ndarray] | np.ndarray,
    statistic: Statistic = interquartile_mean,
    reps: int = REPS,
    rng_seed: int = 0,
) -> Interval:
    """The statistic of all values with its 95% percentile interval.

    ``strata``: one 1-d array of seeds per stream (lengths may differ), or a (seeds, streams) matrix.
    Every resample draws, independently in every stream, as many seeds as the stream has, with
    replacement. The statistic then takes the values of all streams in one row. The bounds are nan if a stream
    has a single seed: one seed says nothing about the spread.
    """
    columns = columns_of(strata)
    point = float(statistic(np.concatenate(columns))) if columns else np.nan
    if np.isnan(point) or min(map(len, columns)) < 2:
        return Interval(point, np.nan, np.nan)
    low, high = bounds_of(_resampled(columns, statistic, reps, rng_seed))
    return Interval(point, float(low), float(high))


def paired_bootstrap(
    a: Sequence[np.ndarray] | np.ndarray,
    b: Sequence[np.ndarray] | np.ndarray,
    statistic: Statistic = interquartile_mean,
    reps: int = REPS,
    rng_seed: int = 0,
) -> Difference:
    """statistic(a) - statistic(b) with its 95% interval; a and b hold the same seeds in the same order.

    Shapes as in ``stratified_bootstrap``. Every resample draws the same seeds for both, so the effect that a
    seed has on both cancels. This is the difference of the statistics, not the statistic of the differences:
    it agrees with the two numbers in a table. Resamples without a difference count half in the probability.
    Raises ValueError if the shapes differ.
    """
    left, right = paired_columns(a, b)
    if not left:
        return Difference(np.nan, np.nan, np.nan, np.nan)
    point = float(statistic(np.concatenate(left)) - statistic(np.concatenate(right)))
    if np.isnan(point) or min(map(len, left)) < 2:
        return Difference(point, np.nan, np.nan, np.nan)
    a_values, b_values = (_resampled(side, statistic, reps, rng_seed) for side in (left, right))
    values = a_values - b_values
    low, high = bounds_of(values)
    probability = np.mean(values > 0) + np.mean(values == 0) / 2
    return Difference(point, float(low), float(high), float(probability))


def mean_band(values: np.ndarray, reps: int = 1000, rng_seed: int = 0) -> tuple[np.ndarray, ...]:
    """Mean over seeds of ``values`` (seeds, points) and its pointwise 95% bootstrap bounds, each (points,).

    Whole seeds are resampled. The bounds are nan for a single seed.
    """
    values = np.asarray(values, dtype=float)
    mean, n = values.mean(axis=0), len(values)
    if n < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    return mean, *bounds_of(np.ascontiguousarray((shares_of((n,), reps, rng_seed)[0] @ values).T))


def theil_sen(y: np.ndarray) -> float:
    """The median slope over all pairs of points of ``y`` (points,) at x = 0, 1, 2, ... (Sen 1968).

    nan for fewer than two points, or if ``y`` holds a nan. Needs memory for n (n - 1) / 2 slopes.
    """
    y = np.asarray(y, dtype=float)
    if len(y) < 2 or np.isnan(y).any():
        return float("nan")
    later, distance = _cyclic_pairs(len(y))
    # In place: a second large array would go back to the system at each call, which would take longest.
    slopes = y[later]
    slopes -= y
    slopes /= distance
    slopes = slopes.ravel()[: len(y) * (len(y) - 1) // 2]
    middle = len(slopes) // 2
    # One partial sort and a maximum: numpy's median makes three partial sorts and takes three times as long.
    slopes.partition(middle)
    upper = slopes[middle]
    # Adding 0.0 turns -0.0 into 0.0: which of two zeros ends up in the middle is arbitrary.
    return float(upper if len(slopes) % 2 else (slopes[:middle].max() + upper) / 2) + 0.0


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the first axis: 1 for the lowest; equal values share the mean of their ranks.

    A nan has no rank. The same as scipy's ``rankdata`` with ``nan_policy="omit"``, without the time that
    importing scipy takes.
    """
    below = (values[None] < values[:, None]).sum(axis=1)
    equal = (values[None] == values[:, None]).sum(axis=1)
    return np.where(np.isnan(values), np.nan, below + (equal + 1) / 2)


def columns_of(strata: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """One array of seeds per stream, from either of the shapes that statistics take."""
    columns = strata.T if isinstance(strata, np.ndarray) and strata.ndim == 2 else strata
    return [np.atleast_1d(np.asarray(column, dtype=float)) for column in columns]


def paired_columns(
    a: Sequence[np.ndarray] | np.ndarray, b: Sequence[np.ndarray] | np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """``columns_of`` both. Raises ValueError if the numbers of streams or of their seeds differ."""
    left, right = columns_of(a), columns_of(b)
    if [len(column) for column in left] != [len(column) for column in right]:
        raise ValueError("a paired comparison needs the same seeds on both sides")
    return left, right


def _resampled(columns: Sequence[np.ndarray], statistic: Statistic, reps: int, rng_seed: int) -> np.ndarray:
    """The statistic of every resample, (reps,)."""
    values = np.concatenate(columns)
    lengths = tuple(map(len, columns))
    if statistic is interquartile_mean:
        return resampled_means(values, lengths, reps, rng_seed)
    return statistic(values[places_of(lengths, reps, rng_seed)])


@lru_cache(maxsize=16)
def _cyclic_pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of n points once, as i and i + k, counted on from the end to the beginning.

    Returns the indices of i + k and the distances to i, each (n // 2, n) for k = 1, 2, ... by i. For even n
    the second half of the last row repeats the first.
    """
    k, i = np.arange(1, n // 2 + 1)[:, None], np.arange(n)
    return (i + k) % n, np.where(i + k < n, k, k - n).astype(np.float64)
