"""``pb.methods`` and ``pb.streams``: what there is to run, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plasticity_bench.registry.descriptions import describe_methods, describe_streams

if TYPE_CHECKING:
    import pandas as pd


def methods() -> pd.DataFrame:
    """The methods: the built-in ones, then those of installed packages.

    Returns:
        A table indexed by name. Its columns: family, summary, settings with their defaults, whether the
        method uses task boundaries, and papers.

    Example:
        >>> methods().loc["l2", "settings"]
        {'strength': 0.001, 'decoupled': False}
    """
    entries = [
        {**entry, "papers": [paper["citation"] for paper in entry.get("papers", ())]}
        for entry in describe_methods()
    ]
    return _indexed(entries, ["family", "summary", "settings", "task_boundaries", "papers"])


def streams() -> pd.DataFrame:
    """The built-in streams.

    Returns:
        A table indexed by name. Its columns: summary, settings with their defaults, the default number of
        seeds, the unit of the performance, the source, and deviations from it.

    Example:
        >>> streams().loc["permuted-digits", "unit"]
        'accuracy'
    """
    return _indexed(
        describe_streams(), ["summary", "settings", "default_seeds", "unit", "source", "deviations"]
    )


def _indexed(entries: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(entries, columns=["name", *columns]).set_index("name")
