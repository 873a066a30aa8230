"""Trains L2, L2-init and syre with decoupled decay, and with SGD in place of Adam, at several strengths.

Coupled decay joins the gradient, which Adam divides by its size: a weight without any other gradient then
moves by the learning rate, however weak the decay. Decoupled decay and SGD do not do that.

    python benchmarks/decay_forms.py [--runs runs/decay-forms]

Trains what is missing (about 40 minutes on 2 cores) and writes every seed's levels to
docs/data/decay-forms.csv, in the columns of syre_controls.py, which has coupled decay with Adam.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from syre_controls import DECAYS, HEAD, rows

from plasticity_bench.records.configuration import CellPlan, plan_cell
from plasticity_bench.storage.files import write_text

#: (stream, decoupled, strengths). The share of a weight that a step takes off is the learning rate times the
#: strength, so that strengths differ between the arms.
ARMS = (
    ("permuted-digits", True, ("1e-2", "3e-2", "1e-1", "3e-1", "1")),
    ("permuted-digits:sgd=0.1", False, ("1e-4", "3e-4", "1e-3", "3e-3", "1e-2")),
    ("bit-flip", True, ("1e-3", "3e-3", "1e-2", "3e-2", "1e-1")),
)
SEEDS = 8


def plans() -> list[CellPlan]:
    """`none`, `reset` and every decay of every arm."""
    found = []
    for stream, decoupled, strengths in ARMS:
        found += [plan_cell(stream, method) for method in ("none", "reset")]
        form = {"decoupled": "true"} if decoupled else {}
        found += [
            plan_cell(stream, method, {"strength": strength, **form})
            for method in DECAYS
            for strength in strengths
        ]
    return found


def main() -> None:
    """Trains, scores and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/decay-forms"))
    parser.add_argument("--out", type=Path, default=Path("docs/data/decay-forms.csv"))
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(rows(args.runs, plans(), range(SEEDS), args.jobs, args.device))
    write_text(args.out, text.getvalue())
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
