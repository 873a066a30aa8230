"""How figures draw a method: its colour, its line and its label, which are the same in every figure.

A method may have two rows on a stream: one with settings that a sweep chose ("l2 (tuned)"), and one with
other settings ("l2"). They share a colour. If a figure has both kinds of rows, the tuned ones are solid or
filled, the others dashed or hollow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from plasticity_bench.records.names import TUNED_MARK
from plasticity_bench.scoring.references import REFERENCES
from plasticity_bench.scoring.scores import StreamScores

#: Readers cannot distinguish more coloured curves than this and the references; the rest is light grey.
MOST_COLOURED = 8
#: The number of coloured rows that are the best of all; the others are the best known methods.
BEST_COLOURED = 3
GREY = "0.8"
#: The colours of methods that many papers compare with: seaborn's colour-blind palette without its grey and
#: its yellow, which are too close to the reference's grey and to the paper.
WELL_KNOWN_COLOURS = {
    "l2": "#029E73",
    "l2-init": "#CC78BC",
    "shrink-perturb": "#CA9161",
    "syre": "#DE8F05",
    "cbp": "#0173B2",
    "redo": "#D55E00",
    "layer-norm": "#56B4E9",
    "crelu": "#FBAFE4",
}
#: For all other methods: those of Tol's muted colours that are not close to the colours above.
COLOURS = ("#332288", "#882255", "#117733", "#999933", "#661100", "#44AA99")
#: Line styles: the next one is taken each time the colours are used up.
LINES = ("-", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
DASHED = (0, (4, 1.6))
DIAGNOSTIC_TITLES = {
    "dormant_fraction": "dormant fraction",
    "effective_rank": "effective rank",
    "weight_norm": "weight norm",
}
#: matplotlib's settings for all figures. The font comes with matplotlib: files are the same everywhere.
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
    # Without a fixed salt, the ids in an SVG file differ at every save.
    "svg.hashsalt": "plasticity_bench",
}


class Style(NamedTuple):
    """How a row is drawn."""

    color: Any
    linestyle: Any
    filled: bool = True

    @property
    def face(self) -> Any:
        """The colour inside its markers."""
        return self.color if self.filled else "white"


class LabelledRow(Protocol):
    """Anything with a method's label."""

    @property
    def method(self) -> str: ...


AnyLabelledRow = TypeVar("AnyLabelledRow", bound=LabelledRow)


def base_label(method: str) -> str:
    """The label without the mark for tuned settings: "l2 (tuned)" -> "l2"."""
    return method.removesuffix(TUNED_MARK)


def is_tuned(method: str) -> bool:
    """Whether a sweep chose the settings of the row with this label."""
    return method.endswith(TUNED_MARK)


def styles_of(streams: Sequence[StreamScores]) -> dict[str, Style]:
    """Label -> style, for every row of these streams."""
    labels = sorted({row.method for stream in streams for row in stream.rows})
    bases = {base_label(label) for label in labels}
    tuned = {base_label(label) for label in labels if is_tuned(label)}
    others = sorted(bases - {*REFERENCES, *WELL_KNOWN_COLOURS})
    colours = {
        method: (COLOURS[i % len(COLOURS)], LINES[i // len(COLOURS) % len(LINES)])
        for i, method in enumerate(others)
    }
    colours |= {method: (colour, "-") for method, colour in WELL_KNOWN_COLOURS.items()}
    colours |= {"none": ("black", "-"), "reset": ("0.45", "--")}
    return {
        label: Style(
            colours[base_label(label)][0],
            colours[base_label(label)][1] if is_tuned(label) or base_label(label) not in tuned else DASHED,
            is_tuned(label) or not tuned,
        )
        for label in labels
    }


def styles_on(stream: StreamScores, styles: Mapping[str, Style]) -> Mapping[str, Style]:
    """The styles for a figure of this stream alone: without tuned rows, the others are drawn as if tuned."""
    if any(is_tuned(row.method) for row in stream.rows):
        return styles
    alone = {row.method: styles.get(f"{row.method}{TUNED_MARK}", styles[row.method]) for row in stream.rows}
    return {**styles, **alone}


def split(
    rows: Sequence[AnyLabelledRow], most: int = MOST_COLOURED
) -> tuple[list[AnyLabelledRow], list[AnyLabelledRow]]:
    """(rows to draw in colour, the rest), both in the order given, which is best first.

    Coloured are the references and ``most`` others: first the best ones, then well-known methods, then the
    best of the rest. If a method has two rows, the one that is not tuned comes last.
    """
    tuned = {base_label(row.method) for row in rows if is_tuned(row.method)}
    first: list[AnyLabelledRow] = []
    second: list[AnyLabelledRow] = []
    for row in rows:
        if row.method not in REFERENCES:
            spare = base_label(row.method) in tuned and not is_tuned(row.method)
            (second if spare else first).append(row)
    known = list(WELL_KNOWN_COLOURS)
    later = sorted(
        first[BEST_COLOURED:],
        key=lambda row: (
            known.index(base_label(row.method))
            if base_label(row.method) in WELL_KNOWN_COLOURS
            else len(known)
        ),
    )
    # By identity, because rows need not be hashable and a label may occur twice.
    chosen = {id(row) for row in [*first[:BEST_COLOURED], *later, *second][: max(0, most)]}
    shown = [row for row in rows if row.method in REFERENCES or id(row) in chosen]
    return shown, [row for row in rows if row.method not in REFERENCES and id(row) not in chosen]


def one_each(rows: Sequence[AnyLabelledRow]) -> list[AnyLabelledRow]:
    """One row of every method: the tuned one if there is one. All rows of the references."""
    tuned = {base_label(row.method) for row in rows if is_tuned(row.method)} - {*REFERENCES}
    return [row for row in rows if is_tuned(row.method) or base_label(row.method) not in tuned]


def by_method(rows: Iterable[AnyLabelledRow]) -> dict[str, list[AnyLabelledRow]]:
    """Base label -> the method's rows, in the order in which the methods first occur."""
    found: dict[str, list[AnyLabelledRow]] = {}
    for row in rows:
        found.setdefault(base_label(row.method), []).append(row)
    return found


def without_version(stream: str) -> str:
    """A stream's folder name as figures show it: without "-v1", the version of most streams."""
    return stream.removesuffix("-v1")


def wrapped(method: str) -> str:
    """A label with line breaks before its settings, and between them if it is long."""
    name, colon, settings = method.partition(":")
    if len(method) <= 22 or not colon:
        return method
    return f"{name}{colon}\n{settings.replace(',', ',' + chr(10)) if len(settings) > 22 else settings}"
