"""``plasticity_bench submit``"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from plasticity_bench.commands.options import (
    RUNS,
    SUBMISSIONS,
    add_devices,
    add_runs,
    add_settings,
    add_streams,
    chosen_streams,
    given_settings,
)

SUMMARY = "train a method's missing seeds and write its submission for the leaderboard"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("method", metavar="METHOD", help="as for `run --method`; settings as name:key=value")
    add_streams(parser)
    add_settings(parser)
    parser.add_argument("--seeds", type=int, metavar="N", help="number of seeds (default: the stream's)")
    parser.add_argument(
        "--no-twins", action="store_true", help="submit no fresh twins; then level and retention are unknown"
    )
    add_devices(parser)
    add_runs(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=SUBMISSIONS,
        metavar="DIR",
        help=f"folder of submissions (default: {SUBMISSIONS.as_posix()})",
    )
    parser.add_argument("--name", help="name of the submission (default: the method's name)")
    parser.add_argument("--by", default="", metavar="NAME", help="your name, as the leaderboard shows it")
    parser.add_argument(
        "--link", default="", metavar="URL", help="address of your paper or code, for the leaderboard"
    )


def run(args: argparse.Namespace) -> int:
    """Trains the seeds that are neither submitted nor recorded, and writes or extends the submission."""
    from plasticity_bench.consoles import plain_console
    from plasticity_bench.errors import InputError
    from plasticity_bench.records.configuration import CellPlan, stream_folder
    from plasticity_bench.registry.choices import choose_method, choose_stream
    from plasticity_bench.running import launch
    from plasticity_bench.running.plan import open_cells
    from plasticity_bench.submissions.documents import Submitter
    from plasticity_bench.submissions.extension import missing, restore_tables
    from plasticity_bench.submissions.writer import find_submission, submission_name, write_submission
    from plasticity_bench.tuning.sweep import tuned_plan

    if args.seeds is not None and not 1 <= args.seeds <= 10_000:
        raise InputError(f"--seeds {args.seeds}: write how many, from 1 to 10000")
    for option in ("by", "link"):
        text = getattr(args, option)
        if not text.isprintable() or len(text) > 200:
            raise InputError(f"--{option}: one line of at most 200 characters")
    streams = chosen_streams(args)
    settings, tuned, twins = given_settings(args), args.tuned is not None, not args.no_twins
    method = choose_method(args.method, settings)
    name = args.name or submission_name(method, tuned)
    found = find_submission(args.out, name, method, tuned)
    workers, devices = launch.processes_and_devices(args.jobs, args.device)
    plans: list[tuple[CellPlan, tuple[int, ...]]] = []
    for text in streams:
        stream = choose_stream(text)
        seeds = range(args.seeds or stream.cls.info.seeds)
        plan = tuned_plan(args.tuned, stream, method) if tuned else CellPlan(stream, method)
        plans.append((plan, missing(found, stream_folder(stream), seeds, plan.tuning, twins)))
    planned = [
        item for plan, lacking in plans if lacking for item in open_cells(args.runs, [plan], lacking, twins)
    ]
    restore_tables(found, planned)
    launch.train_missing(planned, workers, devices, plain_console(stderr=True))
    given = found.method.submitter if found and found.method else Submitter()
    submitter = Submitter(args.by or given.name, args.link or given.link)
    done = write_submission(args.out, name, method, planned, found, submitter)
    _print_summary(args, args.out / name, done)
    return 0


def _options(args: argparse.Namespace) -> str:
    """The given options that select streams, seeds and folders, as text."""
    words: list[object] = []
    for option, default in (("stream", None), ("suite", None), ("seeds", None), ("runs", RUNS)):
        value = getattr(args, option)
        if value != default:
            words += [f"--{option}", *(value if isinstance(value, list) else [value])]
    if args.out != SUBMISSIONS:
        words += ["--out", args.out]
    if args.no_twins:
        words.append("--no-twins")
    return "".join(f" {shlex.quote(str(word))}" for word in words)


def _print_summary(args: argparse.Namespace, folder: Path, done: str) -> None:
    """Prints what was written, what is missing, and the next steps."""
    from plasticity_bench.records.cells import read_cell
    from plasticity_bench.scoring.metrics import measure
    from plasticity_bench.scoring.notes import divergence
    from plasticity_bench.storage.documents import parse_document
    from plasticity_bench.submissions.documents import MethodDocument, ScoresDocument

    document = parse_document((folder / "method.json").read_bytes(), MethodDocument)
    scores = parse_document((folder / "scores.json").read_bytes(), ScoresDocument)
    words = {
        "new": "wrote",
        "extended": "extended",
        "rescored": "the same records, new scores:",
        "identical": "identical, nothing to write:",
    }
    print(f"{words[done]} {folder}/")
    for stream, entry in document.streams.items():
        metric = scores.streams[stream].metrics["level"]
        score = "unknown" if metric.point is None else f"{metric.point:.3f}"
        best = f"; best of {entry.tuning.budget} configurations" if entry.tuning else ""
        print(f"  {stream}: {len(entry.seeds)} seeds, level {score}{best}")
        cell = read_cell(folder / "records" / stream / entry.cell)
        if said := divergence(measure(cell).not_finite):
            print(f"  note: {said}")
    lacking = any(
        set(entry.seeds) - set(seeds)
        for stream, entry in document.streams.items()
        for named in [scores.streams[stream]]
        for seeds in (named.trained, max(named.twins.values(), key=len))
    )
    command = "python -m plasticity_bench"
    if lacking and document.method.label != "none":
        print(
            f"note: scores are missing, because {folder.parent}/none lacks some of these streams or seeds, "
            "or fresh twins:"
        )
        print(f"      {command} submit none{_options(args)}, then this command again")
    print("next:")
    quoted, board = shlex.quote(str(folder)), folder.parent.parent
    print(f"  {command} leaderboard --verify {quoted}")
    # Only the repository's own leaderboard is generated and committed with its submissions.
    if (board / "SUBMITTING.md").exists():
        print(f"  {command} leaderboard --submissions {shlex.quote(str(folder.parent))}")
        print(f"  git add {shlex.quote(str(board))} && git commit -m 'Submission: {folder.name}'")
    else:
        print(f"  git add {quoted} && git commit -m 'Submission: {folder.name}'")
    print("  git push, and open a pull request")
