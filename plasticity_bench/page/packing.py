"""Whole numbers as short text, so that a page with many curves and seeds stays small.

The coding is Base64 VLQ as source maps use it (ECMA-426): differences to the number before, the sign in the
lowest bit, five bits a character, 32 added to every character but a number's last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
#: Stands for a number that is not known.
GAP = "."
#: Seeds' values are kept to as many decimals as the page shows at most ...
DECIMALS = 3
#: ... where none of them is larger; else they stand as they are.
LARGEST = 10_000

_CHARACTERS = np.frombuffer((DIGITS + GAP).encode(), np.uint8)
#: Characters that the largest number may take: 30 bits, what JavaScript's bit operations hold.
_MOST = 6


def packed(rows: Sequence[Any]) -> list[str]:
    """The text of every row, a sequence of whole numbers below 2^28 in size, None or nan where not known.

    Raises ValueError for larger numbers.
    """
    if not rows:
        return []
    columns = [np.asarray(row, dtype=float) for row in rows]
    values = np.concatenate(columns)
    row_of = np.repeat(np.arange(len(columns)), [len(column) for column in columns])
    known = np.isfinite(values)
    kept = np.round(values[known]).astype(np.int64)
    if len(kept) and np.abs(kept).max() >= 2**28:
        raise ValueError(f"{np.abs(kept).max()} is too large to be packed")
    starts = np.diff(row_of[known], prepend=-1) > 0
    steps = np.where(starts, kept, np.diff(kept, prepend=0))
    codes = np.full(len(values), -1)
    codes[known] = 2 * np.abs(steps) + (steps < 0)
    places = np.arange(_MOST)
    count = 1 + (codes[:, None] >= 32 ** places[1:]).sum(axis=1)
    digits = (codes[:, None] >> 5 * places & 31) + 32 * (places < count[:, None] - 1)
    digits[codes < 0] = len(DIGITS)
    text = _CHARACTERS[digits[places < count[:, None]]].tobytes().decode()
    ends = np.cumsum(np.bincount(row_of, weights=count, minlength=len(columns))).astype(int).tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def packed_curves(grids: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """``page_curves.grids`` with every curve's [mean, below, above] as text."""
    found = {}
    for name, grid in grids.items():
        texts = iter(packed([line for curve in grid["curves"] if curve for line in curve]))
        curves = [[next(texts) for _ in curve] if curve else None for curve in grid["curves"]]
        found[name] = {**grid, "curves": curves}
    return found


def packed_values(rows: Sequence[np.ndarray]) -> list[str | list[float | None]]:
    """Every row of seeds' values (nan: not known) as text, in units of the last of ``DECIMALS`` decimals; a
    row with a value above ``LARGEST`` or infinite as numbers of four digits."""
    large = [bool((np.abs(row[~np.isnan(row)]) > LARGEST).any()) for row in rows]
    texts = iter(packed([row * 10**DECIMALS for row, plain in zip(rows, large, strict=True) if not plain]))
    return [
        [_finite(value) for value in row.tolist()] if plain else next(texts)
        for row, plain in zip(rows, large, strict=True)
    ]


def _finite(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
