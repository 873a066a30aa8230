"""Many numbers at once from their text, and whether each is written as Python writes it.

Python needs about a microsecond to read a number and to write it again for comparison; a leaderboard's tables
hold tens of millions. Here both are decided for most numbers together, in arithmetic that is exact enough to
know when it is not sure; what is left over goes through ``float`` and ``repr``.

Sure needs 64 bits of mantissa in ``numpy.longdouble`` (x86); elsewhere everything is left over.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

#: Digits of a number that are looked at together; its text has a point and perhaps a sign besides.
DIGITS = 17
#: Places after the point up to which powers of ten are exact in 64 bits.
PLACES = 27
#: Characters looked at: digits, point and the zeros before the first other digit.
WIDTH = DIGITS + 6


def numbers_as_written(text: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The numbers in ``text[starts[i]:ends[i]]``, (fields,), none of which is empty.

    Raises ValueError where ``repr`` of a number gives another text.
    """
    values = np.empty(len(starts))
    sure = np.zeros(len(starts), dtype=bool)
    if np.finfo(np.longdouble).nmant == 63:
        values, sure = _together(np.frombuffer(text, dtype=np.uint8), starts, ends)
    for index in np.flatnonzero(~sure).tolist():
        field = text[starts[index] : ends[index]].decode("ascii")
        values[index] = float(field)
        if repr(float(field)) != field:
            raise ValueError(f"another spelling: {field}")
    return values


def whole_numbers_as_written(text: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The same of whole numbers, which are written without a point."""
    fields = [
        text[start:end].decode("ascii") for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    numbers = list(map(int, fields))
    if list(map(str, numbers)) != fields:
        raise ValueError("another spelling")
    return np.array(numbers, dtype=np.float64)


def _together(text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values, and whether it is sure that they are these and written so."""
    # Room to look beyond the last field.
    padded = np.concatenate([text, np.zeros(WIDTH + 1, dtype=np.uint8)])
    negative = padded[starts] == ord("-")
    first = starts + negative
    length = ends - first
    sure = (length >= 3) & (length <= WIDTH)
    length = np.where(sure, length, 3)

    column = np.arange(WIDTH, dtype=np.int8)
    chars = np.lib.stride_tricks.sliding_window_view(padded, WIDTH)[first]
    point = chars == ord(".")
    digits = chars - np.uint8(ord("0"))  # beyond 9 for all that is no digit
    is_digit = (digits <= 9) & (column < length.astype(np.int8)[:, None])
    digits *= is_digit
    where = point.argmax(axis=1).astype(np.int8)  # of the first point
    sure &= np.add.reduce(is_digit.view(np.uint8), axis=1, dtype=np.uint8) == length - 1
    places = length - 1 - where
    # "0.5" and "12.5" are written so; "00.5", ".5" and "5." are not.
    sure &= (where >= 1) & (places >= 1) & (places <= PLACES)
    sure &= (chars[:, 0] != ord("0")) | (where == 1)

    # How many digits follow each, the point not counted.
    follow = (length - 1).astype(np.int8)[:, None] - column - (column < where[:, None])
    # All digits as one number; up to six beyond the seventeenth count as that, and cannot overflow.
    powers = _whole_powers().take(np.clip(follow, 0, DIGITS))
    whole = np.einsum("ij,ij->i", digits, powers)
    sure &= whole < 10**DIGITS
    # A zero at the end stands only directly behind the point: "49.0".
    integral = chars[np.arange(len(chars)), length - 1] == ord("0")
    sure &= ~integral | ((places == 1) & (whole < 10**15))
    whole = np.where(integral, whole // 10, whole)
    places = np.where(integral, 0, places)
    # 0.0 and -0.0 go the other way.
    sure &= whole > 0

    scale = _powers()[np.where(sure, places, 0)]
    number = whole.astype(np.longdouble)
    values, known = _nearest(number / scale)
    # Below it is written as 1e-05.
    sure &= known & (values >= 1e-4)
    # With up to 15 digits no shorter text is the same number. With more, one digit less must be another.
    short = whole < 10**15
    below = (whole // 10 * 10).astype(np.longdouble)
    for shorter in (below, below + 10):
        other, known = _nearest(shorter / scale)
        sure &= short | (known & (other != values))
    # And of those with as many digits it is the closest; the product is off by less than 1/128.
    sure &= short | (np.abs(values.astype(np.longdouble) * scale - number) < 0.49)
    return np.where(negative, -values, values), sure


def _nearest(quotients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The doubles nearest to what ``quotients`` were rounded from, and where that is sure: not where they lie
    halfway between two."""
    values = quotients.astype(np.float64)
    apart = np.abs(quotients - values)
    # Spacing towards zero is half of that away from it at powers of two.
    half = np.spacing(values).astype(np.longdouble) / 2
    return values, (apart != half) & (apart != half / 2)


@lru_cache(maxsize=1)
def _powers() -> np.ndarray:
    return np.array([np.longdouble(10**index) for index in range(PLACES + 1)])


@lru_cache(maxsize=1)
def _whole_powers() -> np.ndarray:
    return np.array([10**index for index in range(DIGITS + 1)], dtype=np.int64)
