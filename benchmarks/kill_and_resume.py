"""Kills runs (SIGKILL) at random moments, resumes them, and compares every table with an uninterrupted run's.

    python benchmarks/kill_and_resume.py --kills 50

A run that reaches its end is compared; then a new run is started and killed. Exit code 1: a table differs, a
worker outlives its run, or a resumed run fails. ``tests/running/test_resume.py`` uses the same functions.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

#: Some have a state: they perturb at an interval, or draw at every update.
METHODS = ("syre", "shrink-perturb:interval=7", "syre-redrawn")
STREAM = "permuted-digits:tasks=40"
#: The moments of a kill: importing and planning; training; in the middle of a write; recording.
MOMENTS = ("start", "checkpoint", "write", "record")
#: Seconds between two checkpoints, so that a short run has many.
CHECKPOINT_SECONDS = 0.1
#: Seconds to wait for a moment before a run is given up.
PATIENCE = 300.0


def run_command(
    runs: Path, methods: Sequence[str] = METHODS, stream: str = STREAM, seeds: str = "3"
) -> list[str]:
    """The command of a run in two processes, without references."""
    start = [
        sys.executable,
        "-m",
        "plasticity_bench",
        "run",
        "--no-references",
        "--device",
        "cpu",
        "--jobs",
        "2",
    ]
    return [*start, "--method", *methods, "--stream", stream, "--seeds", seeds, "--runs", str(runs)]


def start_run(
    command: Sequence[str], checkpoint_seconds: float = CHECKPOINT_SECONDS
) -> subprocess.Popen[str]:
    """Starts a run as the leader of its own process group, so that its processes can be identified."""
    environment = {**os.environ, "PLASTICITY_BENCH_CHECKPOINT_SECONDS": str(checkpoint_seconds)}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts background processes with SIGINT ignored, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish_run(command: Sequence[str]) -> tuple[int, str]:
    """Runs to the end; returns (exit code, stderr)."""
    process = start_run(command)
    try:
        _, errors = process.communicate()
    finally:
        end(process.pid)
    return process.returncode, errors


def living(group: int) -> list[int]:
    """The processes of a process group, without zombies."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = (line.split() for line in listed.stdout.splitlines())
    return [int(pid) for pid, pgid, state in rows if int(pgid) == group and not state.startswith("Z")]


def survivors(group: int, seconds: float = 10.0) -> list[int]:
    """Processes of the group that are alive after ``seconds``.

    On a busy machine, a process that has imported torch takes over two seconds to exit.
    """
    deadline = time.monotonic() + seconds
    while (found := living(group)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def end(group: int) -> None:
    """Kills what is left of a process group that ``start_run`` started."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def tables(runs: Path) -> dict[str, bytes]:
    """Relative path -> content of every table in ``runs``."""
    return {str(path.relative_to(runs)): path.read_bytes() for path in sorted(runs.glob("*/*/seed-*.csv"))}


def differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Names of tables that differ, are missing, or should not exist."""
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def leftovers(runs: Path) -> list[str]:
    """Files that a finished run must not leave: checkpoints, temporary files, errors."""
    patterns = ("*/*/checkpoint-*", "*/*/.*.tmp", "*/*/error.txt")
    return sorted(str(path.relative_to(runs)) for pattern in patterns for path in runs.glob(pattern))


def wait_for(sign: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Waits until ``sign`` is true; False if the process ends before."""
    deadline = time.monotonic() + PATIENCE
    while not sign():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def wait_for_moment(moment: str, runs: Path, process: subprocess.Popen[str], rng: random.Random) -> bool:
    """Waits for a random moment of that kind; False if the run ends before it."""

    def newest(pattern: str) -> int:
        times = [0]
        for path in runs.glob(pattern):
            with suppress(FileNotFoundError):
                times.append(path.stat().st_mtime_ns)
        return max(times)

    if moment == "start":
        delay = rng.uniform(0.0, 4.0)
        reached = True
    else:
        pattern, longest = {
            "checkpoint": ("*/*/checkpoint-*.pt", 0.4),
            "write": ("*/*/.*.tmp", 0.0),
            "record": ("*/*/seed-*.csv", 0.03),
        }[moment]
        before = newest(pattern)
        delay = rng.uniform(0.0, longest)
        reached = wait_for(lambda: newest(pattern) > before, process)
    if reached and delay:
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            return True
        return False
    return reached and process.poll() is None


def kill_at(moment: str, runs: Path, command: Sequence[str], rng: random.Random) -> tuple[bool, float, str]:
    """Starts the run and kills its main process at such a moment.

    Returns (whether it was killed before its end, seconds it ran, the problem or "").
    """
    started = time.monotonic()
    process = start_run(command)
    try:
        killed = wait_for_moment(moment, runs, process, rng)
        if killed:
            os.kill(process.pid, signal.SIGKILL)
        seconds = time.monotonic() - started
        left = survivors(process.pid)
        wrong = f"processes {left} outlive the run" if left else ""
    finally:
        end(process.pid)
    _, errors = process.communicate()
    if not killed and process.returncode:
        wrong = f"exit code {process.returncode}: {errors.strip()}"
    return killed, seconds, wrong


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--method", nargs="+", default=list(METHODS))
    parser.add_argument("--stream", default=STREAM)
    parser.add_argument("--seeds", default="3")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    folder = Path(tempfile.mkdtemp(prefix="kill-and-resume-"))

    def command(runs: Path) -> list[str]:
        return run_command(runs, args.method, args.stream, args.seeds)

    print(" ".join(command(folder / "...")), flush=True)
    code, errors = finish_run(command(folder / "whole"))
    wanted = tables(folder / "whole")
    if code or not wanted:
        print(f"the uninterrupted run failed (exit code {code}): {errors.strip()}")
        return 1
    kills = finished = failures = 0
    while kills < args.kills or not finished:
        runs, killed = folder / f"run-{finished}", True
        while killed:
            moment = rng.choice(MOMENTS)
            wrong = ""
            if kills < args.kills:
                killed, seconds, wrong = kill_at(moment, runs, command(runs), rng)
            else:
                killed, (code, errors) = False, finish_run(command(runs))
                wrong = f"exit code {code}: {errors.strip()}" if code else ""
            if killed:
                kills += 1
                state = f"{len(tables(runs))} of {len(wanted)} tables"
                print(
                    f"kill {kills:3d}  run {finished}  {moment:10}  after {seconds:5.2f} s, {state}",
                    flush=True,
                )
            if wrong:
                failures += 1
                print(f"  FAILED: {wrong}", flush=True)
                if not killed:
                    break
        differing = differences(tables(runs), wanted) + leftovers(runs)
        failures += bool(differing)
        verdict = f"DIFFERENT or left behind: {', '.join(differing)}" if differing else "tables identical"
        print(f"run {finished}: {verdict}", flush=True)
        finished += 1
    print(f"{kills} kills, {finished} runs finished, {failures} failures")
    if failures:
        print(f"the records are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
