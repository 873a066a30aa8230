"""How the order of methods over streams would change under other aggregates, and which stream decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from plasticity_bench.stats.bootstrap import average_ranks, interquartile_mean

#: The geometric mean takes lower levels as this.
LEAST_LEVEL = 0.01


@dataclass(frozen=True, eq=False)
class LevelTable:
    """What methods reach on streams: ``levels`` and ``retentions`` of shape (methods, streams).

    ``runs``: for every method all its seeds' contributions to the level, an array for each stream.
    """

    methods: tuple[str, ...]
    streams: tuple[str, ...]
    levels: np.ndarray
    retentions: np.ndarray
    runs: tuple[tuple[np.ndarray, ...], ...]


def _pooled(table: LevelTable) -> np.ndarray:
    return np.array([interquartile_mean(np.concatenate(own)) for own in table.runs])


def _geometric(table: LevelTable) -> np.ndarray:
    return np.asarray(np.exp(np.log(np.maximum(table.levels, LEAST_LEVEL)).mean(axis=1)))


def capped_mean(table: LevelTable, cap: float) -> np.ndarray:
    """The mean over streams of min(level, ``cap``), (methods,): the score of the leaderboard."""
    return np.asarray(np.minimum(table.levels, cap).mean(axis=1))


#: Name of an aggregate -> its values for the methods, (methods,): higher is better.
ALTERNATIVES: Mapping[str, Callable[[LevelTable], np.ndarray]] = {
    "mean of the levels, not capped": lambda table: table.levels.mean(axis=1),
    "mean of the retentions": lambda table: table.retentions.mean(axis=1),
    "median of the levels": lambda table: np.median(table.levels, axis=1),
    "interquartile mean of all runs together": _pooled,
    "mean rank over streams": lambda table: average_ranks(table.levels).mean(axis=1),
    "lowest level of a stream": lambda table: table.levels.min(axis=1),
    "geometric mean of the levels": _geometric,
}


def taus(table: LevelTable, cap: float) -> dict[str, float]:
    """Aggregate of ``ALTERNATIVES`` -> Kendall's tau-b between its order of the methods and the score's.

    nan if it is not known for a method.
    """
    score = capped_mean(table, cap)
    return {name: kendall(score, aggregate(table)) for name, aggregate in ALTERNATIVES.items()}


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b of two arrays of shape (n,).

    1: the same order; -1: the opposite one; ties count in neither. nan if a value is nan, or if all values of
    one side are equal.
    """
    if np.isnan(x).any() or np.isnan(y).any():
        return float("nan")
    first, second = np.triu_indices(len(x), 1)
    left, right = np.sign(x[first] - x[second]), np.sign(y[first] - y[second])
    pairs = np.sqrt(float((left != 0).sum()) * float((right != 0).sum()))
    return float((left * right).sum() / pairs) if pairs else float("nan")


def variance_shares(table: LevelTable, cap: float) -> dict[str, float]:
    """Stream -> its share of the variance of the score between methods.

    The covariance over methods of the stream's part of the score with the whole score, over the variance of
    the score: shares add up to 1. A share is negative if a stream orders methods against the others. nan if
    all scores are equal.
    """
    parts = np.minimum(table.levels, cap) / len(table.streams)
    score = parts.sum(axis=1)
    variance = float(score.var())
    shares = ((parts - parts.mean(axis=0)) * (score - score.mean())[:, None]).mean(axis=0)
    shares = shares / variance if variance > 0 else np.full(len(table.streams), np.nan)
    return dict(zip(table.streams, shares.tolist(), strict=True))
