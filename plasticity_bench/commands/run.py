"""``plasticity_bench run``"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plasticity_bench.registry.choices import Chosen
    from plasticity_bench.tasks.base import Stream

SUMMARY = "train a method on streams, with the references it is judged against, and print the scores"

#: Trained beside every method where their records are missing.
REFERENCES = ("none", "reset")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    from plasticity_bench.running.slurm.options import add_executor

    parser.add_argument(
        "--method",
        action="extend",
        nargs="+",
        required=True,
        metavar="METHOD",
        help="names, with settings as name:key=value,key=value; path/to/file.py, or path/to/file.py:Class; "
        "several with + between them are one method (layer-norm+l2)",
    )
    add_streams(parser)
    add_settings(parser)
    parser.add_argument("--seeds", help="how many (16), or which (0-3,8); default: the stream's own number")
    add_training(parser)
    add_precision(parser)
    parser.add_argument(
        "--no-references",
        action="store_true",
        help=f"do not train {' and '.join(REFERENCES)} beside the method",
    )
    add_executor(parser)
    add_sinks(parser, "--track", "show the run in these tools too, while it trains")
    parser.add_argument(
        "--track-dir", type=Path, metavar="DIR", help="where --track writes (default: tracking, in --runs)"
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def add_sinks(parser: argparse.ArgumentParser, option: str, meaning: str, required: bool = False) -> None:
    """The option that names sinks."""
    from plasticity_bench.tracking.sinks import SINKS

    parser.add_argument(
        option,
        action="extend",
        nargs="+",
        default=None if required else [],
        required=required,
        choices=sorted(SINKS),
        metavar="TOOL",
        help=f"{meaning}: {', '.join(sorted(SINKS))}",
    )


def add_streams(parser: argparse.ArgumentParser) -> None:
    """The options that say on what to train."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--stream",
        action="extend",
        nargs="+",
        metavar="STREAM",
        help="names, with settings as name:key=value",
    )
    what.add_argument("--suite", help="a named set of streams (default: quick)")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options that set the methods' hyperparameters."""
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the methods, such as strength=1e-3",
    )
    parser.add_argument(
        "--tuned", type=Path, metavar="DIR", help="with the settings that `sweep --out DIR` chose"
    )


def given_settings(args: argparse.Namespace) -> dict[str, str]:
    """What ``--set`` gives. Raises InputError where ``--tuned`` is given too."""
    from plasticity_bench.errors import InputError
    from plasticity_bench.registry.settings import parse_settings

    settings = parse_settings(args.set)
    if settings and args.tuned:
        raise InputError("--set and --tuned both choose the settings; leave one out")
    return settings


def add_devices(parser: argparse.ArgumentParser) -> None:
    """The options that say on what hardware to train."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0 (default: auto)")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="processes at a time (default: cores, or GPUs; where there are fewer GPUs they are shared)",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """The option that says in which numbers products are computed."""
    from plasticity_bench.registry.precision import DEFAULT, PRECISIONS

    parser.add_argument(
        "--precision",
        choices=tuple(PRECISIONS),
        default=DEFAULT,
        help="of matrix products: another one is another variant of the stream, recorded apart "
        f"(default: {DEFAULT})",
    )


def chosen_streams(args: argparse.Namespace, devices: Sequence[str]) -> list[Chosen[Stream]]:
    """The streams of ``--stream`` or ``--suite`` in ``--precision``. Raises InputError where the devices do
    not compute so."""
    from plasticity_bench.registry.catalog import suite_streams
    from plasticity_bench.registry.choices import choose_stream
    from plasticity_bench.registry.precision import check_devices, of_settings, with_precision

    texts = with_precision(args.stream or suite_streams(args.suite or "quick"), args.precision)
    streams = [choose_stream(text) for text in texts]
    for stream in streams:
        check_devices(of_settings(stream.settings), devices)
    return streams


def add_training(parser: argparse.ArgumentParser) -> None:
    """The options that say where and how to train."""
    add_devices(parser)
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of the records"
    )


def run(args: argparse.Namespace) -> int:
    """Trains what is missing, then prints the scores of what was asked for."""
    from rich.console import Console

    from plasticity_bench.errors import InputError
    from plasticity_bench.records.configuration import CellPlan
    from plasticity_bench.registry.choices import choose_method
    from plasticity_bench.running import launch
    from plasticity_bench.running.plan import open_cells
    from plasticity_bench.running.slurm import submit as submitted
    from plasticity_bench.running.slurm.options import options
    from plasticity_bench.running.slurm.slurm import need
    from plasticity_bench.tracking.tracker import open_sinks, tracked
    from plasticity_bench.tuning.sweep import tuned_plan

    cluster = options(args)
    workers, devices = (0, []) if cluster else launch.workers(args.jobs, args.device)
    streams = chosen_streams(args, [cluster.device] if cluster else devices)
    settings = given_settings(args)
    # References first: an unfinished run can then be scored already.
    references = () if args.no_references else REFERENCES
    plans = [CellPlan(stream, choose_method(name)) for stream in streams for name in references]
    methods = [choose_method(name, settings) for name in args.method]
    plans += [
        tuned_plan(args.tuned, stream, method) if args.tuned else CellPlan(stream, method)
        for stream in streams
        for method in methods
    ]
    seeds = _seeds(args.seeds)
    if args.track_dir and not args.track:
        raise InputError("--track-dir says where --track writes: give --track tensorboard or wandb too")
    if args.track and cluster and not args.wait:
        raise InputError(
            "--track shows a run while this command lasts: with --executor slurm give --wait too"
        )
    sinks = open_sinks(args.track, args.track_dir or args.runs / "tracking")
    if cluster:
        need("sbatch")
    planned = open_cells(args.runs, plans, seeds)
    messages = Console(stderr=True)
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
    folder = f" --runs {args.runs}"
    runs = folder if args.runs != Path("runs") else ""
    command = "python -m plasticity_bench"
    method = shlex.quote(planned[-1].cell.method)
    other = "reset" if method == "none" else "none"
    console.print(f"records: {args.runs}/ (one table per seed, one row per task)", highlight=False)
    console.print("next:", highlight=False)
    for line in (
        f"{command} compare {method} {other}{runs}",
        f"{command} run --method l2 shrink-perturb{runs}",
        f"{command} leaderboard{folder} --out my-leaderboard",
    ):
        console.print(f"  {line}", highlight=False, soft_wrap=True)


def _seeds(text: str | None) -> list[int] | None:
    """``"4"`` -> 0..3, ``"0-2,8"`` -> 0, 1, 2, 8; None where the stream decides."""
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
    if not seeds or len(set(seeds)) != len(seeds) or len(seeds) > 10_000:
        raise wrong
    return sorted(seeds)
