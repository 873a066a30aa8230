"""Positions of panels in a figure, in inches.

Much faster than matplotlib's layout solvers, which draw the figure to measure it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The largest width of a label's character, in inches.
CHARACTER = 0.078


class Room(NamedTuple):
    """Space around a panel for its labels, in inches."""

    left: float = 0.7
    right: float = 0.15
    top: float = 0.32
    bottom: float = 0.55


def label_width(labels: Sequence[str], least: float = 0.7) -> float:
    """Space for the labels of a vertical axis, in inches."""
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    return max(least, 0.2 + CHARACTER * longest)


def pack_panels(
    heights: Sequence[float], width: float, room: Room, columns: int = 3, head: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """A figure with one panel per entry of ``heights`` (inches), in the same order.

    The highest panel is placed first, each in the column that is shortest so far. ``head``: inches above all
    panels, for a title.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(heights))
    ends = [0.0] * columns
    places = [(0, 0.0)] * len(heights)
    for index in sorted(range(len(heights)), key=lambda i: -heights[i]):
        column = min(range(columns), key=lambda i: (round(ends[i], 6), i))
        places[index] = (column, ends[column] + room.top)
        ends[column] += room.top + heights[index] + room.bottom
    total_width, total = columns * (room.left + width + room.right), max(ends) + head
    figure = Figure(figsize=(total_width, total))
    panels = []
    for height, (column, top) in zip(heights, places, strict=True):
        left = column * (room.left + width + room.right) + room.left
        bottom = total - head - top - height
        panels.append(
            figure.add_axes((left / total_width, bottom / total, width / total_width, height / total))
        )
    return figure, panels


def grid_of_panels(
    rows: int, columns: int, size: tuple[float, float], room: Room, head: float = 0.0
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with rows of panels of equal size, (width, height) in inches."""
    figure, panels = pack_panels([size[1]] * (rows * columns), size[0], room, columns, head)
    return figure, [panels[row * columns : (row + 1) * columns] for row in range(rows)]


def explain_markers(figure: Figure) -> None:
    """Writes at the top what filled and hollow markers mean; the figure needs a ``head``."""
    height = figure.get_size_inches()[1]
    text = "filled: tuned; hollow: default settings"
    figure.text(0.01, 1 - 0.14 / height, text, va="center", color="0.35")
