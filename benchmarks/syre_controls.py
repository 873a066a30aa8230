"""Trains syre and its controls.

They are: decay to zero, to the initial weights and to syre's offset at the same strengths; syre with offsets
of other sizes, including 0, which is L2; and all of them with the settings that a sweep chose for one.

    python benchmarks/syre_controls.py [--runs runs/syre-controls] [--streams bit-flip]

Trains what is missing (everything takes about 20 minutes on 4 idle cores) and writes every seed's scores to
docs/data/syre-controls.csv. With --streams, the lines of other streams stay as they are. Only `none` has
fresh twins, which are the denominators of levels.
`benchmarks/findings.py` makes the tables of docs/findings.md from them. With the same versions and processor
type, every run writes the same file.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from plasticity_bench.records.configuration import CellPlan, plan_cell
from plasticity_bench.running import launch
from plasticity_bench.running.plan import open_cells
from plasticity_bench.scoring.scoring import score
from plasticity_bench.stats.ratios import PARTS
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
#: Numerator and denominator of a seed's level, and other metrics.
COLUMNS = ("average_performance", "dormant_fraction", "effective_rank", "weight_norm")
SETTINGS = ("lr", "strength", "sigma", "decoupled")
HEAD = (
    *("stream", "method", *SETTINGS, "seed"),
    *(f"level_{part}" for part in PARTS),
    *COLUMNS,
)


def plans(streams: Sequence[str]) -> list[CellPlan]:
    """Every configuration once, including the defaults."""
    settings = [(method, {"strength": strength}) for method in DECAYS for strength in STRENGTHS]
    settings += [("syre", {"strength": strength, "sigma": sigma}) for strength in VARIED for sigma in SIGMAS]
    found = [plan_cell(stream, method) for stream in streams for method in ("none", "reset")]
    for stream in streams:
        crossed = [
            (method, {"lr": rate, "strength": strength})
            for rate, strength in CROSSED[stream]
            for method in DECAYS
        ]
        found += [plan_cell(stream, method, chosen) for method, chosen in settings + crossed]
    unique = {plan.label: plan for plan in found}
    return list(unique.values())


def rows(
    runs: Path, planned_cells: Sequence[CellPlan], seeds: Sequence[int], workers: int | None, device: str
) -> list[list[str]]:
    """The lines of these cells, `none` among them; trains what is missing."""
    processes, devices = launch.processes_and_devices(workers, device)
    planned = [
        replace(item, twins=item.cell.method == "none") for item in open_cells(runs, planned_cells, seeds)
    ]
    launch.train_missing(planned, processes, devices, Console(stderr=True))
    found: list[list[str]] = []
    for stream in score([item.cell for item in planned]).streams:
        for row in sorted(stream.rows, key=lambda row: row.method):
            method = row.cell.config.method
            own = [
                stream.name,
                method.name,
                *(_text(method.settings.get(name)) for name in SETTINGS),
            ]
            level = row.plasticity.ratios["level"]
            for i, seed in enumerate(level.seeds):
                values = [getattr(level, part)[i] for part in PARTS]
                values += [row.values[name][row.seeds.index(seed)] for name in COLUMNS]
                found.append([*own, str(seed), *(f"{value:.9g}" for value in values)])
    return found


def _text(setting: object) -> str:
    return "" if setting is None else str(setting)


def kept(path: Path, streams: Sequence[str]) -> list[list[str]]:
    """The lines of the file that are of other streams."""
    if not path.exists():
        return []
    with path.open() as file:
        lines = list(csv.reader(file))[1:]
    return [line for line in lines if not line[0].startswith(tuple(f"{name}-v" for name in streams))]


def options(description: str, name: str) -> argparse.ArgumentParser:
    """The options of a benchmark that trains in ``runs/<name>`` and writes ``docs/data/<name>.csv``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=Path, default=Path(f"runs/{name}"))
    parser.add_argument("--out", type=Path, default=Path(f"docs/data/{name}.csv"))
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--device", default="auto")
    return parser


def write_lines(path: Path, lines: Sequence[Sequence[str]]) -> None:
    """Writes the head and the lines of ``rows``."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *lines])
    write_text(path, text.getvalue())
    print(f"wrote {path}")


def main() -> None:
    """Trains, scores and writes."""
    parser = options(__doc__.splitlines()[0], "syre-controls")
    parser.add_argument("--streams", nargs="+", default=STREAMS, choices=STREAMS)
    args = parser.parse_args()
    trained = rows(args.runs, plans(args.streams), range(SEEDS), args.jobs, args.device)
    lines: list[list[str]] = [*kept(args.out, args.streams), *trained]
    write_lines(args.out, sorted(lines, key=lambda line: line[0]))


if __name__ == "__main__":
    main()
