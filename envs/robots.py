"""The four walking robots of PyBullet's locomotion tasks, as data.

Models are the MJCF files of ``pybullet_data``; every constant is that of pybullet_envs_gymnasium 0.6.0
(``robot_locomotors.py``), which goes back to OpenAI's Roboschool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

#: (torso height in m, pitch in rad, ground contact of each foot *one step ago*) -> healthy
Healthy = Callable[[float, float, Sequence[float]], bool]


def _off_the_ground(z: float, pitch: float, contacts: Sequence[float]) -> bool:
    return z > 0.26  # the radius of Ant's torso is 0.25


def _upright(z: float, pitch: float, contacts: Sequence[float]) -> bool:
    return z > 0.8 and abs(pitch) < 1.0


def _on_its_feet(z: float, pitch: float, contacts: Sequence[float]) -> bool:
    _, shin, thigh, _, back_shin, back_thigh = contacts
    return abs(pitch) < 1.0 and not (shin or thigh or back_shin or back_thigh)


@dataclass(frozen=True)
class Robot:
    """What distinguishes one robot from another: names in its model, strengths, and when it is healthy."""

    name: str
    model: str  # file in pybullet_data/mjcf
    power: float  # torque of an action of 1, in units of a joint's coefficient
    feet: tuple[str, ...]  # links whose contact with the ground is observed
    healthy: Healthy  # reward +1 if it is, else -1
    terminates: bool = True  # an unhealthy robot ends the episode
    coefficients: Mapping[str, float] = field(default_factory=dict)  # N m, of joints that do not have 100
    torso: str = "torso"


ANT = Robot(
    name="Ant",
    model="ant.xml",
    power=2.5,
    feet=("front_left_foot", "front_right_foot", "left_back_foot", "right_back_foot"),
    healthy=_off_the_ground,
)
HALF_CHEETAH = Robot(
    name="HalfCheetah",
    model="half_cheetah.xml",
    power=0.90,
    feet=("ffoot", "fshin", "fthigh", "bfoot", "bshin", "bthigh"),
    healthy=_on_its_feet,
    terminates=False,
    coefficients={
        "bthigh": 120.0,
        "bshin": 90.0,
        "bfoot": 60.0,
        "fthigh": 140.0,
        "fshin": 60.0,
        "ffoot": 30.0,
    },
)
HOPPER = Robot(name="Hopper", model="hopper.xml", power=0.75, feet=("foot",), healthy=_upright)
WALKER_2D = Robot(
    name="Walker2D",
    model="walker2d.xml",
    power=0.40,
    feet=("foot", "foot_left"),
    healthy=_upright,
    coefficients={"foot_joint": 30.0, "foot_left_joint": 30.0},
)
