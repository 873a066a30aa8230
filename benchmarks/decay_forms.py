"""Trains L2, L2-init and syre with decoupled decay, and with SGD in place of Adam, at several strengths.

Coupled decay joins the gradient, which Adam divides by its size: a weight without any other gradient then
moves by the learning rate, however weak the decay. Decoupled decay and SGD do not do that.

    python benchmarks/decay_forms.py [--runs runs/decay-forms]

Trains what is missing (about 40 minutes on 2 cores) and writes every seed's levels to
docs/data/decay-forms.csv, in the columns of syre_controls.py, which has coupled decay with Adam.
"""

from __future__ import annotations

from syre_controls import DECAYS, options, rows, write_lines

from plasticity_bench.records.configuration import CellPlan, plan_cell

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
    args = options(__doc__.splitlines()[0], "decay-forms").parse_args()
    write_lines(args.out, rows(args.runs, plans(), range(SEEDS), args.jobs, args.device))


if __name__ == "__main__":
    main()
