"""The reference methods that every other method is compared with."""

from __future__ import annotations

from plasticity_bench.records.names import TUNED_MARK

#: A plain network without any method, and one that is initialised again for every task.
REFERENCES = ("none", "reset")
#: Labels of plain training. The level compares with the fresh twins of the first one that has any.
PLAIN_LABELS = (f"none{TUNED_MARK}", "none")


def is_reference(method: str) -> bool:
    """Whether the row with this label is a reference, tuned or not."""
    return method.removesuffix(TUNED_MARK) in REFERENCES
