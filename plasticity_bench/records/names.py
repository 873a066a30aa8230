"""How cells and seeds are named on disk and in messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

#: Ending of the label of a method whose settings a sweep chose.
TUNED_MARK = " (tuned)"


def cell_label(folder: Path) -> str:
    """A cell's folder within the run folder: ``permuted-digits-v1/syre-1a2b3c4d``."""
    return f"{folder.parent.name}/{folder.name}"


def recorded_stream_folder(name: str, version: int, label: str) -> str:
    """``permuted-digits-v1``, with ``_key=value`` for every setting that differs from the default."""
    changed = label.removeprefix(name).removeprefix(":")
    name = re.sub(r"[^\w.+-]+", ".", name)  # names of Avalanche's streams have a colon
    return f"{name}-v{version}" + (f"_{changed.replace(',', '_')}" if changed else "")


def table_stem(kind: str, seed: int) -> str:
    """What the names of a table's files begin with: ``seed-000``, or ``fresh-000`` for fresh twins."""
    return f"{kind}-{seed:03d}"


def recorded_seeds(folder: Path, kind: str = "seed") -> list[int]:
    """The seeds recorded in a cell's folder, ascending: those with a .json file.

    ``kind``: "seed", or "fresh" for those whose fresh twins are recorded.
    """
    names = (re.fullmatch(rf"{kind}-(\d{{3,}})\.json", path.name) for path in folder.glob(f"{kind}-*.json"))
    return sorted(int(match[1]) for match in names if match)


def seed_ranges(seeds: Sequence[int], separator: str = ",") -> str:
    """Ascending seeds as ranges: ``0-3,7``."""
    ranges: list[list[int]] = []
    for seed in seeds:
        if ranges and seed == ranges[-1][-1] + 1:
            ranges[-1].append(seed)
        else:
            ranges.append([seed])
    return separator.join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in ranges)


def seeds_text(seeds: Sequence[int]) -> str:
    """``seed 3``, ``seeds 0-3,7``."""
    return f"seed{'s' if len(seeds) > 1 else ''} {seed_ranges(seeds)}"
