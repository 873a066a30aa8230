"""The two reference methods that every other method is compared with."""

from __future__ import annotations

from collections.abc import Mapping

#: A plain network without any method, and one that is initialised again for every task.
REFERENCES = ("none", "reset")

#: Metric -> the reference whose record it needs, seed by seed.
REFERENCE_OF: Mapping[str, str] = {"retained_plasticity": "none", "fresh_gap": "reset"}
