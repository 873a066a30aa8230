"""``leaderboard``: ranked tables and figures of submissions or of your own runs; checks of submissions."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plasticity_bench.commands.options import RUNS, SUBMISSIONS, add_devices, add_stream_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plasticity_bench.processes.workers import Workers
    from plasticity_bench.submissions.replay import Outcome, TableOutcome
    from plasticity_bench.submissions.verify import Report

SUMMARY = "write the leaderboard; verify submissions; train some of their seeds again"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="for --verify, --replay and --rescore: submissions, or folders of them (default: --submissions)",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--submissions",
        type=Path,
        metavar="DIR",
        help=f"folder of submissions (default: {SUBMISSIONS.as_posix()} if it exists, else --runs {RUNS})",
    )
    source.add_argument(
        "--runs", type=Path, metavar="DIR", help="write a leaderboard of these records instead"
    )
    add_stream_filter(parser)
    parser.add_argument("--suite", help="with --replay: only the streams of this suite")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to write (default: the one that holds the submissions)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--verify", action="store_true", help="check submissions; none of their code is run")
    what.add_argument(
        "--replay",
        type=int,
        metavar="N",
        help="train N randomly drawn seeds again and compare the results",
    )
    what.add_argument(
        "--rescore",
        action="store_true",
        help="write method.json and scores.json of submissions again from their tables",
    )
    parser.add_argument("--seed", type=int, default=0, help="with --replay: seed of the draw (default: 0)")
    parser.add_argument(
        "--trust", action="store_true", help="with --replay: run submitted code, after you have read it"
    )
    add_devices(parser, "with --replay: ")


def run(args: argparse.Namespace) -> int:
    """Builds the leaderboard, or verifies, replays or rescores submissions.

    Raises:
        InputError: if there are no records, or if records are damaged.
    """
    from plasticity_bench.errors import InputError

    if args.verify or args.replay is not None or args.rescore:
        if args.runs:
            raise InputError("--runs holds no submissions: name them, or a folder of them, as PATH")
        paths = args.paths or [args.submissions or SUBMISSIONS]
        if args.rescore:
            return _rescore(paths)
        return _verify(paths) if args.verify else _replay(args, paths)
    if args.paths:
        raise InputError(
            "PATH goes with --verify, --replay or --rescore; to write a leaderboard: --submissions"
        )
    return _build(args)


def _build(args: argparse.Namespace) -> int:
    from plasticity_bench.errors import InputError
    from plasticity_bench.processes.workers import Workers, one_thread_each, usable_cores

    with one_thread_each():
        from plasticity_bench.leaderboard.build import build, records_of_runs, records_of_submissions

    submissions = args.submissions or (None if args.runs or not SUBMISSIONS.is_dir() else SUBMISSIONS)
    source = submissions or args.runs or RUNS
    out = args.out or (submissions.resolve().parent if submissions else SUBMISSIONS.parent)
    if not submissions and (out / SUBMISSIONS.name).is_dir():
        raise InputError(f"{out} is the leaderboard of its submissions; choose another --out for your runs")
    with Workers(usable_cores()) as workers:
        if submissions:
            read = _checked([submissions], workers).submissions
            records = records_of_submissions(source, read, args.stream)
        else:
            records = records_of_runs(source, args.stream, workers)
        build(records, out, args.stream, partial(print, flush=True), workers)
    return 0


def _verify(paths: Sequence[Path]) -> int:
    from plasticity_bench.errors import RunFailed
    from plasticity_bench.processes.workers import Workers, usable_cores

    with Workers(usable_cores()) as workers:
        report = _report(paths, workers)
    for note in report.notes:
        print(f"note: {note}")
    for problem in report.problems:
        print(problem)
    if report.problems:
        raise RunFailed(f"{len(report.problems)} problems; leaderboard/SUBMITTING.md lists the rules")
    print(
        f"{len(report.submissions)} submissions with {report.seeds} seeds, {report.twins} of them with fresh "
        "twins: configurations, tables and scores agree"
    )
    return 0


def _report(paths: Sequence[Path], workers: Workers) -> Report:
    from rich.progress import Progress

    from plasticity_bench.consoles import plain_console
    from plasticity_bench.submissions.verify import verify

    console = plain_console(stderr=True)
    # Without a thread that redraws the bar, worker processes can be forked.
    bars = Progress(console=console, transient=True, disable=not console.is_terminal, auto_refresh=False)
    with bars:
        bar = bars.add_task("verifying", total=None)

        def on_progress(done: int, total: int) -> None:
            bars.update(bar, completed=done, total=total, refresh=True)

        return verify(paths, on_progress, workers)


def _checked(paths: Sequence[Path], workers: Workers) -> Report:
    """The report of submissions without problems. Raises RunFailed if there are problems."""
    from plasticity_bench.errors import RunFailed

    report = _report(paths, workers)
    if report.problems:
        more = f" (and {len(report.problems) - 1} more problems)" if len(report.problems) > 1 else ""
        raise RunFailed(f"{report.problems[0]}{more}; see leaderboard --verify")
    return report


def _rescore(paths: Sequence[Path]) -> int:
    from plasticity_bench.submissions.verify import folders_of
    from plasticity_bench.submissions.writer import rescore

    folders = [folder for path in paths for folder in folders_of(path)]
    changed = rescore(folders)
    for folder in changed:
        print(f"wrote {folder}/method.json and scores.json")
    print(f"{len(changed)} of {len(folders)} submissions changed")
    return 0


def _replay(args: argparse.Namespace, paths: Sequence[Path]) -> int:
    from plasticity_bench.consoles import plain_console
    from plasticity_bench.errors import InputError, RunFailed
    from plasticity_bench.records.configuration import stream_folder
    from plasticity_bench.registry.catalog import suite_streams
    from plasticity_bench.registry.choices import choose_stream
    from plasticity_bench.running import launch
    from plasticity_bench.submissions.replay import TOLERANCE, draw_pairs, replay

    if args.replay < 1 or args.seed < 0:
        raise InputError("--replay is at least 1, and --seed at least 0")
    names = [*args.stream, *(suite_streams(args.suite) if args.suite else ())]
    streams = [stream_folder(choose_stream(name)) for name in names] if names else None
    workers, devices = launch.processes_and_devices(args.jobs, args.device)
    from plasticity_bench.processes.workers import Workers, usable_cores

    with Workers(usable_cores()) as readers:
        submissions = _checked(paths, readers).submissions
    pairs = draw_pairs(submissions, args.replay, args.seed, streams)
    outcomes = replay(pairs, workers, devices, plain_console(stderr=True), args.trust)
    _print_outcomes(outcomes)
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed:
        raise RunFailed(
            f"{len(failed)} of {len(outcomes)} score differently by more than {TOLERANCE:.0%} "
            "on the same versions and hardware"
        )
    return 0


def _print_outcomes(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        submission, stream, seed = outcome.pair
        name = f"{submission.name}, {stream}, seed {seed}"
        for table in outcome.tables:
            _print_table(name if table.kind == "seed" else f"{name}, its fresh twins", table)
    same = sum(outcome.same for outcome in outcomes)
    equal = sum(outcome.same_training for outcome in outcomes)
    count = f"{equal} of {len(outcomes)}"
    print(f"{count} bit-identical in performance and loss, {same} in all columns")


def _print_table(name: str, table: TableOutcome) -> None:
    if table.divergence:
        print(f"note: {name}: {table.divergence}")
    if table.first_task is None:
        print(f"{name}: bit-identical")
        return
    how = "only in diagnostics" if table.same_training else f"score by {table.score:.2g}"
    print(f"{name}: differs from task {table.first_task} on; {how}")
    for column, value in table.largest.items():
        print(f"  {column}: at most {value:.3g}")
    for text in table.changed:
        print(f"  here {text}")
