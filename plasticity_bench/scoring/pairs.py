"""Two cells compared on a metric, over the seeds of both."""

from __future__ import annotations

import numpy as np

from plasticity_bench.scoring.scores import TIMINGS, CellScores
from plasticity_bench.stats.bootstrap import Difference, paired_bootstrap


def paired_values(a: CellScores, b: CellScores, metric: str) -> list[list[np.ndarray]]:
    """The values of both for their common seeds, each as a list of one array, (seeds,)."""
    left, right = a.by_seed(metric), b.by_seed(metric)
    common = sorted(left.keys() & right.keys())
    return [[np.array([side[seed] for seed in common])] for side in (left, right)]


def difference(a: CellScores, b: CellScores, metric: str) -> tuple[Difference, int]:
    """The paired difference a - b with its interval, and the number of common seeds."""
    left, right = paired_values(a, b, metric)
    found = paired_bootstrap(left, right)
    if metric in TIMINGS:
        found = Difference(found.point, np.nan, np.nan, np.nan)
    return found, len(left[0])


def verdict(difference: Difference) -> str:
    """ "higher" or "lower" if the interval excludes 0, "tied" if not, "unknown" without an interval."""
    if np.isnan(difference.low):
        return "unknown"
    if difference.low <= 0 <= difference.high:
        return "tied"
    return "higher" if difference.low > 0 else "lower"
