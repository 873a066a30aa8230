"""Plain training and its remedies on variants of streams, which the leaderboard does not hold.

They are: bit-flip with wider networks, and shuffled-gridworld with a bonus for the policy's entropy.

    python -m benchmarks.stream_variants [--runs runs/variants] [--out docs/data/stream-variants.csv]

Trains what is missing (everything takes about an hour on a core) and writes one line per variant and method:
level, retention and their intervals, and the p-value of a loss. `python benchmarks/findings.py` makes the
table of docs/findings.md from it. The line of the stream's own setting is trained too, for comparison.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from rich.console import Console

from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.running import launch
from plasticity_bench.running.plan import open_cells
from plasticity_bench.scoring.scoring import score
from plasticity_bench.storage.files import write_text

#: Variant -> the methods that are trained on it.
VARIANTS = {
    **dict.fromkeys(("bit-flip", "bit-flip:width=20", "bit-flip:width=100"), ("none", "reset", "l2", "syre")),
    **dict.fromkeys(
        ("shuffled-gridworld", "shuffled-gridworld:entropy=0.01", "shuffled-gridworld:entropy=0.05"),
        ("none", "reset", "l2-init", "syre"),
    ),
}
MEASURES = ("level", "retention")
#: Columns of the late tasks whose mean is written too.
DIAGNOSTICS = ("dormant_fraction", "effective_rank")
HEAD = (
    *("stream", "method", "seeds"),
    *(f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high")),
    *("p_loss", *DIAGNOSTICS),
)


def rows(runs: Path, workers: int | None, device: str) -> list[list[object]]:
    """A row of ``HEAD`` for every variant and method; trains what is missing."""
    processes, devices = launch.processes_and_devices(workers, device)
    plans = [plan_cell(stream, method) for stream, methods in VARIANTS.items() for method in methods]
    planned = open_cells(runs, plans, None, twins=True)
    launch.train_missing(planned, processes, devices, Console(stderr=True))
    found: list[list[object]] = []
    for stream in score([item.cell for item in planned]).streams:
        for row in sorted(stream.rows, key=lambda row: row.method):
            values = [value for measure in MEASURES for value in row.summary[measure]]
            values += [row.p_loss, *(row.summary[name].point for name in DIAGNOSTICS)]
            label = row.cell.config.stream.label
            found.append([label, row.method, len(row.seeds), *(f"{value:.9g}" for value in values)])
    return found


def main() -> None:
    """Trains, scores and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/variants"))
    parser.add_argument("--out", type=Path, default=Path("docs/data/stream-variants.csv"))
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(rows(args.runs, args.jobs, args.device))
    write_text(args.out, text.getvalue())
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
