"""``plasticity_bench check``"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, TextIO

from plasticity_bench.commands.next_steps import print_next_steps

if TYPE_CHECKING:
    from plasticity_bench.contract.results import Result

SUMMARY = "check that a method keeps the contract: reproducible, stacked seeds, checkpoints, PPO, adapters"

#: State of a check -> how it is shown.
SHOWN = {
    "passed": "ok",
    "failed": "FAILED",
    "warning": "warning",
    "does not apply": "does not apply",
    "information": "",
}


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

    began = time.perf_counter()
    with redirect_stdout(sys.stderr):  # what a method prints is not part of the report
        chosen = choose_method(args.method)  # reports bad input before anything is printed
    if not args.json:
        print(f"checking {chosen.label} ({args.method})", flush=True)  # importing torch takes a moment
    results = _examine(args.method, None if args.json else sys.stdout)
    failed = any(result.state == "failed" for result in results)
    if args.json:
        report = {"method": chosen.label, "source": chosen.source, "ok": not failed}
        print(json.dumps({**report, "checks": [asdict(result) for result in results]}, indent=1))
    else:
        _print_counts(args.method, chosen.label, results, time.perf_counter() - began)
    return 1 if failed else 0


def _examine(method: str, report: TextIO | None) -> list[Result]:
    from plasticity_bench.contract.checks import CHECKS, examine
    from plasticity_bench.contract.results import Result, Verdict
    from plasticity_bench.contract.subject import Subject
    from plasticity_bench.errors import RunFailed

    results: list[Result] = []

    def finish(result: Result) -> None:
        results.append(result)
        if report:
            print(_shown(result, results[:-1]), file=report, flush=True)

    def begin(line: str) -> None:
        if report:
            print(line, end=" ", file=report, flush=True)

    with redirect_stdout(sys.stderr):
        try:
            subject = Subject(method)
        except RunFailed as error:  # there is nothing to train
            begin(f"{'makes a network':56}")
            fix = "network returns a NetworkSpec: replace(spec, ...)"
            finish(Result("network", Verdict.FAILED, str(error), fix))
            return results
        for number, check in enumerate(CHECKS, 1):
            begin(f"{number:2}/{len(CHECKS)} {check.question:50}")
            finish(examine(check, subject))
    return results


def _shown(result: Result, before: list[Result]) -> str:
    """The rest of a check's line, and below it how to fix what was found."""
    state = SHOWN[result.state]
    if result.state in ("passed", "information"):
        return f"{state}{'  ' if state else ''}{result.detail}"
    for number, other in enumerate(before, 1):
        if (other.state, other.detail, other.where) == (result.state, result.detail, result.where):
            return f"{state}  as in {number}"
    lines = [state, f"      {result.where + ': ' if result.where else ''}{result.detail}"]
    return "\n".join([*lines, f"      -> {result.fix}"] if result.fix else lines)


def _print_counts(method: str, label: str, results: list[Result], seconds: float) -> None:
    from shlex import quote

    states = [result.state.value for result in results]
    counts = [
        f"{states.count(state)} {state}" for state in SHOWN if state in states and state != "information"
    ]
    print(f"{label}: {', '.join(counts)} ({seconds:.0f} s)")
    if "failed" in states:
        return
    print_next_steps(f"run --method {quote(method)} l2", f"compare {label} l2")
