"""Whole numbers as short text, which keeps a page with many curves and seeds small.

The encoding is Base64 VLQ, as in source maps (ECMA-426): differences to the number before, the sign in the
lowest bit, five bits per character, and 32 added to every character of a number but its last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from plasticity_bench.page.curves import finite

BASE64_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
#: Stands for an unknown number.
UNKNOWN_MARK = "."
#: Seeds' values are packed with this many decimals, the most that the page shows ...
PACKED_DECIMALS = 3
#: ... if none of them is larger than this; else they are not packed.
LARGEST_PACKED = 10_000

_CHARACTERS = np.frombuffer((BASE64_CHARACTERS + UNKNOWN_MARK).encode(), np.uint8)
#: Most characters of a number: 30 bits, as many as JavaScript's bit operations can hold.
_MAX_CHARACTERS = 6


def pack_rows(rows: Sequence[Any]) -> list[str]:
    """The text of every row. A row is a sequence of whole numbers; None or nan: unknown.

    Raises ValueError for a number of 2^28 or more in size.
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
    places = np.arange(_MAX_CHARACTERS)
    count = 1 + (codes[:, None] >= 32 ** places[1:]).sum(axis=1)
    digits = (codes[:, None] >> 5 * places & 31) + 32 * (places < count[:, None] - 1)
    digits[codes < 0] = len(BASE64_CHARACTERS)
    text = _CHARACTERS[digits[places < count[:, None]]].tobytes().decode()
    ends = np.cumsum(np.bincount(row_of, weights=count, minlength=len(columns))).astype(int).tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def pack_curves(grids: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """``curves.grids`` with every curve's [mean, below, above] as text."""
    found = {}
    for name, grid in grids.items():
        texts = iter(pack_rows([line for curve in grid["curves"] if curve for line in curve]))
        curves = [[next(texts) for _ in curve] if curve else None for curve in grid["curves"]]
        found[name] = {**grid, "curves": curves}
    return found


def pack_values(rows: Sequence[np.ndarray]) -> list[str | list[float | None]]:
    """Every row of seeds' values (nan: unknown) as text, in units of the last decimal of PACKED_DECIMALS.

    A row with a value above LARGEST_PACKED or infinity is a list of numbers with four significant digits.
    """
    large = [bool((np.abs(row[~np.isnan(row)]) > LARGEST_PACKED).any()) for row in rows]
    texts = iter(
        pack_rows([row * 10**PACKED_DECIMALS for row, plain in zip(rows, large, strict=True) if not plain])
    )
    return [
        [finite(value, 4) for value in row.tolist()] if plain else next(texts)
        for row, plain in zip(rows, large, strict=True)
    ]
