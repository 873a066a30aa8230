"""The configurations that a sweep tries: the default, then points of a seeded quasi-random design.

All methods get the same number of configurations, however many hyperparameters they have. The learning rate
is a hyperparameter of every method, also of `none`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plasticity_bench.errors import InputError
from plasticity_bench.registry.choices import Chosen
from plasticity_bench.registry.settings import LEARNING_RATE, setting_text
from plasticity_bench.storage.files import sha256

if TYPE_CHECKING:
    import numpy as np

#: The learning rate is searched from the stream's value divided by this to its value times this.
LEARNING_RATE_RANGE = 10.0

#: Values between the declared ones are searched if the greatest is at least this many times the least. So
#: 0.99 and 0.999 are the only two values of a hyperparameter that declares them.
INTERPOLATION_RATIO = 2

#: Significant digits of a searched number.
DIGITS = 2


def search_space(method: Chosen, learning_rate: float) -> dict[str, tuple[Any, ...]]:
    """The settings that a sweep changes: those that the method declares, and the learning rate.

    Args:
        method: The method.
        learning_rate: The stream's learning rate.

    Returns:
        Setting -> values in ascending order.

    Raises:
        InputError: The method declares a setting that it does not have, or one without values.
    """
    space: dict[str, tuple[Any, ...]] = {}
    for name, values in method.cls.info.search_space.items():
        if name not in method.settings:
            raise InputError(f"{method.label}: search_space names {name!r}, which is no setting of it")
        if not values:
            raise InputError(f"{method.label}: search_space has no value for {name!r}")
        space[name] = tuple(sorted(values))
    low, high = learning_rate / LEARNING_RATE_RANGE, learning_rate * LEARNING_RATE_RANGE
    return {**space, LEARNING_RATE: (low, high)}


def configurations(
    method: Chosen, space: Mapping[str, Sequence[Any]], budget: int, seed: int = 0
) -> list[dict[str, str]]:
    """The configurations of a sweep. The first is the default: ``{}``.

    The others are points of a scrambled Sobol sequence (scipy.stats.qmc) over the space. Positive numbers
    that span a range are searched between the least and the greatest declared value, evenly in the logarithm.
    They are rounded to two digits, whole numbers to whole numbers. Of all other settings the declared values
    are tried. Settings that the user gave (``l2:strength=0.1``) are kept.

    Args:
        method: The method.
        space: Setting -> values in ascending order: see ``search_space``.
        budget: Number of different configurations.
        seed: Seed of the sequence, together with the method's name.

    Returns:
        The configurations: setting -> value as text.

    Raises:
        InputError: The budget is less than 1, or there are fewer different configurations.
    """
    import numpy as np
    from scipy.stats import qmc

    free = [name for name in space if method.settings[name] == _default(method, name)]
    names = [name for name in free if len(set(space[name])) > 1]
    if budget < 1:
        raise InputError(f"a budget of {budget}: at least one configuration is needed")
    if budget > 1 and not names:
        raise InputError(f"{method.label}: nothing is left to search, every setting is given")
    number = int(sha256(f"{seed} {method.cls.info.name}".encode())[:8], 16)
    sampler = qmc.Sobol(max(1, len(names)), scramble=True, rng=np.random.default_rng(number))
    found: list[dict[str, str]] = [{}]
    known: set[tuple[str, ...]] = set()
    drawn = 0
    while len(found) < budget:
        if drawn > 100 * budget:
            raise InputError(f"{method.label}: fewer than {budget} different configurations exist")
        points = sampler.random(64)
        drawn += len(points)
        for point in points:
            candidate = {name: _value(space[name], u) for name, u in zip(names, point, strict=True)}
            if (values := tuple(candidate.values())) not in known and len(found) < budget:
                known.add(values)
                found.append(candidate)
    return found


def _default(method: Chosen, name: str) -> Any:
    """The value of a setting that the user did not give."""
    if name == LEARNING_RATE:
        return None
    part, _, field = name.rpartition(".")
    classes = [p.cls for p in method.parts if p.cls.info.name == part] if part else [method.cls]
    return getattr(classes[0], field)


def _value(values: Sequence[Any], u: np.floating[Any]) -> str:
    """The value at position ``u`` in [0, 1) of the range of values, as text."""
    if not _interpolated(values):
        return setting_text(values[int(u * len(values))])
    low, high = values[0], values[-1]
    between = float(low * (high / low) ** u)
    if all(isinstance(v, int) for v in values):
        return str(round(between))
    return setting_text(_rounded(between))


def may_be_tried(values: Sequence[Any], text: str) -> bool:
    """Whether a sweep over ``values``, in ascending order, can try the value ``text``."""
    if not _interpolated(values):
        return text in [setting_text(value) for value in values]
    try:
        value = float(text)
    except ValueError:
        return False
    low, high = values[0], values[-1]
    if not min(low, _rounded(low)) <= value <= max(high, _rounded(high)):
        return False
    return text == (str(int(value)) if all(isinstance(v, int) for v in values) else f"{value:g}")


def _interpolated(values: Sequence[Any]) -> bool:
    """Whether values between the declared ones are searched."""
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) and v > 0 for v in values)
    return numbers and bool(values[-1] >= INTERPOLATION_RATIO * values[0])


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
