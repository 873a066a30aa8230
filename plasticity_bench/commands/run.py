"""``plasticity_bench run``"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from plasticity_bench.commands.next_steps import print_next_steps
from plasticity_bench.commands.options import (
    RUNS,
    add_devices,
    add_executor,
    add_precision,
    add_runs,
    add_settings,
    add_sinks,
    add_streams,
    given_settings,
    streams_in_precision,
)
from plasticity_bench.scoring.references import REFERENCES

SUMMARY = "train a method on streams, and the references it is compared with, and print the scores"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--method",
        action="extend",
        nargs="+",
        required=True,
        metavar="METHOD",
        help="methods, with settings as name:key=value,key=value; path/to/file.py, or path/to/file.py:Class; "
        "+ combines several into one method (layer-norm+l2)",
    )
    add_streams(parser)
    add_settings(parser)
    parser.add_argument("--seeds", help="how many (16), or which (0-3,8); default: the stream's number")
    add_devices(parser)
    add_runs(parser)
    add_precision(parser)
    parser.add_argument(
        "--no-references",
        action="store_true",
        help=f"do not train {' and '.join(REFERENCES)} as well",
    )
    parser.add_argument(
        "--no-twins",
        action="store_true",
        help="do not train fresh twins, new learners on some tasks to compare with; then level and retention "
        "are unknown",
    )
    add_executor(parser)
    add_sinks(parser, "--track", "show the run in these tools while it trains")
    parser.add_argument(
        "--track-dir", type=Path, metavar="DIR", help="folder for --track (default: tracking, in --runs)"
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def run(args: argparse.Namespace) -> int:
    """Trains what is missing, then prints the scores of the selected methods and streams."""
    from plasticity_bench.api.training import plan_cells
    from plasticity_bench.consoles import plain_console
    from plasticity_bench.errors import InputError
    from plasticity_bench.registry.choices import choose_method
    from plasticity_bench.running import launch
    from plasticity_bench.running.plan import open_cells
    from plasticity_bench.running.slurm import submit as submitted
    from plasticity_bench.running.slurm.options import slurm_options
    from plasticity_bench.running.slurm.slurm import require_command
    from plasticity_bench.tracking.tracker import open_sinks, tracked

    cluster = slurm_options(args)
    workers, devices = (0, []) if cluster else launch.processes_and_devices(args.jobs, args.device)
    streams = streams_in_precision(args, [cluster.device] if cluster else devices)
    settings = given_settings(args)
    methods = [choose_method(name, settings) for name in args.method]
    plans = plan_cells(streams, methods, not args.no_references, args.tuned)
    seeds = _seeds(args.seeds)
    if args.track_dir and not args.track:
        raise InputError("--track-dir is the folder of --track: give --track tensorboard or wandb too")
    if args.track and cluster and not args.wait:
        raise InputError("--track works only while this command runs: with --executor slurm give --wait too")
    sinks = open_sinks(args.track, args.track_dir or args.runs / "tracking")
    if cluster:
        require_command("sbatch")
    planned = open_cells(args.runs, plans, seeds, twins=not args.no_twins)
    messages = plain_console(stderr=True)
    with tracked(sinks, list({item.cell.path: item.cell for item in planned}.values()), messages):
        if cluster is None:
            launch.train_missing(planned, workers, devices, messages)
        elif not submitted.submit_missing(args.runs, planned, cluster, args.wait, messages):
            submitted.say_next(args.runs, messages)
            return 0
    _print(args, planned)
    return 0


def _print(args: argparse.Namespace, planned: list) -> None:
    import json
    import shlex
    import sys

    from plasticity_bench.scoring.scoring import score
    from plasticity_bench.terminal import make_console, print_scores, to_json

    cells = list({item.cell.path: item.cell for item in planned}.values())
    if args.json:
        json.dump(to_json(score(cells)), sys.stdout, indent=1)
        print()
        return
    console = make_console()
    print_scores(cells, console)
    folder = f" --runs {shlex.quote(str(args.runs))}"
    runs = folder if args.runs != RUNS else ""
    method = shlex.quote(planned[-1].cell.method)
    other = "reset" if method == "none" else "none"
    console.print(f"records: {args.runs}/ (one table per seed, one row per task)", highlight=False)
    print_next_steps(
        f"compare {method} {other}{runs}",
        f"run --method l2 shrink-perturb{runs}",
        f"leaderboard{folder} --out my-leaderboard",
    )


def _seeds(text: str | None) -> list[int] | None:
    """``"4"`` -> 0..3, ``"0-2,8"`` -> 0, 1, 2, 8. None: each stream's number of seeds."""
    from plasticity_bench.api.training import MOST_SEEDS
    from plasticity_bench.errors import InputError

    if text is None:
        return None
    wrong = InputError(f'--seeds "{text}": write how many (16), or which (0-3,8)')
    if not re.fullmatch(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*", text, re.ASCII):
        raise wrong
    if text.isdigit():
        seeds = list(range(int(text)))
    else:
        seeds = []
        for part in text.split(","):
            first, _, last = part.partition("-")
            seeds += range(int(first), int(last or first) + 1)
    if not seeds or len(set(seeds)) != len(seeds) or len(seeds) > MOST_SEEDS:
        raise wrong
    return sorted(seeds)
