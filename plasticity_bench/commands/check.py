"""``plasticity_bench check``"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from plasticity_bench.commands.next_steps import print_next_steps

if TYPE_CHECKING:
    from plasticity_bench.contract.results import Result

SUMMARY = "check that a method keeps the contract: reproducible, stacked seeds, checkpoints, PPO, adapters"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "method",
        metavar="METHOD",
        help="path/to/file.py, path/to/file.py:Class, package.module:Class, or a name; with settings as "
        "name:key=value",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints a line per check. Returns 1 if one failed, else 0."""
    import json
    import time
    from dataclasses import asdict

    from plasticity_bench.registry.choices import choose_method

    began, output = time.perf_counter(), sys.stdout
    with redirect_stdout(sys.stderr):  # what a method prints is not part of the report
        chosen = choose_method(args.method)  # reports bad input before anything is printed
    if not args.json:
        print(f"checking {chosen.label} ({args.method})", flush=True)  # importing torch takes a moment

    def show(text: str, end: str = "\n") -> None:
        if not args.json:
            print(text, end=end, file=output, flush=True)

    with redirect_stdout(sys.stderr):
        from plasticity_bench.contract.report import check_all

        results = check_all(chosen, lambda line: show(line, " "), show)
    failed = any(result.state == "failed" for result in results)
    if args.json:
        report = {"method": chosen.label, "source": chosen.source, "ok": not failed}
        print(json.dumps({**report, "checks": [asdict(result) for result in results]}, indent=1))
    else:
        _print_counts(args.method, chosen.label, results, time.perf_counter() - began)
    return 1 if failed else 0


def _print_counts(method: str, label: str, results: list[Result], seconds: float) -> None:
    from shlex import quote

    from plasticity_bench.contract.report import count_states

    print(f"{label}: {count_states(results)} ({seconds:.0f} s)")
    if all(result.state != "failed" for result in results):
        print_next_steps(f"run --method {quote(method)} l2", f"compare {label} l2")
