"""Complete documents of made-up records, in which a test sets the fields that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plasticity_bench.records.documents import (
    PROTOCOL,
    CellConfig,
    Hardware,
    MethodRecord,
    Origin,
    StreamRecord,
    SweepTable,
    Versions,
)
from plasticity_bench.specs import NetworkSpec, OptimizerSpec
from plasticity_bench.storage.documents import convert

_STREAM: dict[str, Any] = {
    "name": "permuted-digits",
    "version": 1,
    "summary": "a made-up stream",
    "source": "none: synthetic records",
    "settings": {},
    "tasks": 3,
    "steps": 5,
    "batch": 16,
    "chance": 0.1,
    "score": "online_performance",
    "warmup_tasks": 0,
    "unit": "accuracy",
}
_METHOD: dict[str, Any] = {
    "name": "none",
    "version": 1,
    "summary": "a made-up method",
    "paper": "A. Author, A paper, arXiv:0000.00000",
    "task_boundaries": False,
    "settings": {"lr": None},
    "source": "builtin",
    "digest": "",
}


def made_config(
    stream: Mapping[str, Any] | None = None, method: Mapping[str, Any] | None = None
) -> CellConfig:
    """A cell's configuration; labels are names if not given."""
    of_stream, of_method = {**_STREAM, **(stream or {})}, {**_METHOD, **(method or {})}
    return CellConfig(
        PROTOCOL,
        convert({"label": of_stream["name"], **of_stream}, StreamRecord),
        convert({"label": of_method["name"], **of_method}, MethodRecord),
        NetworkSpec((64,), 10, (100, 100)),
        OptimizerSpec(),
    )


def made_origin(seconds: float = 1.5, stack: int = 2, device: str = "cpu") -> Origin:
    """The document seed-NNN.json of a made-up seed."""
    return Origin(
        protocol=PROTOCOL,
        device=device,
        stack=stack,
        threads=1,
        seconds=seconds,
        finished="2026-01-02T03:04:05Z",
        git=None,
        versions=Versions("3.12.1", "2.9.0", "2.3.0", "0.1.0"),
        hardware=Hardware("x86_64", "AVX2", None),
    )


def made_sweep(table: Mapping[str, Any]) -> SweepTable:
    """A sweep's table from its JSON."""
    return convert(table, SweepTable)
