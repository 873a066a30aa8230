"""``report``: everything recorded as one web page that opens from disk."""

from __future__ import annotations

import argparse
from pathlib import Path

from plasticity_bench.commands.options import RUNS, add_stream_filter

SUMMARY = "write a web page of everything recorded: scores, learning curves, every seed"
REPORT_FILE = Path("report.html")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument(
        "runs",
        nargs="?",
        type=Path,
        default=RUNS,
        metavar="RUNS",
        help=f"folder of the records (default: {RUNS})",
    )
    add_stream_filter(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=REPORT_FILE,
        metavar="FILE",
        help=f"page to write (default: {REPORT_FILE})",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the page.

    Raises:
        InputError: if there are no records, no finished seed, or damaged records; or if --out is a folder or
            a file that is not such a page.
    """
    from plasticity_bench.consoles import plain_console
    from plasticity_bench.errors import InputError
    from plasticity_bench.page.document import ReportedRuns, is_page, page_data, write_page
    from plasticity_bench.records.cells import find_cells
    from plasticity_bench.scoring.scoring import of_streams, score

    if args.out.is_dir():
        raise InputError(f"--out {args.out} is a folder; name a file, such as {args.out / REPORT_FILE}")
    if args.out.exists() and not is_page(args.out):
        raise InputError(
            f"--out {args.out} is not a page of this program and is not overwritten; name another file"
        )
    cells = of_streams(find_cells(args.runs), args.stream)
    unfinished = [(cell.stream, cell.method) for cell in cells if not cell.seeds()]
    if len(unfinished) == len(cells):
        raise InputError(
            f"no finished seed in {args.runs} yet ({len(cells)} begun); "
            "the command that trains them continues where it stopped"
        )
    console = plain_console(stderr=True)
    with console.status(f"scoring {len(cells)} cells"):
        data = page_data(score(cells), args.out.parent, runs=ReportedRuns(str(args.runs), unfinished))
    write_page(data, args.out)
    print(f"wrote {args.out}")
    return 0
