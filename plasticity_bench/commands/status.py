"""``plasticity_bench status``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plasticity_bench.commands.options import add_runs

if TYPE_CHECKING:
    from plasticity_bench.running.slurm.overview import CellState

SUMMARY = "show what is done, running, pending, stopped and failed in a run folder"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_runs(parser, "the records, or of a sweep")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints a row per cell, and the reasons of failures."""
    import json

    from plasticity_bench.running.slurm.overview import overview

    found = overview(args.runs)
    if args.json:
        print(json.dumps([cell.as_json() for cell in found], indent=1))
    else:
        _print(args.runs, found)
    return 0


def _print(runs: Path, found: Sequence[CellState]) -> None:
    from rich.table import Table

    from plasticity_bench.consoles import plain_console
    from plasticity_bench.running.slurm.states import FAILED, STATES, STOPPED

    console = plain_console(highlight=False, width=None if plain_console().is_terminal else 120)
    table = Table("stream", "method", *STATES, box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for cell in found:
        counts = [cell.count(state) for state in STATES]
        table.add_row(cell.cell.stream, cell.cell.method, *(str(n) if n else "-" for n in counts))
    console.print(table)
    for cell in found:
        for note in cell.notes:
            name = f"{cell.cell.stream} {cell.cell.method} {_seeds(note.seeds)}"
            share = f" {note.share:.0%}" if note.share and note.state != FAILED else ""
            job = f", job {note.job}" if note.job else ""
            reason = f": {note.reason}" if note.reason else ""
            log = f" ({note.log})" if note.log else ""
            console.print(f"{name} {note.state}{share}{job}{reason}{log}", markup=False, soft_wrap=True)
    total = [sum(cell.count(state) for cell in found) for state in STATES]
    console.print(
        ", ".join(f"{n} {state}" for n, state in zip(total, STATES, strict=True) if n or state == "done")
    )
    if any(note.state in (FAILED, STOPPED) for cell in found for note in cell.notes):
        console.print(f"the same command trains what is missing (--runs {runs})", markup=False)


def _seeds(seeds: Sequence[int]) -> str:
    from plasticity_bench.records.names import seeds_text

    return seeds_text(seeds) if seeds else "(seeds unknown)"
