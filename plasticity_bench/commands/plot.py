"""``plot``: learning curves, scores and their comparison as figures."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from plasticity_bench.commands.options import add_selection

SUMMARY = "draw learning curves and scores"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    add_selection(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("figures"), metavar="DIR", help="folder to write (default: figures)"
    )


def run(args: argparse.Namespace) -> int:
    """Writes every figure as PNG and SVG.

    Raises:
        InputError: if there are no records, or if records are damaged.
    """
    from plasticity_bench.processes.workers import Workers, one_thread_each, usable_cores

    with one_thread_each():
        from plasticity_bench.figures.drawing import save_figures
        from plasticity_bench.records.cells import find_cells
        from plasticity_bench.scoring.scoring import of_streams, score

    with Workers(usable_cores()) as workers:
        scores = score(of_streams(find_cells(args.runs), args.stream), workers)
        save_figures(scores, args.out, [".png", ".svg"], partial(print, flush=True), workers)
    return 0
