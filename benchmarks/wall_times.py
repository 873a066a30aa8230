"""Wall times of what a user waits for: help, listing, the main job, and its rerun with everything recorded.

The main job is ``run --method syre``: the suite ``quick`` with both references, on every core. The limits are
the project's goals; "over" is not a failure. Exit code 1: a command failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.timing import load


@dataclass(frozen=True)
class Timing:
    """One command, timed a number of times."""

    what: str
    seconds: list[float]
    limit: float

    def row(self) -> str:
        """A line of the Markdown table."""
        median = statistics.median(self.seconds)
        spread = f"{min(self.seconds):.2f} to {max(self.seconds):.2f}"
        verdict = "over" if median > self.limit else "within"
        return f"| {self.what} | {median:.2f} | {spread} | {len(self.seconds)} | {self.limit:g} | {verdict} |"


def seconds_of(*arguments: str) -> float:
    """Runs one command in its own process. Raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "plasticity_bench", *arguments]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - started


def quick(limit: float, repeats: int, *arguments: str) -> Timing:
    """Times a short command; the first call, which fills caches, is not counted."""
    seconds_of(*arguments)
    return Timing(f"`{' '.join(arguments)}`", [seconds_of(*arguments) for _ in range(repeats)], limit)


def main_job(times: int, reruns: int) -> list[Timing]:
    """The main job in a fresh folder each time, and its rerun in the last of them."""
    fresh, again = [], []
    for i in range(times):
        with tempfile.TemporaryDirectory() as folder:
            job = ("run", "--method", "syre", "--runs", str(Path(folder) / "runs"))
            fresh.append(seconds_of(*job))
            if i == times - 1:
                again = [seconds_of(*job) for _ in range(reruns)]
    return [
        Timing("`run --method syre`", fresh, 90),
        Timing("the same, everything recorded", again, 3),
    ]


def main() -> int:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="of the quick commands (5)")
    parser.add_argument("--main-job", type=int, default=1, metavar="N", help="of the main job (1; 0: none)")
    parser.add_argument("--reruns", type=int, default=3, help="of the main job when all is recorded (3)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all numbers here")
    args = parser.parse_args()
    if min(args.repeats, args.reruns) < 1 or args.main_job < 0:
        parser.error("counts are at least 1; --main-job may be 0")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = f"{platform.machine()}, usable cores {cores}, load before {load():.2f}"
    print(f"{facts}, Python {platform.python_version()}\n")
    print("| command | median s | min to max | times | limit s | |")
    print("|---|---:|---:|---:|---:|---|")
    timings: list[Timing] = []
    try:
        for arguments in (("--help",), ("list",), ("list", "--json")):
            timings.append(quick(0.5, args.repeats, *arguments))
            print(timings[-1].row(), flush=True)
        if args.main_job:
            timings += main_job(args.main_job, args.reruns)
            print("\n".join(timing.row() for timing in timings[-2:]), flush=True)
    except subprocess.CalledProcessError as error:
        print(f"wall_times: {' '.join(error.cmd)} failed: {error.stderr}", file=sys.stderr)
        return 1
    if args.json:
        numbers = {"load": load(), "commands": {timing.what.strip("`"): timing.seconds for timing in timings}}
        args.json.write_text(json.dumps(numbers, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
