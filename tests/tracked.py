"""Reads back what sinks wrote, with other code than wrote it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plasticity_bench.records import Cell

#: Of the LevelDB log format, in which wandb writes its files after 7 bytes of its own.
BLOCK, HEADER, FULL, FIRST, MIDDLE, LAST = 32768, 7, 1, 2, 3, 4


def table(cell: Cell, seed: int) -> dict[str, dict[int, float]]:
    """``task/<column>`` and ``rollout/<column>`` -> step -> value, as a sink should show it."""
    found: dict[str, dict[int, float]] = {}
    for axis, step, rows in (("task", "task", cell.table(seed)), ("rollout", "steps", cell.rollouts(seed))):
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
    """Tag -> step -> value; fails where a step is there twice."""
    found, read = {}, events(folder)
    for tag in read.Tags()["scalars"]:
        entries = read.Scalars(tag)
        found[tag] = {entry.step: entry.value for entry in entries}
        assert len(found[tag]) == len(entries), f"{tag}: a step was logged twice"
    return found


def wandb_records(path: Path) -> Iterator[Any]:
    """The protocol buffers in a .wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

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
            yield Record.FromString(whole)
            whole = b""


def wandb_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> what the file of an offline run holds; fails where a run has two files."""
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
    """The same as ``table``; fails where a step is there twice, or out of order."""
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
