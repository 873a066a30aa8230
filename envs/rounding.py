"""Arithmetic that rounds as the numpy calls of the published environments do, without calling numpy.

After a step of the physics has emptied the caches, a numpy call on a few numbers costs 3 to 7 microseconds,
several times what Python's own arithmetic costs.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from operator import add, mul

import numpy as np

Vector = tuple[float, float, float]


def pairwise_sum(values: Sequence[float]) -> float:
    """A sum in the order in which numpy adds up to 128 numbers: eight columns, these as a tree, then the
    rest."""
    whole = len(values) // 8 * 8
    total = 0.0
    if whole:
        columns = values[:8]
        for start in range(8, whole, 8):
            columns = tuple(map(add, columns, values[start : start + 8]))
        a, b, c, d, e, f, g, h = columns
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for value in values[whole:]:
        total += value
    return total


def mean_costs(action: list[float], speeds: list[float], precision: str) -> tuple[float, float]:
    """Means of |action * speed| and of action^2 over up to 8 joints.

    Every product and sum is rounded to the ``precision``, which is an array's type code: "f" or "d".
    """
    count = len(action)
    both = array(precision, list(map(mul, action + action, speeds + action)))
    if count == 8:
        a, b, c, d, e, f, g, h, *heats = both
        powers = [abs(a) + abs(b), abs(c) + abs(d), abs(e) + abs(f), abs(g) + abs(h)]
        a, b, c, d, e, f, g, h = heats
        a, b, c, d, e, f, g, h = array(precision, [*powers, a + b, c + d, e + f, g + h])
        a, b, c, d = array(precision, [a + b, c + d, e + f, g + h])
        power, heat = array(precision, [a + b, c + d])
    else:
        power, heat = abs(both[0]), both[count]
        for i in range(1, count):
            power, heat = array(precision, [power + abs(both[i]), heat + both[count + i]])
    power, heat = array(precision, [power / count, heat / count])
    return power, heat


def heading(dx: float, dy: float, yaw: float, velocity: Vector) -> tuple[float, float, float, float]:
    """Sine and cosine of the angle from ``yaw`` to (dx, dy), and 0.3 * velocity (x, y) turned by -``yaw``.

    The results are rounded to float32 later. If numpy's last bits could change the rounded result, numpy
    computes it.
    """
    target = math.atan2(dy, dx)
    angle = target - yaw
    sine, cosine = math.sin(angle), math.cos(angle)
    c, s = math.cos(yaw), -math.sin(yaw)
    vx, vy, _ = velocity
    x, y = 0.3 * (c * vx - s * vy), 0.3 * (s * vx + c * vy)
    # Bounds of what two good libraries may differ by: some 8 units in the last place of every part.
    e = 2e-15 * (abs(target) + abs(yaw))
    e_sine, e_cosine = e + 2e-15 * abs(sine), e + 2e-15
    e_x, e_y = 2e-15 * (abs(c * vx) + abs(s * vy)), 2e-15 * (abs(s * vx) + abs(c * vy))
    least = array("f", (sine - e_sine, cosine - e_cosine, x - e_x, y - e_y))
    if least == array("f", (sine + e_sine, cosine + e_cosine, x + e_x, y + e_y)):
        return sine, cosine, x, y
    angle = np.arctan2(dy, dx) - yaw
    c, s = np.cos(-yaw), np.sin(-yaw)
    x, y, _ = np.dot(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), velocity)
    return float(np.sin(angle)), float(np.cos(angle)), float(0.3 * x), float(0.3 * y)


@cache
def length_function() -> Callable[[float, float], float]:
    """The length of a vector in the plane: Python's, unless this machine's numpy rounds it in another way.

    numpy's scalar product is the BLAS library's, which on some processors fuses multiplications and
    additions. A library that does differs on every fourth vector or so.
    """
    xs = np.random.default_rng(0).uniform(-1000, 1000, (500, 2))
    identical = all(_length(x, y) == _numpy_length(x, y) for x, y in xs.tolist())
    return _length if identical else _numpy_length


def _length(x: float, y: float) -> float:
    return math.sqrt(x * x + y * y)


def _numpy_length(x: float, y: float) -> float:
    return float(np.linalg.norm([x, y]))
