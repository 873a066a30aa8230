"""``plasticity_bench sweep``"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity_bench.commands.next_steps import print_next_steps
from plasticity_bench.commands.options import (
    add_devices,
    add_executor,
    add_precision,
    add_streams,
    streams_in_precision,
)

if TYPE_CHECKING:
    from rich.console import Console

    from plasticity_bench.records.documents import SweepTable
    from plasticity_bench.running.slurm.options import Options
    from plasticity_bench.tuning.sweep import SweepPlan

SUMMARY = "tune methods: the same number of configurations for each, on separate seeds"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--method", action="extend", nargs="+", required=True, metavar="METHOD", help="methods, as for run"
    )
    add_streams(parser)
    parser.add_argument(
        "--budget", type=int, default=12, metavar="N", help="configurations of each method (default: 12)"
    )
    parser.add_argument(
        "--seeds", type=int, default=4, metavar="N", help="tuning seeds, from 10000 on (default: 4)"
    )
    parser.add_argument(
        "--design",
        type=int,
        default=0,
        metavar="N",
        help="seed of the random search: another number draws other configurations (default: 0)",
    )
    add_devices(parser)
    add_executor(parser)
    add_precision(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("sweeps"), metavar="DIR", help="folder to write (default: sweeps)"
    )
    parser.add_argument("--json", action="store_true", help="print the tables as JSON")


def run(args: argparse.Namespace) -> int:
    """Trains what is missing of every configuration, then records and prints the tables."""
    import json

    from plasticity_bench.consoles import plain_console
    from plasticity_bench.registry.choices import choose_method
    from plasticity_bench.running import launch
    from plasticity_bench.running.plan import open_cells
    from plasticity_bench.running.slurm.options import slurm_options
    from plasticity_bench.terminal import make_console
    from plasticity_bench.tuning import sweep

    cluster = slurm_options(args)
    workers, devices = (1, ["cpu"]) if cluster else launch.processes_and_devices(args.jobs, args.device)
    streams = streams_in_precision(args, [cluster.device] if cluster else devices)
    seeds = sweep.tuning_seeds(args.seeds)
    # All names and settings are checked before anything is trained.
    plans = [
        [sweep.plan_sweep(stream, method, args.budget, args.design) for stream in streams]
        for method in map(choose_method, args.method)
    ]
    messages, console, tables = plain_console(stderr=True), make_console(), []
    # With --executor slurm, jobs train all methods at once, so that nothing is left to train below.
    if cluster and not _trained_by_jobs(args, plans, seeds, cluster, messages):
        return 0
    for index, of_method in enumerate(plans, start=1):
        method = of_method[0].method.label
        messages.print(f"[{index}/{len(plans)}] {method}", markup=False, highlight=False)
        planned = [open_cells(args.out, plan.cells(), seeds) for plan in of_method]
        launch.train_missing([item for items in planned for item in items], workers, devices, messages)
        for plan, items in zip(of_method, planned, strict=True):
            found = sweep.sweep_table(plan, items, seeds, args.design)
            path = sweep.write_sweep(args.out, found)
            tables.append(found)
            if not args.json:
                _print(found, path, console)
    if args.json:
        print(json.dumps([table.as_json() for table in tables], indent=1))
    else:
        print_next_steps(shlex.join(["run", "--method", *args.method, "--tuned", str(args.out)]))
    return 0


def _trained_by_jobs(
    args: argparse.Namespace,
    plans: Sequence[Sequence[SweepPlan]],
    seeds: Sequence[int],
    cluster: Options,
    messages: Console,
) -> bool:
    """Submits everything that is missing as Slurm jobs; returns whether all of it is trained."""
    from plasticity_bench.running.plan import open_cells
    from plasticity_bench.running.slurm import submit as submitted
    from plasticity_bench.running.slurm.slurm import require_command

    require_command("sbatch")
    everything = [
        item
        for of_method in plans
        for plan in of_method
        for item in open_cells(args.out, plan.cells(), seeds)
    ]
    if submitted.submit_missing(args.out, everything, cluster, args.wait, messages):
        return True
    submitted.say_next(args.out, messages)
    return False


def _print(found: SweepTable, path: Path, console: Any) -> None:
    from plasticity_bench.terminal import make_table, number

    table = make_table("", "score", "seconds", "method")
    scores = [float("nan") if row.score is None else row.score for row in found.configurations]
    order = sorted(range(len(scores)), key=lambda i: (scores[i] != scores[i], -scores[i]))
    for i in order:
        row = found.configurations[i]
        mark = "chosen" if i == found.chosen else "default" if not row.settings else ""
        table.add_row(mark, number(scores[i]), f"{row.seconds:.1f}", row.label)
    console.print(f"{found.stream}: {found.method}, {found.budget} configurations", highlight=False)
    console.print(table)
    total = sum(row.seconds for row in found.configurations)
    console.print(
        f"{found.objective}; {total:.0f} s of training in all; written to {path}\n", highlight=False
    )
