"""Families of methods: what kind of intervention a method is, for readers who filter the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping

#: Family -> names of built-in methods, in the order in which the page offers them.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "references": ("none", "reset"),
    "decay and regularisation": (
        "l2",
        "l2-init",
        "l2-er",
        "syre",
        "spectral",
        "parseval",
        "wasserstein-init",
        "weight-clipping",
        "dropout",
    ),
    "resets of units": ("cbp", "redo", "regrama", "snr", "swr"),
    "resets of layers": ("head-reset", "layer-reset", "plasticity-injection"),
    "shrinking and perturbing": ("shrink-perturb", "dash", "fire", "hare-tortoise"),
    "architecture": ("layer-norm", "batch-norm", "crelu", "deep-fourier", "normalize-and-project"),
    "optimizers": ("upgd", "trac", "adamo"),
    "controls": ("syre-offset-only", "syre-redrawn"),
}
COMBINATIONS, OTHER = "combinations", "other"


def family_of(name: str) -> str:
    """The family of the method with this ``MethodInfo.name``.

    "combinations" for methods joined with +, "other" for plug-ins and names that no family holds.
    """
    for family, names in FAMILIES.items():
        if name in names:
            return family
    return COMBINATIONS if "+" in name else OTHER
