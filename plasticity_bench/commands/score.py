"""``score``: the tables of everything recorded."""

from __future__ import annotations

import argparse

from plasticity_bench.commands.options import add_selection

SUMMARY = "show the scores of everything recorded"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    add_selection(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, with every seed's values")


def run(args: argparse.Namespace) -> int:
    """Prints the scores.

    Raises:
        InputError: if there are no records, or if records are damaged.
    """
    import json

    from plasticity_bench.records.cells import find_cells
    from plasticity_bench.scoring.scoring import of_streams, score
    from plasticity_bench.terminal import make_console, print_tables, to_json

    scores = score(of_streams(find_cells(args.runs), args.stream))
    if args.json:
        print(json.dumps(to_json(scores), indent=1))
    else:
        print_tables(scores, make_console())
    return 0
