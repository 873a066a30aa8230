"""Two cells compared on a metric, over the seeds of both."""

from __future__ import annotations

import numpy as np

from plasticity_bench.scoring.metrics import RATIOS
from plasticity_bench.scoring.scores import TIMINGS, CellScores
from plasticity_bench.stats.bootstrap import Difference, paired_bootstrap
from plasticity_bench.stats.inference import paired_test
from plasticity_bench.stats.ratios import ratio_difference


def paired_values(a: CellScores, b: CellScores, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of both for their common seeds, (seeds,) each.

    For ``metrics.RATIOS`` these are contributions to the ratios over the common seeds.
    """
    if metric in RATIOS:
        left, right = a.plasticity.ratios[metric].common(b.plasticity.ratios[metric])
        return left.contributions, right.contributions
    known, others = a.by_seed(metric), b.by_seed(metric)
    common = sorted(known.keys() & others.keys())
    return np.array([known[seed] for seed in common]), np.array([others[seed] for seed in common])


def difference(a: CellScores, b: CellScores, metric: str) -> tuple[Difference, int]:
    """The paired difference a - b with its interval, and the number of common seeds."""
    left, right = paired_values(a, b, metric)
    if metric in RATIOS:
        found = ratio_difference([a.plasticity.ratios[metric]], [b.plasticity.ratios[metric]])
    else:
        found = paired_bootstrap([left], [right])
    if metric in TIMINGS:
        found = Difference(found.point, np.nan, np.nan, np.nan)
    return found, len(left)


def p_value(a: CellScores, b: CellScores, metric: str) -> float:
    """Two-sided p-value of no difference, by sign flips of the common seeds; nan if it is unknown.

    The test is of equal means of ``paired_values``. For the level that is the difference itself, since both
    have the same denominators; for the other ratios the denominators are taken as given.
    """
    return float("nan") if metric in TIMINGS else paired_test(*paired_values(a, b, metric))


def verdict(difference: Difference) -> str:
    """ "higher" or "lower" if the interval excludes 0, "tied" if not, "unknown" without an interval."""
    if np.isnan(difference.low):
        return "unknown"
    if difference.low <= 0 <= difference.high:
        return "tied"
    return "higher" if difference.low > 0 else "lower"
