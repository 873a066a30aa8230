"""``plasticity_bench track``"""

from __future__ import annotations

import argparse
from pathlib import Path

from plasticity_bench.commands.options import add_sinks, add_stream_filter

SUMMARY = "show recorded runs in TensorBoard or Weights & Biases"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder of the records")
    add_sinks(parser, "--to", "tracking tools", required=True)
    add_stream_filter(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: tracking, in RUNS)"
    )
    parser.add_argument(
        "--follow", action="store_true", help="keep following runs that are training, until Ctrl-C"
    )


def run(args: argparse.Namespace) -> int:
    """Sends to the tools what they have not got yet."""
    import time
    from contextlib import suppress

    from plasticity_bench.consoles import plain_console
    from plasticity_bench.errors import RunFailed
    from plasticity_bench.records.cells import find_cells
    from plasticity_bench.scoring.scoring import of_streams
    from plasticity_bench.tracking.tracker import Tracker, open_sinks, unique

    cells = unique(of_streams(find_cells(args.runs), args.stream))
    tracker = Tracker(
        open_sinks(args.to, args.out or args.runs / "tracking"),
        plain_console(stderr=True),
    )
    with suppress(KeyboardInterrupt):
        while args.follow:
            time.sleep(tracker.update(cells))
            cells = unique(of_streams(find_cells(args.runs), args.stream))
    tracker.complete(cells)
    if failed := [channel.sink.title for channel in tracker.channels if channel.failed]:
        raise RunFailed(f"some seeds are not tracked with {' and '.join(failed)}; run the same command again")
    return 0
