"""Trains syre and its controls.

They are: decay to zero, to the initial weights and to syre's offset at the same strengths; syre with offsets
of other sizes, including 0, which is L2; and all of them with the settings that a sweep chose for one.

    python benchmarks/syre_controls.py [--runs runs/syre-controls] [--out docs/data/syre-controls.csv]

Trains what is missing (everything takes about 20 minutes on 4 idle cores) and writes every seed's scores;
`benchmarks/findings.py` makes the tables of docs/findings.md from them. With the same versions and processor
type, every run writes the same file.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from plasticity_bench.records.configuration import CellPlan, plan_cell
from plasticity_bench.running import launch
from plasticity_bench.running.plan import open_cells
from plasticity_bench.scoring.scoring import score
from plasticity_bench.stats.ratios import PARTS, Ratio
from plasticity_bench.storage.files import write_text

STREAMS = ("permuted-digits", "bit-flip")
STRENGTHS = ("1e-4", "3e-4", "1e-3", "3e-3", "1e-2", "3e-2")
SIGMAS = ("0", "0.01", "0.03", "0.1", "0.3", "1")
DECAYS = ("l2", "l2-init", "syre")
#: Strengths at which syre's offset is varied.
VARIED = ("1e-3", "3e-3")
#: Settings that a sweep chose for one of DECAYS, given to all of them: stream -> (learning rate, strength).
CROSSED = {
    "permuted-digits": (("0.0055", "0.0018"), ("0.0056", "0.0066")),  # chosen for l2, and for syre
    "bit-flip": (("0.0039", "0.0037"),),  # chosen for l2; for syre it was the default, which is in the grid
}
SEEDS = 16
#: Numerator and denominator of a seed's level and plasticity loss, and other metrics.
RATIO_COLUMNS = ("level", "plasticity_loss")
COLUMNS = ("average_performance", "dormant_fraction", "effective_rank", "weight_norm")
HEAD = (*(f"{name}_{part}" for name in RATIO_COLUMNS for part in PARTS), *COLUMNS)


def plans() -> list[CellPlan]:
    """Every configuration once, including the defaults."""
    settings = [(method, {"strength": strength}) for method in DECAYS for strength in STRENGTHS]
    settings += [("syre", {"strength": strength, "sigma": sigma}) for strength in VARIED for sigma in SIGMAS]
    found = [plan_cell(stream, method) for stream in STREAMS for method in ("none", "reset")]
    for stream in STREAMS:
        crossed = [
            (method, {"lr": rate, "strength": strength})
            for rate, strength in CROSSED[stream]
            for method in DECAYS
        ]
        found += [plan_cell(stream, method, chosen) for method, chosen in settings + crossed]
    unique = {plan.label: plan for plan in found}
    return list(unique.values())


def rows(runs: Path, seeds: Sequence[int], workers: int, device: str) -> list[list[object]]:
    """stream, method, settings, seed, and the scores; trains what is missing."""
    processes, devices = launch.processes_and_devices(workers, device)
    planned = open_cells(runs, plans(), seeds)
    launch.train_missing(planned, processes, devices, Console(stderr=True))
    found: list[list[object]] = []
    for stream in score([item.cell for item in planned]).streams:
        for row in sorted(stream.rows, key=lambda row: row.method):
            method = row.cell.config.method
            own = [
                stream.name,
                method.name,
                *(method.settings.get(name, "") for name in ("lr", "strength", "sigma")),
            ]
            for i, seed in enumerate(row.seeds):
                ratios = [row.plasticity.ratios[name] for name in RATIO_COLUMNS]
                values = [_of_seed(ratio, part, seed) for ratio in ratios for part in PARTS]
                values += [row.values[name][i] for name in COLUMNS]
                found.append([*own, seed, *(f"{value:.9g}" for value in values)])
    return found


def _of_seed(ratio: Ratio, part: str, seed: int) -> float:
    """The seed's numerator or denominator; nan if the ratio is not defined for it."""
    return float(getattr(ratio, part)[ratio.seeds.index(seed)]) if seed in ratio.seeds else float("nan")


def main() -> None:
    """Trains, scores and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/syre-controls"))
    parser.add_argument("--out", type=Path, default=Path("docs/data/syre-controls.csv"))
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["stream", "method", "lr", "strength", "sigma", "seed", *HEAD])
    writer.writerows(rows(args.runs, range(SEEDS), args.jobs, args.device))
    write_text(args.out, text.getvalue())
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
