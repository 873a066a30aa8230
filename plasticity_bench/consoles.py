"""The terminal as this package writes to it."""

from __future__ import annotations

from typing import Any

from rich.console import Console


def plain_console(**options: Any) -> Console:
    """A console that shows text as it is: paths and settings may hold ``[/b]`` or ``:key:``.

    Args:
        options: As for rich's Console.
    """
    return Console(markup=False, emoji=False, **options)
