"""``compare``: the paired differences between two methods."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity_bench.commands.options import add_selection

if TYPE_CHECKING:
    from plasticity_bench.scoring.scores import CellScores

SUMMARY = "show the paired differences between two methods"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument(
        "a", metavar="A", help='a method as `score` shows it ("l2:strength=0.01"), or a cell\'s folder'
    )
    parser.add_argument("b", metavar="B", help="the method to compare it with, in the same form")
    add_selection(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints A - B on common seeds.

    Raises:
        InputError: if A or B is unknown, or if they share no stream.
    """
    import json

    from plasticity_bench.errors import InputError

    left, right = (_rows(name, args.runs, args.stream) for name in (args.a, args.b))
    shared = [stream for stream in left if stream in right]
    if not shared:
        raise InputError(
            f"{args.a} and {args.b} have no stream in common: {', '.join(left)} against {', '.join(right)}"
        )
    found = {stream: _differences(left[stream], right[stream]) for stream in shared}
    notes = {stream: _notes(left[stream], right[stream]) for stream in shared}
    if args.json:
        print(json.dumps({"a": args.a, "b": args.b, "streams": found, "notes": notes}, indent=1))
    else:
        _print(args.a, args.b, found, notes)
    return 0


def _rows(name: str, runs: Path, streams: Sequence[str]) -> dict[str, CellScores]:
    """Stream -> the scored cell with this name: a method's label, or a cell's folder."""
    from plasticity_bench.errors import InputError, did_you_mean
    from plasticity_bench.records.cells import find_cells, read_cell
    from plasticity_bench.scoring.scoring import of_streams, score

    folder = Path(name)
    if (folder / "config.json").is_file():
        cell = read_cell(folder.resolve())
        # The cells in the same folder include the references that its scores need.
        neighbours = [read_cell(path.parent) for path in sorted(cell.path.parent.glob("*/config.json"))]
        scored = score(neighbours).streams[0]
        row = next((row for row in scored.rows if row.cell.path == cell.path), None)
        if row is None:
            raise InputError(f"{name} holds no finished seed")
        return {scored.name: row}
    scores = score(of_streams(find_cells(runs), streams))
    rows = {}
    for stream in scores.streams:
        fitting = [row for row in stream.rows if row.method == name]
        if len(fitting) > 1:
            folders = " and ".join(str(row.cell.path) for row in fitting)
            raise InputError(f'"{name}" could be {folders}; name the folder instead')
        if fitting:
            rows[stream.name] = fitting[0]
    if not rows:
        known = {row.method for stream in scores.streams for row in stream.rows}
        raise InputError(f'no records of "{name}"; {did_you_mean(name, known)}')
    return rows


def _differences(a: CellScores, b: CellScores) -> dict[str, Any]:
    """metric -> the difference a - b, its interval, its number of common seeds, and both sides."""
    from math import isnan

    from plasticity_bench.scoring.metrics import METRICS
    from plasticity_bench.scoring.pairs import difference, p_value, verdict
    from plasticity_bench.terminal import interval_json

    found: dict[str, Any] = {}
    for metric in METRICS:
        size, seeds = difference(a, b, metric)
        p = p_value(a, b, metric)
        sides = {name: interval_json(row.summary[metric]) for name, row in (("a", a), ("b", b))}
        found[metric] = {
            **sides,
            "difference": interval_json(size),
            "seeds": seeds,
            "p": None if isnan(p) else p,
            "a_is": verdict(size),
        }
    return found


def _notes(*rows: CellScores) -> list[str]:
    """What to say of seeds that diverged."""
    from plasticity_bench.scoring.notes import divergence

    return [f"{row.method}: {said}" for row in rows if (said := divergence(row.not_finite))]


def _print(a: str, b: str, found: dict[str, Any], notes: dict[str, list[str]]) -> None:
    from rich.text import Text

    from plasticity_bench.stats.bootstrap import Interval
    from plasticity_bench.terminal import HEADINGS, interval_text, make_console, make_table, p_text

    def text(entry: dict[str, float | None]) -> str:
        bounds = (entry[name] for name in ("point", "low", "high"))
        return interval_text(Interval(*(float("nan") if value is None else value for value in bounds)))

    console = make_console()
    for stream, metrics in found.items():
        console.print(Text(f"{stream}: {a} minus {b}, on the seeds of both", style="bold"))
        table = make_table("metric", "A [95% CI]", "B [95% CI]", "A - B [95% CI]", "p", "n", "A is")
        for metric, entry in metrics.items():
            cells = [text(entry[side]) for side in ("a", "b", "difference")]
            name = HEADINGS.get(metric, metric).replace("\n/100", "")
            p_value = "-" if entry["p"] is None else p_text(entry["p"])
            name = name.replace("\n", " ").replace("_", " ")
            table.add_row(name, *cells, p_value, str(entry["seeds"]), entry["a_is"])
        console.print(table)
        for note in notes[stream]:
            console.print(Text(f"note: {note}"))
        console.print()
    about = (
        "level: over the fresh twins of none; retention: over its own fresh twins (1: nothing lost).\n"
        "tied: the paired interval includes 0; unknown: no interval; p: sign-flip permutation test of equal\n"
        "means, not corrected for the number of comparisons"
    )
    console.print(Text(about, style="dim"))
