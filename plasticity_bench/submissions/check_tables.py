"""Checks a submitted table: does it hold values that training can give?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np

from plasticity_bench.records.documents import CellConfig
from plasticity_bench.records.tables import Table
from plasticity_bench.specs import WIDENING, NetworkSpec, is_measured, is_probed, layer_shapes

#: Unit of the scored column -> lowest and highest possible performance.
PERFORMANCE: Mapping[str, tuple[float, float]] = {
    "accuracy": (0.0, 1.0),
    "R2": (-1.0, 1.0),
    "return": (-np.inf, np.inf),
}
#: Measured at every task, whatever happens to the network.
ALWAYS = ("task", "episodes")
#: Columns that are filled either for all tasks or for none.
ALL_OR_NONE = ("final_performance", "action_std")
#: Measured at the tasks where the probe runs.
PROBED = ("probe_retention", "critic_probe_retention")
#: Relative amount by which a value may exceed its bound: sums and ranks are rounded.
BOUND_TOLERANCE = 1e-6


def check_table(config: CellConfig, table: Table) -> Iterator[str]:
    """Every reason why ``table`` cannot come from this configuration.

    ``table`` has the columns that are in the file; it may lack the younger ones. The configuration's
    stream and network were checked before.
    """
    stream, tasks = config.stream, len(table["task"])
    if not np.array_equal(table["task"], np.arange(tasks)):
        yield "tasks are not 0, 1, 2, ... in this order"
    if tasks != stream.tasks:
        yield f"has {tasks} tasks; the stream has {stream.tasks}"
        return
    yield from _check_gaps(config, table)
    for name, (low, high) in _bounds(config).items():
        if name not in table:
            continue
        values = table[name]
        slack = BOUND_TOLERANCE * max(1.0, abs(high)) if np.isfinite(high) else 0.0
        wrong = (values < low) | (values > high + slack)
        if name not in ("online_loss", "weight_norm", "gradient_norm", "update_norm"):
            wrong |= np.isinf(values)  # only losses and norms become infinite when a network diverges
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            limits = f"in [{low:g}, {high:g}]" if np.isfinite(high) else f"a number from {low:g} on"
            limits = limits if np.isfinite(low) else "finite"
            yield f"{name} is {values[at]:g} at task {at}; it is {limits}"
    if "episodes" in table:
        lived = table["episodes"] * np.nan_to_num(table["episode_length"])
        if (long := np.flatnonzero(lived > stream.steps * (1 + BOUND_TOLERANCE))).size:
            yield f"episodes at task {long[0]} take more steps than the task's {stream.steps}"


def _check_gaps(config: CellConfig, table: Table) -> Iterator[str]:
    """Fields that are empty although a run fills them, or filled although a run leaves them empty."""
    stream, tasks = config.stream, len(table["task"])
    # Nothing can be measured on a network that has diverged. A submitter gains nothing by claiming that.
    diverged = not all(np.isfinite(table[name]).all() for name in ("online_loss", "online_performance"))
    if stream.unit == "accuracy" and np.isnan(table["online_performance"]).any():
        yield "online_performance is empty; an accuracy is always measured"
    if stream.unit != "return" and np.isnan(table["online_loss"]).all():
        yield "online_loss is empty throughout"
    for name, values in table.items():
        empty = np.isnan(values)
        if name in ALWAYS:
            if empty.any():
                yield f"{name} is empty at task {np.flatnonzero(empty)[0]}"
        elif name in ALL_OR_NONE:
            if empty.any() and not empty.all() and not diverged:
                yield f"{name} is empty at task {np.flatnonzero(empty)[0]} but not everywhere"
        elif name not in ("online_performance", "online_loss", "episode_length"):
            measured = _measured(tasks, name in PROBED)
            if not config.acts and (early := np.flatnonzero(~empty & ~measured)).size:
                yield f"{name} is there for task {early[0]}, at whose end nothing is measured"
            # The probe measures nothing if the fresh network learns nothing.
            optional = diverged or name in PROBED
            if not optional and (lacking := np.flatnonzero(empty & measured)).size:
                yield f"{name} is empty at task {lacking[0]}, at whose end it is measured"


@lru_cache(maxsize=16)
def _measured(tasks: int, probed: bool) -> np.ndarray:
    """For each of ``tasks`` tasks: whether diagnostics are measured at its end, or whether the probe runs."""
    rule = is_probed if probed else is_measured
    return np.array([rule(task, tasks) for task in range(tasks)])


def _bounds(config: CellConfig) -> dict[str, tuple[float, float]]:
    """Column -> lowest and highest possible value."""
    performance = PERFORMANCE.get(config.stream.unit, (-np.inf, np.inf))
    width = float(_width(config.network))
    bounds = dict.fromkeys(("online_performance", "final_performance"), performance)
    for name in (
        "online_loss",
        "weight_norm",
        "gradient_norm",
        "update_norm",
        "action_std",
        "episode_length",
    ):
        bounds[name] = (0.0, np.inf)
    bounds["episodes"] = (0.0, float(config.stream.steps))
    for who in ("", "critic_"):
        for name in ("dormant_fraction", "dormant_fraction_tau0", "dead_fraction", "cloned_fraction"):
            bounds[f"{who}{name}"] = (0.0, 1.0)
        bounds[f"{who}probe_retention"] = (-np.inf, np.inf)
        for name in ("effective_rank", "srank", "stable_rank", "covariance_rank"):
            bounds[f"{who}{name}"] = (0.0, width)
    # Differential entropy has no bounds; that of n discrete actions is at most log n.
    discrete = not config.network.log_std
    bounds["policy_entropy"] = (0.0, np.log(config.network.outputs)) if discrete else (-np.inf, np.inf)
    return bounds


def _width(spec: NetworkSpec) -> int:
    """Features of the widest hidden layer per example (or position): no rank can be higher."""
    wider = WIDENING.get(spec.activation, 1)
    return max((wider * shape.weight[0] for shape in layer_shapes(spec) if shape.hidden), default=0)
