"""Small valid submissions, made without training: plausible numbers in the real layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plasticity_bench.records.cells import Cell
from plasticity_bench.records.configuration import CellPlan, plan_cell, stream_folder
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.running.plan import Planned, open_cells
from plasticity_bench.specs import is_measured, is_probed, twin_tasks
from plasticity_bench.storage.files import sha256
from plasticity_bench.submissions.check_tables import PROBED
from plasticity_bench.submissions.documents import Submitter
from plasticity_bench.submissions.extension import missing
from plasticity_bench.submissions.verify import verify
from plasticity_bench.submissions.writer import find_submission, submission_name, write_submission
from plasticity_bench.tuning.sweep import sweep_table, tuned_plan, tuning_seeds, write_sweep
from tests.support.documents import made_origin
from tests.support.plans import named_sweep

STREAM = "permuted-digits:tasks=3"
FOLDER = "permuted-digits-v1_tasks=3"
ORIGIN = made_origin(seconds=0.25)


def possible_rows(cell: Cell, seed: int) -> list[dict[str, float]]:
    """Made-up numbers within their bounds, in the fields that a run of a supervised stream fills."""
    rng = np.random.default_rng([seed, *cell.method.encode()])
    rows = []
    for task in range(cell.tasks):
        row = {"task": task, "online_performance": 0.3 + 0.4 * rng.random(), "online_loss": 2 * rng.random()}
        if is_measured(task, cell.tasks):
            names = [name for name in cell.columns if name not in row and name != "final_performance"]
            row |= {name: float(rng.random()) for name in names}
        if not is_probed(task, cell.tasks):
            row = {name: value for name, value in row.items() if name not in PROBED}
        rows.append(row)
    return rows


def possible_twins(cell: Cell, seed: int) -> list[dict[str, float]]:
    """The same for the table of a seed's fresh twins."""
    rng = np.random.default_rng([seed, *cell.method.encode(), 1])
    rows = []
    for task in twin_tasks(cell.tasks):
        row = {"task": task, "online_performance": 0.3 + 0.4 * rng.random(), "online_loss": 2 * rng.random()}
        if cell.config.stream.unit == "R2":
            row["target_variance"] = float(rng.random())
        rows.append(row)
    return rows


def record(runs: Path, plans: Sequence[CellPlan], seeds: Sequence[int], twins: bool = True) -> list[Planned]:
    """Fills the cells of ``plans`` in ``runs`` with made-up numbers."""
    planned = open_cells(runs, plans, seeds, twins)
    for item in planned:
        fill(item)
    return planned


def fill(item: Planned) -> None:
    """Records made-up numbers for what the cell lacks."""
    recorded, with_twins = set(item.cell.seeds()), set(item.cell.fresh.seeds())
    for seed in item.seeds:
        if seed not in recorded:
            item.cell.trained.write(seed, possible_rows(item.cell, seed), ORIGIN)
        if item.twins and seed not in with_twins:
            item.cell.fresh.write(seed, possible_twins(item.cell, seed), ORIGIN)


def sweep(
    out: Path, method: str, budget: int = 4, streams: Sequence[str] = (STREAM,), design: int = 0
) -> Path:
    """Writes a sweep of the method on every stream into ``out``, with made-up records."""
    for stream in streams:
        plan, seeds = named_sweep(stream, method, budget, design), tuning_seeds(2)
        write_sweep(out, sweep_table(plan, record(out, plan.cells(), seeds, twins=False), seeds, design))
    return out


def submit(
    out: Path,
    runs: Path,
    method: str,
    seeds: int = 2,
    streams: Sequence[str] = (STREAM,),
    tuned: Path | None = None,
    twins: bool = True,
    **who: str,
) -> Path:
    """Makes a submission from made-up records, with the code of the command. Returns its folder."""
    chosen = choose_method(method)
    plans = [
        tuned_plan(tuned, choose_stream(stream), chosen) if tuned else plan_cell(stream, method)
        for stream in streams
    ]
    name = submission_name(chosen, tuned is not None)
    found = find_submission(out, name, chosen, tuned is not None)
    planned = []
    for plan in plans:
        lacking = missing(found, stream_folder(plan.stream), range(seeds), plan.tuning, twins)
        planned += record(runs, [plan], sorted({*range(seeds), *lacking}), twins)
    write_submission(out, name, chosen, planned, found, Submitter(**who))
    return out / name


def edit_json(path: Path, **changes: Any) -> None:
    """Replaces entries of a JSON file; ``a__b=1`` is the entry b of a."""
    document = json.loads(path.read_text())
    for key, value in changes.items():
        *above, last = key.split("__")
        inner = document
        for part in above:
            inner = inner[part]
        inner[last] = value
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def edit_table(table: Path, old: str, new: str) -> None:
    """Changes a table and its checksum, as a forger would."""
    text = table.read_text()
    assert old in text
    data = text.replace(old, new, 1).encode()
    table.write_bytes(data)
    edit_json(table.with_suffix(".json"), sha256=sha256(data))


def tree(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of every file below the folder, without locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def problems(*paths: Path) -> list[str]:
    """The problems that ``verify`` reports, as lines."""
    found = [str(problem) for problem in verify(paths).problems]
    assert all(line.isprintable() for line in found)
    return found
