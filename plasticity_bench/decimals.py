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
#: Characters looked at: digits, point and the zeros before the first other digit.
WIDTH = DIGITS + 6
#: Places after the point; powers of ten are exact in 64 bits up to the 27th.
PLACES = WIDTH
#: Of the digits of a number so many are its low half.
HALF = 11


def numbers_as_written(text: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The numbers in ``text[starts[i]:ends[i]]``, (fields,), none of which is empty.

    Raises ValueError where ``repr`` of a number gives another text.
    """
    values = np.empty(len(starts))
    sure = np.zeros(len(starts), dtype=bool)
    if len(starts) and np.finfo(np.longdouble).nmant == 63:
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
    digits = text - np.uint8(ord("0"))  # beyond 9 for all that is no digit
    negative = text[starts] == ord("-")
    first = starts + negative
    point, sure = _points(text, digits > 9, first, ends)
    places = ends - 1 - point
    # "0.5" and "12.5" are written so; "00.5", ".5" and "5." are not.
    sure &= (point > first) & (places >= 1) & (ends - first <= WIDTH)
    sure &= (digits[first] != 0) | (point == first + 1)
    places = np.where(sure, places, 1)

    whole = _without_point(digits, np.where(sure, ends - first, 3), ends, places)
    sure &= (whole > 0) & (whole < 10.0**DIGITS)  # 0.0 and -0.0 go the other way
    # A zero at the end stands only directly behind the point: "49.0".
    integral = digits[ends - 1] == 0
    sure &= ~integral | ((places == 1) & (whole < 10**15))
    whole = np.where(sure, np.where(integral, whole // 10, whole), 1)

    scale = _powers()[np.where(integral, 0, places)]
    number = whole.astype(np.longdouble)
    values = (number / scale).astype(np.float64)
    # In units of the last digit: how far the double is from what is written, less than ``error`` off, and how
    # far numbers reach that become this double.
    apart = (values * scale - number).astype(np.float64)
    error = whole * 2.0**-62
    reach = np.spacing(values) * scale.astype(np.float64) / 2
    lower = np.where(np.frexp(values)[0] == 0.5, reach / 2, reach)  # doubles are closer below a power of two
    # It is the nearest double; below 1e-4 another spelling is used.
    sure &= (np.abs(apart) < lower - error) & (values >= 1e-4)
    # With up to 15 digits no shorter text is the same number. With more, one digit less must be another, and
    # of those with as many digits it must be the closest.
    last = whole % 10
    longest = np.minimum(np.abs(apart + last), np.abs(10 - last - apart)) > reach + error
    sure &= (whole < 10**15) | (longest & (np.abs(apart) < 0.5 - error))
    return np.where(negative, -values, values), sure


def _points(
    text: np.ndarray, signs: np.ndarray, first: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the point of each field is, and whether it is the only one of the ``signs`` in it."""
    points = np.concatenate([np.flatnonzero(text == ord(".")), [len(text)] * 2])
    index = np.searchsorted(points, first)
    sure = (points[index] < ends) & (points[index + 1] >= ends)
    others = np.flatnonzero(signs & (text != ord(".")) & (text != ord(",")) & (text != ord("\n")))
    others = others[np.searchsorted(others, first[0] - 1) :]  # not those of a table's head
    # One before the first digit is the sign of the number.
    others = others[~np.isin(others, first - 1)] if len(others) else others
    fields = np.searchsorted(first, others, side="right") - 1
    sure[fields[fields >= 0]] = False
    return np.where(sure, points[index], ends - 2), sure


def _without_point(
    digits: np.ndarray, length: np.ndarray, ends: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """The digits of each field as one whole number; more than ``DIGITS`` of them come out too large."""
    before = np.concatenate([np.zeros(WIDTH + 1, dtype=np.uint8), digits])
    window = np.lib.stride_tricks.sliding_window_view(before, WIDTH + 1)[ends]
    column = np.arange(WIDTH, dtype=np.int8)
    # What stands before the point moves into its place.
    behind = column >= (WIDTH - places).astype(np.int8)[:, None]
    kept = np.where(behind, window[:, 1:], window[:, :-1])
    kept *= column > (WIDTH - length).astype(np.int8)[:, None]
    # Two halves, so that both are exact as doubles.
    high, low = (kept.astype(np.float64) @ _weights()).T
    return np.asarray(np.minimum(high, 10.0**7).astype(np.int64) * 10**HALF + low.astype(np.int64))


@lru_cache(maxsize=1)
def _powers() -> np.ndarray:
    return np.array([np.longdouble(10**index) for index in range(PLACES + 1)])


@lru_cache(maxsize=1)
def _weights() -> np.ndarray:
    """(WIDTH, 2): what a digit in each column counts in the high and in the low half."""
    follow = np.arange(WIDTH)[::-1]
    high, low = 10.0 ** np.abs(follow - HALF), 10.0**follow
    return np.stack([np.where(follow >= HALF, high, 0), np.where(follow < HALF, low, 0)], axis=1)
