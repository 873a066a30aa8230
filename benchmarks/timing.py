"""Functions that the benchmarks share: timing contestants in turn on one core, and formatting results."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Spent:
    """Seconds of one stretch of work."""

    wall: float
    cpu: float  # of the processor; less than wall if another process used the core

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall - other.wall, self.cpu - other.cpu)

    def __mul__(self, factor: float) -> Spent:
        return Spent(self.wall * factor, self.cpu * factor)


def now() -> Spent:
    """The time that the clocks show."""
    return Spent(time.perf_counter(), time.process_time())


def timed(work: Callable[[], T]) -> tuple[Spent, T]:
    """Time and result of ``work``."""
    gc.collect()  # so that no contestant pays for the garbage of another
    start = now()
    result = work()
    return now() - start, result


def interleave(contestants: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Runs every contestant once per repeat, each repeat in another order; a first round is not counted."""
    names = list(contestants)
    results: dict[str, list[T]] = {name: [] for name in names}
    for repeat in range(-1, repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(contestants[name]())
    return {name: found[1:] for name, found in results.items()}


def spread(values: Sequence[float], form: str = "{:.2f}x") -> str:
    """Median, smallest and largest."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return form.format(middle) + f" ({form.format(least)} to {form.format(most)})"


def core_used(stretches: Sequence[Spent]) -> float:
    """Processor time over wall time, summed over stretches."""
    return sum(s.cpu for s in stretches) / sum(s.wall for s in stretches)


def load() -> float:
    """The machine's load over the last minute; nan if the system does not report it."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def one_thread() -> None:
    """Sets one core, one thread and flushed denormal numbers, as in the worker processes on a CPU."""
    import torch

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def machine() -> dict[str, Any]:
    """The machine and versions that the numbers depend on."""
    import torch

    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": f"{cpu} ({torch.backends.cpu.get_cpu_capability()})",
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "load before": round(load(), 2),
    }


def peak_memory() -> float:
    """Peak resident memory of this process in MB (VmHWM); nan if the system does not report it (Linux only).

    The value of getrusage would start with the parent's memory.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1.024e-3
