"""Records to track, and readers of what the sinks wrote that share no code with them."""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from plasticity_bench.cli import main
from plasticity_bench.records.cells import Cell
from tests.support.fake_records import learning_curves, write_cell

BOTH = ("tensorboard", "wandb")

#: Block size of the LevelDB log format, in which wandb writes its files after 7 bytes of its own.
BLOCK, HEADER, FULL, FIRST, MIDDLE, LAST = 32768, 7, 1, 2, 3, 4


def table(cell: Cell, seed: int) -> dict[str, dict[int, float]]:
    """``task/<column>`` and ``rollout/<column>`` -> step -> value, as a sink must show them."""
    found: dict[str, dict[int, float]] = {}
    for axis, step, rows in (
        ("task", "task", cell.trained.table(seed)),
        ("rollout", "steps", cell.rollouts(seed)),
    ):
        for name, column in (rows or {}).items():
            if name not in ("task", step):
                pairs = zip((rows or {})[step].tolist(), column.tolist(), strict=True)
                found[f"{axis}/{name}"] = {int(at): value for at, value in pairs if value == value}
    return {tag: values for tag, values in found.items() if values}


def events(folder: Path) -> Any:
    """TensorBoard's own reader, which keeps everything."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), {"scalars": 0, "tensors": 0}, purge_orphaned_data=False).Reload()


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> value; fails if a step occurs twice."""
    found, read = {}, events(folder)
    for tag in read.Tags()["scalars"]:
        entries = read.Scalars(tag)
        found[tag] = {entry.step: entry.value for entry in entries}
        assert len(found[tag]) == len(entries), f"{tag}: a step was logged twice"
    return found


def wandb_records(path: Path) -> Iterator[Any]:
    """The protocol buffers in a .wandb file."""
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2
    data, at, whole = path.read_bytes(), HEADER, b""
    assert data[:4] == b":W&B"
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if kind == 0:  # padding
            at += left
            continue
        whole += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (FULL, LAST):
            yield messages.Record.FromString(whole)
            whole = b""


def wandb_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> content of the file of an offline run; fails if a run has two files."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        records = list(wandb_records(path))
        (run,) = [record.run for record in records if record.HasField("run")]
        label = f"{run.run_group}/{run.display_name}"
        assert label not in found
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        history = [_items(record.history.item) for record in records if record.HasField("history")]
        summary: dict[str, Any] = {}
        for record in records:
            summary |= _items(record.summary.update)
        exits = [record.exit.exit_code for record in records if record.HasField("exit")]
        found[label] = {
            "id": run.run_id,
            "job": run.job_type,
            "config": config,
            "history": history,
            "summary": summary,
            "exits": exits,
        }
    return found


def wandb_values(history: list[dict[str, Any]]) -> dict[str, dict[int, float]]:
    """The same as ``table``; fails if a step occurs twice or out of order."""
    found: dict[str, dict[int, float]] = {}
    assert [line["_step"] for line in history] == list(range(len(history)))
    for line in history:
        for name, value in line.items():
            axis, _, column = name.partition("/")
            if column:
                at = line["task" if axis == "task" else "steps"]
                assert found.setdefault(name, {}).setdefault(at, value) is value
    return found


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


@contextmanager
def offline(folder: Path) -> Iterator[None]:
    """Sets wandb offline, without the user's account; wandb keeps its own files in ``folder``."""
    home = str(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name in ("HOME", "NETRC", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, f"{home}/netrc" if name == "NETRC" else home)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        try:
            yield
        finally:
            if "wandb" in sys.modules:
                sys.modules["wandb"].teardown()


def made_up(runs: Path, method: str = "none", seeds: Sequence[int] = (0, 1), tasks: int = 20) -> Cell:
    """Recorded seeds; a column is measured at every fifth task only."""
    ranks = [float(task) if task % 5 == 4 else float("nan") for task in range(tasks)]
    curves = learning_curves(0.7, 0.6, seeds, tasks, method=len(method))
    return write_cell(runs, method, curves, fresh=curves, columns={"effective_rank": ranks})


def console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=400), text


def single(found: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    """The value in single precision, as TensorBoard stores it."""
    return {tag: {at: float(np.float32(v)) for at, v in steps.items()} for tag, steps in found.items()}


def expect_shown(out: Path, cell: Cell, seeds: Sequence[int] = (0, 1), sinks: Sequence[str] = BOTH) -> None:
    """Checks that both sinks hold the tables of ``seeds`` and nothing else of this cell."""
    wanted = {f"seed-{seed:03d}": table(cell, seed) for seed in seeds}
    if "tensorboard" in sinks:
        folder = out / "tensorboard" / cell.label
        shown = {path.name: scalars(path) for path in folder.iterdir() if path.is_dir()}
        shown.pop("scores", None)
        assert shown == {name: single(tags) for name, tags in wanted.items()}
    if "wandb" in sinks:
        prefix = f"{cell.label}/{cell.method} seed-"
        runs = {name: run for name, run in wandb_runs(out).items() if name.startswith(prefix)}
        assert {f"seed-{name[-3:]}": wandb_values(run["history"]) for name, run in runs.items()} == wanted
        assert {run["exits"][0] for run in runs.values()} == {0}
        for name, run in runs.items():
            run["config"].pop("_wandb", None)  # its own entry
            assert run["config"] == {**cell.config.as_json(), "seed": int(name[-3:])}


def track(runs: Path, out: Path, *more: str) -> int:
    return main(["track", str(runs), "--to", *BOTH, "--out", str(out), *more])


def state(out: Path) -> dict[str, bytes]:
    found = (path for pattern in ("**/events.*", "**/run-*.wandb") for path in out.glob(pattern))
    return {str(path): path.read_bytes() for path in found}
