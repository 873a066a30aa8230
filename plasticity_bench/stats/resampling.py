"""Resamples of seeds, drawn once for all that hold as many, and interquartile means over them.

The draws are the same at every call: they depend on the numbers of seeds, of resamples, and ``rng_seed``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

#: Shares of the resamples below a 95% interval's bounds.
SHARES = (0.025, 0.975)


def draws_of(lengths: Sequence[int], reps: int, rng_seed: int) -> list[np.ndarray]:
    """For every stratum of so many seeds the indices (reps, n) of those drawn; the same at every call."""
    rng = np.random.default_rng(rng_seed)
    return [rng.integers(n, size=(reps, n)) for n in lengths]


@lru_cache(maxsize=4096)
def resampled_means(content: bytes, lengths: tuple[int, ...], reps: int, rng_seed: int) -> np.ndarray:
    """Interquartile means, kept because a row is compared with several others."""
    found = _means_of(np.frombuffer(content), places_of(lengths, reps, rng_seed))
    found.flags.writeable = False
    return found


def _means_of(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The interquartile means of ``values`` at ``places`` (resamples, seeds)."""
    # Ranks sort several times as fast as the values that they stand for.
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values), dtype=np.int32)
    ranks[order] = np.arange(len(values), dtype=np.int32)
    cut = len(values) // 4
    drawn = ranks.take(places)
    drawn.sort(axis=-1)
    means: np.ndarray = values[order].take(drawn[:, cut : len(values) - cut]).mean(axis=-1)
    return means


def bounds_of_means(
    values: np.ndarray, lengths: tuple[int, ...], reps: int, rng_seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """``bounds_of`` the ``resampled_means``, bit for bit, several times as fast from tens of seeds on.

    All means are computed up to rounding, without sorting a resample; those that rounding could make the
    ones that bound the interval are then computed as ``resampled_means`` does.
    """
    n, cut = len(values), len(values) // 4
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    size = np.abs(ordered[[0, -1]]).max()
    if not size < 1e300:
        return bounds_of(resampled_means(values.tobytes(), lengths, reps, rng_seed))
    # (seeds, reps): how many of those drawn are among the least so many.
    least = _counts_of(lengths, reps, rng_seed)[order]
    # numpy's cumsum along this axis takes six times as long.
    for before, row in pairwise(least):
        row += before
    np.clip(least, cut, n - cut, out=least)
    # Summed by parts.
    near = ordered[-1] * (n - cut) - ordered[0] * cut - np.diff(ordered) @ least[:-1]
    near /= n - 2 * cut
    # Generous: twice the bound of the rounding of n products that sum to at most 2 n size, over n / 2.
    rounding = 16 * n * (np.finfo(float).eps * size + np.finfo(float).tiny)
    ranked = np.sort(near)
    places = sorted({place for share in SHARES for place in _around(share, reps)})
    above = [near - ranked[place] for place in places]
    close = [np.flatnonzero(np.abs(distance) <= rounding) for distance in above]
    if sum(map(len, close)) > reps // 4:
        return bounds_of(resampled_means(values.tobytes(), lengths, reps, rng_seed))
    exact = _means_of(values, places_of(lengths, reps, rng_seed)[np.concatenate(close)])
    parts = np.split(exact, np.cumsum([len(rows) for rows in close])[:-1])
    for place, distance, part in zip(places, above, parts, strict=True):
        # Whatever is not close stays on its side, exact or not.
        ranked[place] = np.sort(part)[place - np.count_nonzero(distance < -rounding)]
    return _between(ranked)


def bounds_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """numpy's percentiles 2.5 and 97.5 along the last axis; sorting is faster than its selection of both."""
    return _between(np.sort(values, axis=-1))


def _between(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``bounds_of`` values in order."""
    reps, found = ordered.shape[-1], []
    for share in SHARES:
        below, next_one = _around(share, reps)
        t = share * (reps - 1) - below
        left, right = ordered[..., below], ordered[..., next_one]
        step = right - left
        found.append(left + step * t if t < 0.5 else right - step * (1 - t))
    # Sorting puts nan last.
    unknown = np.isnan(ordered[..., -1])
    low, high = (np.where(unknown, np.nan, bound) for bound in found)
    return low, high


def _around(share: float, reps: int) -> tuple[int, int]:
    """The places of the values, in order, between which this share of them lies below."""
    below = int(share * (reps - 1))
    return below, min(below + 1, reps - 1)


@lru_cache(maxsize=16)
def places_of(lengths: tuple[int, ...], reps: int, rng_seed: int) -> np.ndarray:
    """``draws_of`` strata of these lengths, as places in all of them side by side: (reps, all seeds)."""
    starts = np.cumsum([0, *lengths[:-1]])
    drawn = draws_of(lengths, reps, rng_seed)
    found = np.concatenate([start + draw for start, draw in zip(starts, drawn, strict=True)], axis=1)
    found.flags.writeable = False
    return found


@lru_cache(maxsize=16)
def _counts_of(lengths: tuple[int, ...], reps: int, rng_seed: int) -> np.ndarray:
    """(all seeds, reps): how often a resample holds a seed."""
    counts = np.concatenate(tallies_of(lengths, reps, rng_seed), axis=1)
    found = np.ascontiguousarray(counts.T, dtype=np.min_scalar_type(counts.shape[1]))
    found.flags.writeable = False
    return found


@lru_cache(maxsize=64)
def shuffle_of(stream: int, reps: int, rng_seed: int) -> np.ndarray:
    """An order of the resamples for every stream; as they are for the first."""
    return np.random.default_rng([rng_seed, stream]).permutation(reps) if stream else np.arange(reps)


@lru_cache(maxsize=16)
def shares_of(lengths: tuple[int, ...], reps: int, rng_seed: int) -> tuple[np.ndarray, ...]:
    """For every stratum of so many seeds (reps, n): how much of every resample each seed makes up."""
    found = tuple(tally / tally.shape[1] for tally in tallies_of(lengths, reps, rng_seed))
    for share in found:
        share.flags.writeable = False
    return found


@lru_cache(maxsize=16)
def tallies_of(lengths: tuple[int, ...], reps: int, rng_seed: int) -> tuple[np.ndarray, ...]:
    """For every stratum of so many seeds (reps, n): how often every resample holds each seed."""
    found = []
    for draw in draws_of(lengths, reps, rng_seed):
        n = draw.shape[1]
        counts = np.bincount((np.arange(reps)[:, None] * n + draw).ravel(), minlength=reps * n)
        found.append(counts.reshape(reps, n))
        found[-1].flags.writeable = False
    return tuple(found)
