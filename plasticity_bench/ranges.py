"""The values that a number may have, as methods and streams declare them for their settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
    """The values that a number may have: from ``low`` to ``high``.

    Example:
        >>> str(Range(0, 1, below=True)), str(Range(1)), str(Range(0, above=True))
        ('at least 0 and below 1', 'at least 1', 'above 0')
        >>> Range(0).holds(float("nan"))
        False
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # low itself is not allowed
    below: bool = False  # high itself is not allowed

    def holds(self, value: float) -> bool:
        """Whether a number is finite and in the range."""
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return math.isfinite(value) and over and under

    def __str__(self) -> str:
        least = f"{'above' if self.above else 'at least'} {self.low:g}"
        most = f"{'below' if self.below else 'at most'} {self.high:g}"
        parts = [least] * (self.low > -math.inf) + [most] * (self.high < math.inf)
        return " and ".join(parts) or "finite"


#: Strengths, sizes and counts that may be 0.
NOT_NEGATIVE = Range(0)
POSITIVE, AT_LEAST_ONE = Range(0, above=True), Range(1)
#: Shares.
SHARE = Range(0, 1)
#: Decay rates of running means.
BELOW_ONE = Range(0, 1, below=True)


def check_ranges(owner: Any, ranges: Mapping[str, Range]) -> None:
    """Raises ValueError if an attribute of ``owner`` is outside its range, or not finite.

    A name that ``owner`` lacks is left out: ``check`` reports it.
    """
    for name, allowed in ranges.items():
        value = getattr(owner, name, None)
        if value is not None and not allowed.holds(value):
            raise ValueError(f"{name} must be {allowed}, not {value}")
