"""Comparing methods: tests with their correction for many comparisons, and profiles. Needs only numpy.

Shapes as in ``bootstrap``: one 1-d array of seeds per stream, or a (seeds, streams) matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plasticity_bench.stats.bootstrap import REPS, Interval, columns_of
from plasticity_bench.stats.resampling import bounds_of, counts_of, shares_of

#: Sign patterns tried in addition to the observed one. For up to 11 seeds these are all patterns that exist.
PATTERNS = 2**11 - 1


def paired_test(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided p-value of equal means; a and b hold the same seeds in the same order.

    It is the first result of ``pairwise_p_values`` for the two, exact up to 16 seeds. nan for fewer than two
    seeds, or if a value is nan. Raises ValueError if the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError("a paired comparison needs the same seeds on both sides")
    if np.isnan(a).any() or np.isnan(b).any():
        return float("nan")
    return float(pairwise_p_values(np.array([a, b]), permutations=2**16 - 1)[0][0, 1])


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in the order given (Holm 1979, Scand. J. Stat. 6:65-70).

    The chance of any false rejection then stays below the level. nan stays nan and does not count.
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps * p[order]), 1)
    return adjusted.tolist()


def probability_of_improvement(
    a: Sequence[np.ndarray] | np.ndarray,
    b: Sequence[np.ndarray] | np.ndarray,
    reps: int = REPS,
    rng_seed: int = 0,
) -> Interval:
    """The chance that a run of a scores above one of b on a stream drawn at random, ties counting half.

    As rliable defines it (Agarwal et al. 2021, arXiv:2108.13264, section 4.3): the mean over streams of the
    Mann-Whitney statistic over all pairs of seeds, with its 95% stratified bootstrap interval (a and b are
    resampled independently). The bounds are nan if a stream has a single seed. Raises ValueError if the
    numbers of streams differ.
    """
    left, right = columns_of(a), columns_of(b)
    if len(left) != len(right):
        raise ValueError("probability of improvement needs the same streams on both sides")
    if not left or any(not len(c) or np.isnan(c).any() for c in (*left, *right)):
        return Interval(float("nan"), float("nan"), float("nan"))
    wins = [_wins(x, y) for x, y in zip(left, right, strict=True)]
    point = float(np.mean([win.mean() for win in wins]))
    if min(map(len, (*left, *right))) < 2:
        return Interval(point, float("nan"), float("nan"))
    counts = (counts_of(tuple(map(len, side)), reps, rng_seed + i) for i, side in enumerate((left, right)))
    values = np.zeros(reps)
    for win, rows, columns in zip(wins, *counts, strict=True):
        # The mean over pairs of resampled seeds. Twice the sum is a whole number, exact in either type.
        kind = np.float32 if 2 * win.size < 2**24 else np.float64
        doubled = np.einsum("rm,rm->r", rows.astype(kind) @ (2 * win).astype(kind), columns.astype(kind))
        values += doubled.astype(float) / (2 * win.size)
    low, high = bounds_of(values / len(wins))
    return Interval(point, float(low), float(high))


def performance_profile(
    strata: Sequence[np.ndarray] | np.ndarray,
    thresholds: np.ndarray,
    reps: int = REPS,
    rng_seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every threshold the share of runs that score above it, with pointwise 95% bounds, each (points,).

    rliable's run-score distribution (arXiv:2108.13264, section 4.2): every stream has the same weight. The
    bounds are nan if a stream has a single seed.
    """
    columns = columns_of(strata)
    above = [(column[:, None] > thresholds).astype(float) for column in columns]  # (seeds, points)
    shares = np.mean([part.mean(axis=0) for part in above], axis=0)
    if min(map(len, columns)) < 2:
        return shares, np.full_like(shares, np.nan), np.full_like(shares, np.nan)
    values = np.zeros((reps, len(thresholds)))
    for part, weights in zip(above, shares_of(tuple(map(len, columns)), reps, rng_seed), strict=True):
        values += weights @ part
    low, high = np.percentile(values / len(above), [2.5, 97.5], axis=0)
    return shares, low, high


def _wins(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, m): 1 if the seed of x is higher than that of y, 1/2 if they are equal, else 0."""
    return (x[:, None] > y) + (x[:, None] == y) / 2


def pairwise_p_values(
    values: np.ndarray, permutations: int = PATTERNS, rng_seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided p-values of equal means for all pairs of methods: uncorrected, and corrected for all pairs.

    ``values``: (methods, seeds), nan if a method lacks a seed. Returns two tables, (methods, methods) each.
    Under the null hypothesis the signs of a seed's differences can be flipped, for all pairs together. The
    uncorrected p-value of a pair is the share of sign patterns in which its paired t statistic is at least
    the observed one (Fisher's randomisation test). The corrected p-value (Westfall & Young 1993, max-T) is
    the share in which the largest statistic of any pair is at least the observed one. The chance of any false
    rejection in the table then stays below the level, as with Holm's correction, but a few seeds can suffice:
    the smallest p-value that n seeds can give is 2^(1 - n), and Holm's is that times the number of pairs.
    All patterns are used if there are at most ``permutations`` + 1, else random ones.
    1 on the diagonal; nan for pairs with fewer than two common seeds or a statistic that is nan.
    """
    methods, n = values.shape
    first, second = np.triu_indices(methods, 1)
    differences = values[first] - values[second]  # (pairs, seeds)
    known = ~np.isnan(differences)
    count = known.sum(axis=1)
    kept = count >= 2
    d, count = np.nan_to_num(differences[kept]), count[kept]
    squares = (d**2).sum(axis=1)
    # Two equal methods have no difference under any signs; rounding must not create one.
    varies = squares > 0
    if 2**n <= permutations + 1:
        patterns = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) % 2)
    else:
        rng = np.random.default_rng(rng_seed)
        patterns = np.concatenate([np.ones((1, n)), rng.choice([-1.0, 1.0], size=(permutations, n))])

    def statistic(signs: np.ndarray) -> np.ndarray:
        mean = signs @ d.T / count
        spread = np.maximum(squares / count - mean**2, 1e-12 * squares / count) / np.maximum(count - 1, 1)
        return np.divide(np.abs(mean), np.sqrt(spread), out=np.zeros_like(mean), where=varies)

    single, joint = np.full((2, methods, methods), np.nan)
    for table in (single, joint):
        np.fill_diagonal(table, 1.0)
    if len(d):
        # At least as large, up to rounding.
        found = statistic(np.ones((1, n)))[0] * (1 - 1e-9)
        largest, reached = [], np.zeros(len(d))
        for part in np.array_split(patterns, 64):
            under = statistic(part)
            largest.append(under.max(axis=1, initial=0))
            reached += (under >= found).sum(axis=0)
        below = np.searchsorted(np.sort(np.concatenate(largest)), found, side="left")
        for table, p in ((single, reached / len(patterns)), (joint, 1 - below / len(patterns))):
            table[first[kept], second[kept]] = table[second[kept], first[kept]] = p
    return single, joint
