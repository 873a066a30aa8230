"""Families of methods: kinds of interventions. Every method's ``info`` names its family."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from plasticity_bench.plugins import import_class
from plasticity_bench.registry.catalog import METHODS

#: Family -> what its methods do, in the order in which lists and the leaderboard page show them.
FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "references": "what methods are compared with: plain training, and a fresh network for every task",
        "decay and regularisation": "keep weights or features from growing or collapsing while they train",
        "resets of units": "re-initialise units or single weights that contribute little",
        "resets of layers": "re-initialise or replace whole layers",
        "shrinking and perturbing": "move all weights toward a fresh state from time to time",
        "architecture": "train another network: normalisation, other activations",
        "optimizers": "change how the gradient moves the weights",
        "controls": "leave out or change one part of a method, to show what that part does",
        "combinations": "several methods at once, written with + between their names",
        "other": "plug-ins",
    }
)


def family_of(name: str) -> str:
    """The family of the method with this ``MethodInfo.name``, as ``FAMILIES`` names it.

    The family of a plug-in is "other": records do not hold it, and a plug-in's code may not be available.
    """
    if "+" in name:
        return "combinations"
    return str(import_class(METHODS[name]).info.family) if name in METHODS else "other"
