"""Comparing methods: tests with their correction for many comparisons, and profiles. Needs only numpy.

Shapes as in ``bootstrap``: one 1-d array of seeds per stream, or a (seeds, streams) matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from plasticity_bench.stats.bootstrap import REPS, Interval, columns_of
from plasticity_bench.stats.ratios import Ratio, by_seed
from plasticity_bench.stats.resampling import bounds_of, counts_of, shares_of

#: Sign patterns tried in addition to the observed one. For up to 11 seeds these are all patterns that exist.
PATTERNS = 2**11 - 1
#: Parts in which patterns are tried: smaller arrays fit the cache of a core.
BLOCKS = 64
#: Up to this many multiplications in a matrix product, OpenBLAS uses one thread. Waiting for threads on a
#: busy machine takes longer than the product.
ONE_THREAD = 2**18


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
    patterns = sign_patterns(n, permutations, rng_seed)

    def statistic(signs: np.ndarray) -> np.ndarray:
        mean = signs @ d.T / count
        spread = np.maximum(squares / count - mean**2, 1e-12 * squares / count) / np.maximum(count - 1, 1)
        return np.divide(np.abs(mean), np.sqrt(spread), out=np.zeros_like(mean), where=varies)

    found = statistic(np.ones((1, n)))[0]
    under = (statistic(part) for part in np.array_split(patterns, BLOCKS))
    return _tables(methods, (first[kept], second[kept]), _shares_reached(found, under, len(patterns)))


def capped_p_values(
    rows: Sequence[Sequence[Ratio]], cap: float, permutations: int = PATTERNS, rng_seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The same for means over streams of min(ratio, ``cap``), as ``ratios.mean_of_ratios`` computes them.

    ``rows``: for every method its ratios, one per stream, the same streams in the same order. The
    denominators of a seed are the same for all methods. A pair is compared over the seeds that both have on
    each stream. A sign belongs to a stream and a seed: -1 exchanges the numerators of the two methods there.
    The capped means of both are computed again for every pattern of signs. The statistic of a pair is the
    size of their difference over its spread (root mean square over all patterns), or over the median spread
    of all pairs if that is larger: two methods above the cap have nearly no spread, and their rare
    differences would else decide the corrected p-values of all other pairs. Returns two tables as
    ``pairwise_p_values`` does; nan for pairs with fewer than two common seeds on a stream.
    """
    first, second = np.triu_indices(len(rows), 1)
    strata = [_stratum(column, first, second) for column in zip(*rows, strict=True)]
    kept = np.all([np.isfinite(middle) for middle, _ in strata], axis=0) if strata else np.zeros(0, bool)
    pairs = first[kept], second[kept]
    if not kept.any():
        return _tables(len(rows), pairs, (np.zeros(0), np.zeros(0)))
    strata = [(middle[kept], halves[kept].T.copy()) for middle, halves in strata]
    patterns = sign_patterns(sum(len(halves) for _, halves in strata), permutations, rng_seed)
    under = _capped_statistics(strata, patterns, cap)
    # The first pattern has no minus sign: it gives what is observed.
    return _tables(len(rows), pairs, _shares_reached(under[0], iter([under]), len(under)))


def _capped_statistics(
    strata: Sequence[tuple[np.ndarray, np.ndarray]], patterns: np.ndarray, cap: float
) -> np.ndarray:
    """The statistics of ``capped_p_values``, (patterns, pairs).

    ``strata``: for every stream what ``_stratum`` returns, with the halves as (seeds, pairs).
    """
    lengths = [len(halves) for _, halves in strata]
    count = strata[0][1].shape[1]
    blocks = max(BLOCKS, len(patterns) * max(lengths) * count // ONE_THREAD + 1)
    sizes = []
    squares, plain_squares = np.zeros((2, count))  # of capped differences, and of those without the cap
    for signs in np.array_split(patterns, min(blocks, len(patterns))):
        capped, plain = np.zeros((2, len(signs), count))
        for (middle, halves), own in zip(
            strata, np.split(signs, np.cumsum(lengths)[:-1], axis=1), strict=True
        ):
            moved = own @ halves
            capped += np.minimum(middle + moved, cap) - np.minimum(middle - moved, cap)
            plain += 2 * moved
        sizes.append(np.abs(capped))
        squares += (capped**2).sum(axis=0)
        plain_squares += (plain**2).sum(axis=0)
    # The mean square over all patterns is known without the cap. Random patterns only have to give the ratio
    # of the two mean squares, which hardly depends on the patterns that are drawn.
    exact = np.sum([(4 * halves**2).sum(axis=0) for _, halves in strata], axis=0)
    varies = (squares > 1e-24 * len(patterns)) & (plain_squares > 0)
    spread = np.sqrt(np.divide(exact * squares, plain_squares, out=np.zeros_like(exact), where=varies))
    spread = np.maximum(spread, np.median(spread))
    found = np.concatenate(sizes)
    return np.divide(found, spread, out=np.zeros_like(found), where=spread > 0)


def _stratum(
    columns: Sequence[Ratio], first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Every pair on one stream: (mean of both ratios, half of the difference that each seed makes).

    Shapes (pairs,) and (pairs, seeds). A difference is 0 for seeds that one of them lacks; the mean is nan
    for pairs with fewer than two common seeds.
    """
    seeds = sorted({seed for column in columns for seed in column.seeds})
    above = by_seed([column.numerator for column in columns], columns, seeds)
    below = by_seed([column.denominator for column in columns], columns, seeds)
    a, b = above[first], above[second]
    common = ~np.isnan(a) & ~np.isnan(b)
    total = np.where(common, below[first], 0).sum(axis=1)
    enough = common.sum(axis=1) >= 2
    scale = np.divide(0.5, total, out=np.full(len(total), np.nan), where=enough & (total > 0))[:, None]
    a, b = np.where(common, a, 0), np.where(common, b, 0)
    return ((a + b) * scale).sum(axis=1), np.nan_to_num((a - b) * scale)


@lru_cache(maxsize=8)
def sign_patterns(n: int, permutations: int = PATTERNS, rng_seed: int = 0) -> np.ndarray:
    """Patterns of ``n`` signs, (patterns, n), the first of which has no minus.

    All 2^n if these are at most ``permutations`` + 1, else random ones, the same at every call.
    """
    if 2**n <= permutations + 1:
        patterns = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) % 2)
    else:
        rng = np.random.default_rng(rng_seed)
        patterns = np.concatenate([np.ones((1, n)), rng.choice([-1.0, 1.0], size=(permutations, n))])
    patterns.flags.writeable = False
    return patterns


def sign_flip_p(differences: Sequence[np.ndarray], permutations: int = 2**14 - 1) -> float:
    """Two-sided p-value of a mean of 0 of ``differences``, one array of seeds per stream, by sign flips.

    The statistic is the mean over streams of the means over seeds. nan if a stream has fewer than two seeds,
    or a value is nan.
    """
    values = [np.asarray(column, dtype=float) / len(column) for column in differences if len(column)]
    if len(values) < len(differences) or not values or min(map(len, values)) < 2:
        return float("nan")
    flat = np.concatenate(values)
    if np.isnan(flat).any():
        return float("nan")
    sums = np.abs(sign_patterns(len(flat), permutations) @ flat)
    return float(np.mean(sums >= sums[0] * (1 - 1e-9)))


def _shares_reached(
    found: np.ndarray, under: Iterator[np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """p-values of every pair, alone and for all pairs: the shares of ``count`` patterns that reach ``found``.

    ``under``: the statistics under the patterns, in blocks of shape (patterns, pairs).
    """
    if not len(found):
        return np.zeros(0), np.zeros(0)
    # At least as large, up to rounding.
    found = found * (1 - 1e-9)
    largest, reached = [], np.zeros(len(found))
    for part in under:
        largest.append(part.max(axis=1, initial=0))
        reached += (part >= found).sum(axis=0)
    below = np.searchsorted(np.sort(np.concatenate(largest)), found, side="left")
    return reached / count, 1 - below / count


def _tables(
    methods: int, pairs: tuple[np.ndarray, np.ndarray], shares: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Two tables (methods, methods) of the pairs' p-values: 1 on the diagonal, nan for other pairs."""
    first, second = pairs
    single, joint = np.full((2, methods, methods), np.nan)
    for table, p in zip((single, joint), shares, strict=True):
        np.fill_diagonal(table, 1.0)
        table[first, second] = table[second, first] = p
    return single, joint
