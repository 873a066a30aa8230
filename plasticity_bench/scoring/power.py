"""Power: what difference of two levels the seeds of a stream can detect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

#: Standard errors that a difference has to be for a two-sided test at p 0.05 to find it in 80% of studies:
#: the normal quantiles of 0.975 and 0.8 together.
STANDARD_ERRORS = 2.8
#: The difference for which the needed seeds are given.
ASKED = 0.1


class Power(NamedTuple):
    """What the seeds of a stream can detect."""

    seeds: int  # those that most rows have
    rows: int  # rows with exactly these seeds
    deviation: float  # standard deviation over seeds of the difference of two rows, median over pairs of rows
    detectable: float  # the difference that is found in 80% of studies, at p 0.05 for a single pair
    needed: int  # seeds that would detect ``ASKED``


def power_of(levels: Mapping[str, Mapping[int, float]]) -> Power | None:
    """The power on one stream.

    Args:
        levels: For every row its contributions to the level, seed -> value. Rows with a nan are left out.

    Returns:
        The power, from the pairs among the rows whose seeds are those that most rows have. None if there are
        no two such rows with two seeds.
    """
    by_seeds: dict[tuple[int, ...], list[list[float]]] = {}
    for own in levels.values():
        seeds = tuple(sorted(own))
        if len(seeds) > 1 and not np.isnan(list(own.values())).any():
            by_seeds.setdefault(seeds, []).append([own[seed] for seed in seeds])
    if not by_seeds:
        return None
    seeds, rows = max(by_seeds.items(), key=lambda item: (len(item[1]), len(item[0])))
    if len(rows) < 2:
        return None
    first, second = np.triu_indices(len(rows), 1)
    values = np.array(rows)
    deviation = float(np.median((values[first] - values[second]).std(axis=1, ddof=1)))
    return Power(
        len(seeds),
        len(rows),
        deviation,
        STANDARD_ERRORS * deviation / math.sqrt(len(seeds)),
        math.ceil((STANDARD_ERRORS * deviation / ASKED) ** 2),
    )
