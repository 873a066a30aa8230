"""Task variables: the physical quantities that make one locomotion task differ from another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from plasticity_bench.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Variables:
    """The task variables of an environment; the defaults are those of the published environments.

    Args:
        friction: Lateral friction of the ground. Bullet multiplies it with the link's own (Ant 1.5, massless
            links of every robot 0.5) and limits the product to 10.
        joint_damping: Of the joints that have motors, in N m s / rad.
        gravity: Downward, in m / s^2.
        direction: Of the target 1 km away, in radians, counterclockwise from the robot's initial direction.
        motor_strength: Factor of every torque.

    Raises:
        InputError: A value is not a finite number, or is negative (``direction`` may be).

    Example:
        >>> Variables().changed({"friction": 0.1}).friction
        0.1
    """

    friction: float = 0.8
    joint_damping: float = 0.0
    gravity: float = 9.8
    direction: float = 0.0
    motor_strength: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise InputError(
                    f"{name}={value!r} in the reset options is not a finite number: give a float"
                )
            if value < 0 and name != "direction":
                raise InputError(f"{name}={value!r} in the reset options is negative: give 0 or more")

    def changed(self, options: Mapping[str, Any] | None) -> Variables:
        """A copy in which some variables have other values.

        Args:
            options: Variable -> value, as ``reset`` is given them.

        Raises:
            InputError: An option is not known or out of range.
        """
        if not options:
            return self
        known = [field.name for field in fields(self)]
        for name in options:
            if name not in known:
                raise InputError(f'unknown reset option "{name}": {did_you_mean(str(name), known)}')
        plain = {name: value.item() if hasattr(value, "item") else value for name, value in options.items()}
        return replace(self, **plain)
