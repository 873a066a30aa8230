"""How figures draw a method: its colour, its line, its label; the same in every figure.

A method may have two rows on a stream: with settings that a sweep chose ("l2 (tuned)"), and with others
("l2"). They share a colour; where both kinds are there, tuned is solid or filled, else dashed or hollow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from plasticity_bench.records.cells import TUNED_MARK
from plasticity_bench.scoring.scores import StreamScores

#: More coloured curves than this (and the references) cannot be told apart; the rest is light grey.
MOST_COLOURED = 8
#: So many of the coloured ones are the best of all, the others the best known.
BEST = 3
GREY = "0.8"
REFERENCES = ("none", "reset")
#: Seaborn's colour-blind palette without its grey and its yellow, which are too close to the reference's grey
#: and to the paper: for methods that many papers compare with.
KNOWN = {
    "l2": "#029E73",
    "l2-init": "#CC78BC",
    "shrink-perturb": "#CA9161",
    "syre": "#DE8F05",
    "cbp": "#0173B2",
    "redo": "#D55E00",
    "layer-norm": "#56B4E9",
    "crelu": "#FBAFE4",
}
#: For all others: Tol's muted colours that are not close to these.
COLOURS = ("#332288", "#882255", "#117733", "#999933", "#661100", "#44AA99")
#: One after the other, once the colours are used up.
LINES = ("-", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
DASHED = (0, (4, 1.6))
PANELS = {
    "dormant_fraction": "dormant fraction",
    "effective_rank": "effective rank",
    "weight_norm": "weight norm",
}
#: matplotlib's settings for all figures. One font that comes with it, so that files are the same everywhere.
SETTINGS: Mapping[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelcolor": "0.15",
    "axes.edgecolor": "0.15",
    "axes.linewidth": 0.9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": "0.1",
    "xtick.color": "0.15",
    "ytick.color": "0.15",
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    # Without a fixed salt the ids inside an SVG differ at every save.
    "svg.hashsalt": "plasticity_bench",
}


class Style(NamedTuple):
    """How a row is drawn."""

    color: Any
    linestyle: Any
    filled: bool = True

    @property
    def face(self) -> Any:
        """The inside of its markers."""
        return self.color if self.filled else "white"


class Row(Protocol):
    """What belongs to a method."""

    @property
    def method(self) -> str: ...


AnyRow = TypeVar("AnyRow", bound=Row)


def plain(method: str) -> str:
    """The label without the word that its settings were tuned."""
    return method.removesuffix(TUNED_MARK)


def is_tuned(method: str) -> bool:
    """Whether a sweep chose the settings of the row with this label."""
    return method.endswith(TUNED_MARK)


def styles_of(streams: Sequence[StreamScores]) -> dict[str, Style]:
    """The style of every row of these streams, by label."""
    labels = sorted({row.method for stream in streams for row in stream.rows})
    plains = {plain(label) for label in labels}
    tuned = {plain(label) for label in labels if is_tuned(label)}
    others = sorted(plains - {*REFERENCES, *KNOWN})
    colours = {
        method: (COLOURS[i % len(COLOURS)], LINES[i // len(COLOURS) % len(LINES)])
        for i, method in enumerate(others)
    }
    colours |= {method: (colour, "-") for method, colour in KNOWN.items()}
    colours |= {"none": ("black", "-"), "reset": ("0.45", "--")}
    return {
        label: Style(
            colours[plain(label)][0],
            colours[plain(label)][1] if is_tuned(label) or plain(label) not in tuned else DASHED,
            is_tuned(label) or not tuned,
        )
        for label in labels
    }


def styles_on(stream: StreamScores, styles: Mapping[str, Style]) -> Mapping[str, Style]:
    """The styles for a figure of this stream alone: where it has no tuned row, the others look like them."""
    if any(is_tuned(row.method) for row in stream.rows):
        return styles
    alone = {row.method: styles.get(f"{row.method}{TUNED_MARK}", styles[row.method]) for row in stream.rows}
    return {**styles, **alone}


def split(rows: Sequence[AnyRow], most: int = MOST_COLOURED) -> tuple[list[AnyRow], list[AnyRow]]:
    """The rows to draw in colour, and the rest, both in the order given: the best first.

    In colour are the references and ``most`` others: the best few, the best known methods, then the best of
    the rest. Where a method has two rows its tuned one stands for it, while there are enough others.
    """
    tuned = {plain(row.method) for row in rows if is_tuned(row.method)}
    first: list[AnyRow] = []
    second: list[AnyRow] = []
    for row in rows:
        if row.method not in REFERENCES:
            spare = plain(row.method) in tuned and not is_tuned(row.method)
            (second if spare else first).append(row)
    known = list(KNOWN)
    later = sorted(
        first[BEST:],
        key=lambda row: known.index(plain(row.method)) if plain(row.method) in KNOWN else len(known),
    )
    # By identity: rows need not be hashable, and labels may come twice.
    chosen = {id(row) for row in [*first[:BEST], *later, *second][: max(0, most)]}
    shown = [row for row in rows if row.method in REFERENCES or id(row) in chosen]
    return shown, [row for row in rows if row.method not in REFERENCES and id(row) not in chosen]


def one_each(rows: Sequence[AnyRow]) -> list[AnyRow]:
    """One row of every method, tuned where there is one; and the references as they are."""
    tuned = {plain(row.method) for row in rows if is_tuned(row.method)} - {*REFERENCES}
    return [row for row in rows if is_tuned(row.method) or plain(row.method) not in tuned]


def by_method(rows: Iterable[AnyRow]) -> dict[str, list[AnyRow]]:
    """Label without "(tuned)" -> the method's rows, in the order in which the methods come."""
    found: dict[str, list[AnyRow]] = {}
    for row in rows:
        found.setdefault(plain(row.method), []).append(row)
    return found


def short(stream: str) -> str:
    """A stream's folder name as figures show it: without the version that most have."""
    return stream.removesuffix("-v1")


def wrapped(method: str) -> str:
    """A long label over several lines, broken before its settings and between them."""
    name, colon, settings = method.partition(":")
    if len(method) <= 22 or not colon:
        return method
    return f"{name}{colon}\n{settings.replace(',', ',' + chr(10)) if len(settings) > 22 else settings}"
