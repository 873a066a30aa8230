"""Arguments that several commands share, and what they mean together."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plasticity_bench.registry.choices import Chosen
    from plasticity_bench.tasks.base import Stream

#: Defaults of ``--runs``, and of the options that name a folder of submissions.
RUNS, SUBMISSIONS = Path("runs"), Path("leaderboard/submissions")


def add_runs(parser: argparse.ArgumentParser, holds: str = "the records") -> None:
    """The option ``--runs``; ``holds``: what the folder holds."""
    parser.add_argument(
        "--runs", type=Path, default=RUNS, metavar="DIR", help=f"folder of {holds} (default: {RUNS})"
    )


def add_stream_filter(parser: argparse.ArgumentParser) -> None:
    """The option ``--stream`` of commands that read records."""
    parser.add_argument(
        "--stream",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="only these streams (default: all)",
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The options that select records to read: ``--runs`` and ``--stream``."""
    add_runs(parser)
    add_stream_filter(parser)


def add_streams(parser: argparse.ArgumentParser) -> None:
    """The options ``--stream`` and ``--suite``: the streams to train on."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--stream",
        action="extend",
        nargs="+",
        metavar="STREAM",
        help="names, with settings as name:key=value",
    )
    what.add_argument("--suite", help="a named set of streams (default: quick)")


def chosen_streams(args: argparse.Namespace) -> list[str]:
    """The streams that ``--stream`` or ``--suite`` select. Raises InputError for an unknown suite."""
    from plasticity_bench.registry.catalog import suite_streams

    return list(args.stream or suite_streams(args.suite or "quick"))


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options ``--set`` and ``--tuned``: the methods' hyperparameters."""
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
    """The settings of ``--set``. Raises InputError if ``--tuned`` is given too."""
    from plasticity_bench.errors import InputError
    from plasticity_bench.registry.settings import parse_settings

    settings = parse_settings(args.set)
    if settings and args.tuned:
        raise InputError("--set and --tuned both choose the settings; leave one out")
    return settings


def add_devices(parser: argparse.ArgumentParser, condition: str = "") -> None:
    """The options ``--device`` and ``--jobs``; ``condition`` begins their help, such as "with --replay: "."""
    parser.add_argument(
        "--device", default="auto", help=f"{condition}auto, cpu, cuda or cuda:0 (default: auto)"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help=f"{condition}processes at a time (default: the number of cores, or of GPUs; more processes "
        "share the GPUs)",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """The option ``--precision``: the number format of matrix products."""
    from plasticity_bench.registry.precision import DEFAULT, PRECISIONS

    parser.add_argument(
        "--precision",
        choices=tuple(PRECISIONS),
        default=DEFAULT,
        help="of matrix products; each precision is a separate variant of the stream, recorded apart "
        f"(default: {DEFAULT})",
    )


def streams_in_precision(args: argparse.Namespace, devices: Sequence[str]) -> list[Chosen[Stream]]:
    """The streams of ``--stream`` or ``--suite`` in ``--precision``.

    Raises InputError for an unknown stream, and if one of the devices does not support the precision.
    """
    from plasticity_bench.api.training import choose_streams

    return choose_streams(chosen_streams(args), args.precision, devices)


def add_executor(parser: argparse.ArgumentParser) -> None:
    """The option ``--executor``, and those of Slurm jobs, which ``running.slurm.options.options`` reads."""
    from plasticity_bench.running.slurm.options import DEFAULT_PARALLEL, DEFAULT_TIME

    parser.add_argument(
        "--executor",
        choices=("local", "slurm"),
        default="local",
        help="train on this machine (default), or in Slurm jobs",
    )
    slurm = parser.add_argument_group("with --executor slurm (docs/scaling.md)")
    for option, meta, text in (
        ("--partition", "NAME", "partition of the jobs"),
        (
            "--time",
            "TIME",
            f"time limit of a job, as sbatch reads it; then another continues it (default: {DEFAULT_TIME})",
        ),
        ("--mem", "SIZE", "memory of a job, such as 4G"),
        ("--account", "NAME", "account to charge"),
        ("--qos", "NAME", "quality of service"),
    ):
        slurm.add_argument(option, metavar=meta, help=text)
    for option, text in (
        ("--gpus-per-job", "0 or 1 (default: 0)"),
        ("--cpus-per-job", "cores of a job, which computes on one (default: 1)"),
        ("--max-parallel", f"jobs at a time (default: {DEFAULT_PARALLEL})"),
    ):
        slurm.add_argument(option, type=int, metavar="N", help=text)
    slurm.add_argument(
        "--slurm",
        action="extend",
        nargs="+",
        metavar="KEY=VALUE",
        help="any other option of sbatch, such as constraint=a100 or exclusive",
    )
    slurm.add_argument("--wait", action="store_true", help="wait until the jobs are finished, then go on")


def add_sinks(parser: argparse.ArgumentParser, option: str, meaning: str, required: bool = False) -> None:
    """The option that names tracking tools."""
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
