"""Measures the package's speed, section by section, and writes docs/performance.md.

    python -m benchmarks [SECTION ...] [--quick] [--clone PATH]

Every section runs in its own process. Its output and its numbers are kept in docs/data/performance.json, so
that one section can be measured again. Sections that do not run keep their last result.

Exit code 1: a section failed, or found that its contestants did not compute the same.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.sections import SECTIONS, Section
from plasticity_bench.storage.files import write_text

#: Replaces the clone's folder in the published command.
CLONE = "PATH_TO_A_CLONE"


def measure(section: Section, quick: bool, clone: Path | None) -> dict[str, Any]:
    """Runs the section, shows its output, and returns the results to keep."""
    given = section.quick if quick else section.full
    shown = [f"benchmarks.{section.module}", *([CLONE] if section.needs_clone else []), *given]
    command = [sys.executable, "-u", "-m", *shown]
    if section.needs_clone:
        command[command.index(CLONE)] = str(clone)
    started = time.perf_counter()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        numbers = Path(folder) / "numbers.json"
        if section.json:
            command += ["--json", str(numbers)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.startswith(("argv[0]", "pybullet build time")):  # printed by PyBullet
                    print(line, end="", flush=True)
                    lines.append(line)
        saved = json.loads(numbers.read_text()) if numbers.exists() else {}
    saved.pop("settings", None)  # they may hold paths of this machine, and the command shows them
    return {
        "command": "python -m " + shlex.join(shown),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "quick": quick,
        "seconds": round(time.perf_counter() - started, 1),
        "code": process.returncode,
        "text": "".join(lines),
        "numbers": saved,
    }


def document(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of docs/performance.md, from the sections' results."""
    lines = ["# Performance", "", "Written by `python -m benchmarks`; do not edit.", ""]
    lines += [
        "Unless a section says otherwise, contestants run in one process with one thread. In every repeat "
        "each of them runs once, and each repeat begins with another one; a first round is not counted. "
        "Ratios are taken within a repeat: median (smallest to largest). `core used` is processor time over "
        "wall time; below 99 % another process used the core. A load of 1 or more before the start means "
        "that the machine was busy: ratios of processor time are still roughly right then, wall times are "
        "not. [benchmarks/README.md](../benchmarks/README.md) describes each script.",
        "",
    ]
    bars = [
        bar.verdict(results[section.name]["numbers"], results[section.name]["text"])
        for section in SECTIONS
        if section.name in results
        for bar in section.bars
    ]
    if bars:
        lines += ["| bar | goal | median | |", "|---|---:|---:|---|", *bars, ""]
    for section in SECTIONS:
        lines += [f"## {section.title}", "", section.text, ""]
        if section.name not in results:
            lines += ["Not measured yet.", ""]
            continue
        found = results[section.name]
        kind = ", a short pass" if found["quick"] else ""
        lines += [f"`{found['command']}`, {found['date']}{kind}, {found['seconds']:.0f} s", ""]
        if found["code"]:
            lines += [f"**It ended with exit code {found['code']}.**", ""]
        lines += [found["text"].strip(), ""]
    return "\n".join(lines)


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    names = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").partition("\n")[0],
        epilog="sections: " + "; ".join(f"{section.name}: {section.title}" for section in SECTIONS),
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="default: all; " + ", ".join(names))
    parser.add_argument("--quick", action="store_true", help="a short pass: few repeats, small sizes")
    parser.add_argument(
        "--clone", type=Path, help="clone of shibhansh/loss-of-plasticity, for the section public"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/performance.md"), help="default: docs/performance.md"
    )
    parser.add_argument(
        "--results", type=Path, help="file of the results (default: data/performance.json next to --out)"
    )
    parser.add_argument("--write-only", action="store_true", help="measure nothing, write the document again")
    args = parser.parse_args(given)
    if unknown := set(args.sections) - set(names):
        parser.error(f"unknown section {', '.join(sorted(unknown))}; known: {', '.join(names)}")
    if "public" in args.sections and args.clone is None:
        parser.error("public needs --clone, a clone of https://github.com/shibhansh/loss-of-plasticity")
    args.results = args.results or args.out.parent / "data" / "performance.json"
    return args


def main(given: list[str] | None = None) -> int:
    """Measures the chosen sections, keeps each result as soon as it is known, and writes the document."""
    args = arguments(given)
    results: dict[str, Any] = json.loads(args.results.read_text()) if args.results.exists() else {}
    failed = []
    for section in SECTIONS:
        if args.write_only or (args.sections and section.name not in args.sections):
            continue
        print(f"\n## {section.title}\n", flush=True)
        if section.needs_clone and args.clone is None:
            print("left out: it needs --clone")
            continue
        results[section.name] = measure(section, args.quick, args.clone)
        if results[section.name]["code"]:
            failed.append(section.name)
        args.results.parent.mkdir(parents=True, exist_ok=True)
        write_text(args.results, json.dumps(results, indent=1) + "\n")
        write_text(args.out, document(results))
    if args.write_only:
        write_text(args.out, document(results))
    print(f"\nwritten: {args.out}")
    if failed:
        print(f"benchmarks: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
