"""Plans of sweeps from names, for short tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from plasticity_bench.records.configuration import CellPlan, plan_cell
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.tuning.sweep import SweepPlan, plan_sweep


def named_sweep(stream: str, method: str, budget: int, design: int = 0) -> SweepPlan:
    """``plan_sweep`` of the stream and the method with these names."""
    return plan_sweep(choose_stream(stream), choose_method(method), budget, design)


def swept_cell(stream: str, method: str, settings: Mapping[str, str]) -> CellPlan:
    """A cell that may be stacked with other cells of the method on the stream."""
    return replace(plan_cell(stream, method, settings), sweep=method)
