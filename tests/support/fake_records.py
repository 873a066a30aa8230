"""Synthetic records for tests: cells written with the real code, holding made-up numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from plasticity_bench.records.cells import Cell, open_cell
from tests.support.documents import made_config, made_origin, made_sweep

#: Diagnostics are measured at every tenth task only, as real runs may do.
EVERY = 10


def write_cell(
    runs: Path,
    method: str,
    performance: Mapping[int, Sequence[float]],
    *,
    stream: str = "permuted-digits",
    columns: Mapping[str, Sequence[float]] | None = None,
    seconds: float = 1.0,
    stack: int = 16,
    device: str = "cpu",
    tuning: Mapping[str, Any] | None = None,
    fresh: Mapping[int, Sequence[float]] | None = None,
    variance: Mapping[int, Sequence[float]] | None = None,
    **changes: Any,
) -> Cell:
    """A cell whose seed s has ``performance[s][t]`` as the online performance of task t.

    ``fresh[s][t]``: that of the fresh twin at task t, of which a record holds only the tasks of twins.
    ``variance[s][t]``: the variance of the task's targets.
    ``columns`` holds further columns, the same for every seed (nan: not measured). ``changes`` replace
    entries of the stream's configuration (``chance=0.0``).
    """
    tasks = len(next(iter(performance.values())))
    name = method.partition(":")[0]
    config = made_config(
        {
            "name": stream,
            "summary": f"a made-up stream called {stream}",
            "settings": {"lr": 0.001},
            "tasks": tasks,
            **changes,
        },
        {
            "name": name,
            "label": method,
            "settings": {},
            "summary": f"what {name} does",
            "paper": f"A. Author, A paper on {name}, arXiv 0000.00000",
            "task_boundaries": method.startswith(("reset", "shrink-perturb")),
        },
    )
    kind = 1 + crc32(stream.encode()) / 2**32

    def loss(seed: int) -> float:  # no two seeds and no two streams have equal tables
        return kind + seed / 1000

    folder = f"{method.replace(':', '-').replace('=', '-')}-0123abcd"
    cell = open_cell(runs, f"{stream}-v1", folder, config, made_sweep(tuning) if tuning else None)
    for seed, values in performance.items():
        rows: list[dict[str, float]] = [
            {"task": task, "online_performance": value, "online_loss": loss(seed)}
            for task, value in enumerate(values)
        ]
        for name, column in (columns or {}).items():
            for row, value in zip(rows, column, strict=True):
                row[name] = value
        cell.trained.write(seed, rows, made_origin(seconds, stack, device))
    for seed, values in (fresh or {}).items():
        rows = [
            {"task": task, "online_performance": values[task], "online_loss": loss(seed)}
            | ({"target_variance": variance[seed][task]} if variance else {})
            for task in cell.fresh.tasks
        ]
        cell.fresh.write(seed, rows, made_origin(seconds / 10, stack, device))
    return cell


def tuning_table(method: str, scores: Sequence[float] = (0.3, 0.5), stream: str = "permuted-digits") -> dict:
    """A sweep's table: the default, then learning rates of 0.01, 0.02, ... with these scores."""
    rows = [
        {
            "settings": {"lr": f"{0.01 * index:g}"} if index else {},
            "label": f"{method}:lr={0.01 * index:g}" if index else method,
            "cell": f"{method}-{index:08d}",
            "score": value,
            "per_seed": [value - 0.01, value, value + 0.01],
            "seconds": 5.0,
        }
        for index, value in enumerate(scores)
    ]
    return {
        "schema": 1,
        "stream": f"{stream}-v1",
        "method": method,
        "objective": "made up",
        "budget": len(rows),
        "design": 0,
        "seeds": [10_000, 10_001, 10_002],
        "space": {"lr": [0.0001, 0.01]},
        "chosen": int(np.argmax(scores)),
        "configurations": rows,
    }


def learning_curves(
    start: float, end: float, seeds: Iterable[int], tasks: int = 300, noise: float = 0.01, method: int = 0
) -> dict[int, list[float]]:
    """seed -> performance that drifts from ``start`` to ``end``.

    Most of a seed's noise is shared by all methods, as tasks and initial weights are; a part is its own.
    """
    curves = {}
    for seed in seeds:
        shared, own = np.random.default_rng(seed), np.random.default_rng([seed, method])
        path = end + (start - end) * np.exp(-3 * np.arange(tasks) / tasks)
        path += shared.normal(0, noise) + own.normal(0, noise / 2)
        curves[seed] = list(path + shared.normal(0, 2 * noise, tasks))
    return curves


def write_suite(runs: Path, seeds: int = 16, tasks: int = 300) -> list[Cell]:
    """Two streams with five methods each, shaped like real results: `none` decays, `l2` much less so.

    Fresh twins learn every task as well as the method learned the first.
    """
    methods = {
        "none": (0.74, 0.62, 0.30, 30.0),
        "reset": (0.64, 0.64, 0.02, 60.0),
        "l2:strength=0.01": (0.73, 0.715, 0.05, 55.0),
        "shrink-perturb": (0.73, 0.713, 0.04, 58.0),
        "syre": (0.74, 0.72, 0.03, 62.0),
    }
    measured = np.arange(tasks) % EVERY == EVERY - 1
    cells = []
    for stream, shift in (("permuted-digits", 0.0), ("random-labels", -0.1)):
        for index, (method, (start, end, dormant, rank)) in enumerate(methods.items()):
            ramp = np.linspace(0, 1, tasks)
            columns = {
                "dormant_fraction": np.where(measured, dormant * ramp, np.nan).tolist(),
                "effective_rank": np.where(measured, 70 + (rank - 70) * ramp, np.nan).tolist(),
            }
            curves = learning_curves(start + shift, end + 2 * shift, range(seeds), tasks, method=index)
            begin = start + (2 * shift if method == "reset" else shift)
            new = learning_curves(begin, begin, range(seeds), tasks, method=index)
            cells.append(
                write_cell(
                    runs,
                    method,
                    curves,
                    stream=stream,
                    columns=columns,
                    seconds=10.0 + index,
                    stack=seeds,
                    fresh=new,
                )
            )
    return cells
