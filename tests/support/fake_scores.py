"""Synthetic scores for the page, made without records on disk: any number of methods, streams and seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from plasticity_bench.records.cells import Cell
from plasticity_bench.registry.catalog import METHODS, STREAMS
from plasticity_bench.scoring.metrics import DIAGNOSTICS, METRICS
from plasticity_bench.scoring.plasticity import Plasticity, plasticity
from plasticity_bench.scoring.scores import CellScores, Scores, StreamScores
from plasticity_bench.scoring.scoring import aggregate_streams
from plasticity_bench.scoring.twins import Twins
from plasticity_bench.specs import twin_tasks
from tests.support.documents import made_config, made_sweep


def fake_scores(
    methods: int = 6, streams: int = 2, seeds: int = 8, tasks: int = 60, tuned: int = 0, **method: Any
) -> Scores:
    """`none` loses most; the other methods lose more the later they come in the list.

    If ``methods`` is larger than the number of methods, they repeat with other settings; if ``streams`` is
    larger than the number of streams, these repeat with other versions. The first ``tuned`` methods also have
    a row with settings that a sweep chose. ``method`` replaces entries of the last method's configuration.
    """
    first = ("none", "reset", "l2", "l2-init", "shrink-perturb", "layer-norm", "crelu", "deep-fourier", "cbp")
    names = [*first, *(name for name in METHODS if name not in first)]
    labels = [f"{names[i % len(names)]}{f':strength={i}' if i >= len(names) else ''}" for i in range(methods)]
    known = list(STREAMS)
    made = []
    for index in range(streams):
        folder = f"{known[index % len(known)]}-v{1 + index // len(known)}"
        rows = [
            _row(
                folder, index, label, place, (methods - place) / methods, seeds, tasks, method if last else {}
            )
            for place, label in enumerate(labels)
            for last in [place == methods - 1]
        ]
        rows += [
            _tuned(folder, index, label, place, (methods - place + 0.5) / methods, seeds, tasks)
            for place, label in enumerate(labels[:tuned])
        ]
        rows.sort(key=lambda row: -row.summary["level"].point)
        made.append(StreamScores(folder, tuple(rows), (f"a note on {folder}",)))
    return Scores(tuple(made), *aggregate_streams(made))


def sweep_table(method: str, stream: str, tried: int = 8, chosen: int = 3) -> dict[str, Any]:
    """A sweep's table as ``tuning.sweep.sweep_table`` makes it: the default first, the chosen one best."""
    return {
        "schema": 1,
        "stream": stream,
        "method": method,
        "objective": "mean over the tuning seeds of the mean performance in the last window",
        "budget": tried,
        "design": 0,
        "seeds": [10_000, 10_001],
        "space": {"strength": [1e-4, 1e-2], "lr": [1e-4, 1e-2]},
        "chosen": chosen,
        "configurations": [
            {
                "settings": {"strength": f"{i / 1000:g}", "lr": "0.0004"} if i else {},
                "label": f"{method}:strength={i / 1000:g}" if i else method,
                "cell": f"{method}-{i:08x}",
                "score": 0.7 - abs(i - chosen) / 100,
                "per_seed": [0.69 - abs(i - chosen) / 100, 0.71 - abs(i - chosen) / 100],
                "seconds": 12.5,
            }
            for i in range(tried)
        ],
    }


def _tuned(
    stream: str, index: int, label: str, place: int, kept: float, seeds: int, tasks: int
) -> CellScores:
    settings = {"strength": 0.003 + index / 1000, "lr": 0.0004}
    row = _row(stream, index, label, place, kept, seeds, tasks, {"settings": settings})
    path = row.cell.path.with_name(f"{row.cell.path.name}-tuned")
    cell = Cell(path, row.cell.config, made_sweep(sweep_table(label, stream)))
    return replace(row, cell=cell)


def _row(
    stream: str,
    index: int,
    label: str,
    place: int,
    kept: float,
    seeds: int,
    tasks: int,
    method: dict[str, Any],
) -> CellScores:
    rng = np.random.default_rng([index, place])
    kept = 0.2 if place == 0 else kept
    path = 0.8 - 0.5 * (1 - kept) * np.linspace(0, 1, tasks)
    performance = path + rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, 0.02, (seeds, tasks))
    ramp = (1 - kept) * np.linspace(0, 1, tasks)
    diagnostics = rng.normal(1, 0.1, (3, seeds, tasks))
    diagnostics *= np.stack([0.05 + 0.5 * ramp, 60 - 40 * ramp, 20 + 30 * ramp])[:, None]
    values = {name: rng.normal(0.1, 0.05, seeds) for name in METRICS}
    measured = _plasticity(performance, rng)
    values |= {name: ratio.contributions for name, ratio in measured.ratios.items()}
    name = label.partition(":")[0]
    config = made_config(
        {
            "name": stream.rpartition("-v")[0],
            "summary": f"a made-up stream called {stream}",
            "source": "synthetic",
            "settings": {"tasks": tasks},
            "tasks": tasks,
        },
        {
            "name": name,
            "label": label,
            "settings": {"strength": place / 100, "lr": None},
            "summary": f"what {name} does",
            "paper": f"Author & Other 2024, A Paper on {name} and More, ICLR, arXiv:2401.{place:05d}",
            "task_boundaries": place % 2 == 1,
            **method,
        },
    )
    folder = Path("runs") / stream / f"{name}-{place:08x}"
    return CellScores(
        Cell(folder, config),
        tuple(range(seeds)),
        {"performance": performance, **dict(zip(DIAGNOSTICS, diagnostics, strict=True))},
        values,
        {name: np.ones(seeds, dtype=bool) for name in METRICS},
        measured,
    )


def _plasticity(performance: np.ndarray, rng: np.random.Generator) -> Plasticity:
    """The measures of a method whose fresh twins, and those of `none`, reach about 0.8; chance is 0."""
    seeds, tasks = performance.shape
    at = twin_tasks(tasks)
    twins, plain = (
        Twins(
            tuple(range(seeds)),
            at,
            0.8 + own.normal(0, 0.02, (seeds, len(at))),
            np.ones((seeds, len(at))),
        )
        for own in (rng, np.random.default_rng(0))
    )
    return plasticity(range(seeds), performance, 0.0, twins, plain)
