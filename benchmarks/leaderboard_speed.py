"""Measures how long the leaderboard of many records takes, and checks that two calls give the same files.

Makes synthetic records in a temporary folder, runs ``leaderboard --runs`` on them twice and compares every
file. Parts are the times between the lines that the command prints. Exit code 1: the command failed, or files
differ.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from msgspec.structs import asdict

from plasticity_bench.processes.workers import Workers, usable_cores
from plasticity_bench.records.cells import open_cell
from plasticity_bench.records.documents import SeedRecord
from plasticity_bench.records.tables import COLUMNS, WHOLE
from plasticity_bench.registry.catalog import METHODS, STREAMS
from plasticity_bench.storage.files import sha256
from tests.support.documents import made_config, made_origin

#: Diagnostics are measured at every sixth task; real runs skip tasks too.
EVERY = 6
FEW, MANY = 100, 300


@dataclass(frozen=True)
class Fake:
    """A synthetic cell to write."""

    stream: int
    method: int
    tasks: int
    seeds: int


@dataclass
class Timing:
    """One call of the command."""

    seconds: float = 0.0
    processor: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


def labels(count: int) -> list[str]:
    """Methods' labels: those of the registry, then the same with other settings."""
    first = ["none", "reset", *(name for name in METHODS if name not in ("none", "reset"))]
    return [
        first[i % len(first)] + (f":strength={i // len(first)}" if i >= len(first) else "")
        for i in range(count)
    ]


def write(runs: Path, method: str, fake: Fake) -> int:
    """Records a cell; returns the bytes of its tables."""
    known = list(STREAMS)
    stream = f"{known[fake.stream % len(known)]}-v{1 + fake.stream // len(known)}"
    name = method.partition(":")[0]
    config = made_config(
        {
            "name": stream.rpartition("-v")[0],
            "summary": f"a made-up stream called {stream}",
            "settings": {"lr": 0.001},
            "tasks": fake.tasks,
        },
        {
            "name": name,
            "label": method,
            "settings": {},
            "summary": f"what {method} does",
            "paper": f"A. Author, A paper on {method}, arXiv 0000.00000",
            "task_boundaries": method == "reset",
        },
    )
    cell = open_cell(runs, stream, f"{method.replace(':', '-').replace('=', '-')}-0123abcd", config)
    rng = np.random.default_rng([fake.stream, fake.method])
    end = rng.uniform(0.3, 0.75) if fake.method else 0.4
    size = 0
    for seed in range(fake.seeds):
        shared = np.random.default_rng([fake.stream, seed]).normal(0, 0.01)
        path = end + (0.7 - end) * np.exp(-3 * np.arange(fake.tasks) / fake.tasks)
        table = {name: rng.uniform(0, 50, fake.tasks) for name in COLUMNS}
        table["online_performance"] = path + shared + rng.normal(0, 0.02, fake.tasks)
        table["dormant_fraction"] = rng.uniform(0, 1, fake.tasks)
        data = to_table(table).encode()
        cell.trained.path(seed).write_bytes(data)
        origin = made_origin(10.0 + fake.method, fake.seeds)
        record = SeedRecord(**asdict(origin), seed=seed, sha256=sha256(data))
        cell.trained.path(seed).with_suffix(".json").write_bytes(record.to_bytes())
        fresh = rng.normal(0.7 + shared, 0.02, len(cell.fresh.tasks))
        rows = [
            {"task": task, "online_performance": value}
            for task, value in zip(cell.fresh.tasks, fresh.tolist(), strict=True)
        ]
        cell.fresh.write(seed, rows, made_origin(1.0, fake.seeds))
        size += len(data) + cell.fresh.path(seed).stat().st_size
    return size


def to_table(table: dict[str, np.ndarray]) -> str:
    """As ``tables.to_csv`` writes it, without its checks of every value."""
    tasks = len(table["task"])
    always = ("online_performance", "online_loss", "final_performance")
    columns = []
    for name in COLUMNS:
        values = map(str, range(tasks)) if name in WHOLE else map(repr, table[name].tolist())
        kept = name in WHOLE or name in always
        columns.append([text if kept or i % EVERY == EVERY - 1 else "" for i, text in enumerate(values)])
    lines = [",".join(COLUMNS), *map(",".join, zip(*columns, strict=True))]
    return "\n".join(lines) + "\n"


def _write(job: tuple[Path, str, Fake]) -> int:
    return write(*job)


def make(runs: Path, methods: int, streams: int, seeds: int, workers: Workers) -> tuple[int, int]:
    """Writes the records of all cells; returns the number of tables and their bytes."""
    tasks = np.linspace(FEW, MANY, streams).astype(int).tolist()
    names = labels(methods)
    jobs = [
        (runs, names[method], Fake(stream, method, tasks[stream], seeds))
        for stream in range(streams)
        for method in range(methods)
    ]
    return len(jobs) * seeds, sum(workers.map(_write, jobs))


def leaderboard(runs: Path, out: Path) -> Timing:
    """Runs the command. Raises CalledProcessError if it fails."""
    command = [
        sys.executable,
        "-m",
        "plasticity_bench",
        "leaderboard",
        "--runs",
        str(runs),
        "--out",
        str(out),
    ]
    timing, before = Timing(), resource.getrusage(resource.RUSAGE_CHILDREN)
    started = last = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.perf_counter()
            part = part_of(line)
            timing.parts[part] = timing.parts.get(part, 0.0) + now - last
            last = now
    timing.seconds = time.perf_counter() - started
    timing.parts["end"] = timing.seconds - (last - started)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    timing.processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return timing


def part_of(line: str) -> str:
    """The part of the work that is finished when the command prints ``line``."""
    if line.startswith("read "):
        return "reading tables"
    if line.startswith("scored "):
        return "scoring"
    if ".png" in line:
        return "figures"
    return "page" if "index.html" in line else "text"


def differing(one: Path, other: Path) -> list[str]:
    """Names of the files that are not the same in both folders."""
    held = [{str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} for folder in (one, other)]
    same = held[0] & held[1]
    return sorted(
        (held[0] ^ held[1]) | {n for n in same if (one / n).read_bytes() != (other / n).read_bytes()}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", type=int, default=40)
    parser.add_argument("--streams", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make or reuse the records here")
    args = parser.parse_args(arguments)
    if min(args.methods, args.streams, args.seeds) < 1:
        parser.error("sizes are at least 1")
    with tempfile.TemporaryDirectory() as folder:
        runs = (args.keep or Path(folder)) / "runs"
        if not runs.exists():
            with Workers(usable_cores()) as workers:
                tables, size = make(runs, args.methods, args.streams, args.seeds, workers)
            print(f"{tables} tables of {FEW} to {MANY} tasks, {size / 1e6:.0f} MB", flush=True)
        load = f", load before {os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""
        print(
            f"{platform.machine()}, usable cores {usable_cores()}{load}, Python {platform.python_version()}\n"
        )
        # The folder's name is in the README, so both calls use the same name in two folders.
        outs = [Path(folder) / str(i) / "board" for i in range(2)]
        print("| call | wall s | processor s | reading tables | scoring | figures | page | text | end |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        for index, out in enumerate(outs):
            try:
                timing = leaderboard(runs, out)
            except subprocess.CalledProcessError as error:
                print(f"leaderboard_speed: {error}", file=sys.stderr)
                return 1
            names = ("reading tables", "scoring", "figures", "page", "text", "end")
            parts = " | ".join(f"{timing.parts.get(name, 0.0):.2f}" for name in names)
            print(f"| {index + 1} | {timing.seconds:.2f} | {timing.processor:.1f} | {parts} |", flush=True)
        found = differing(*outs)
        files = [path for path in outs[0].rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        print(f"\n{len(files)} files, {size / 1e6:.1f} MB; differing between the calls: {found or 'none'}")
        return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
