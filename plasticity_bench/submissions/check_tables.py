"""Checks a submitted table: does it hold values that training can give?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from plasticity_bench.records.documents import CellConfig
from plasticity_bench.records.tables import Table
from plasticity_bench.specs import WIDENING, NetworkSpec, is_measured, is_probed, layer_shapes, twin_tasks

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
#: Unit of streams whose tasks are weighted by the variance of their targets: fresh twins record it there.
REGRESSION = "R2"
#: Columns that become infinite if a network diverges.
UNLIMITED = ("online_loss", "weight_norm", "gradient_norm", "update_norm")
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
    yield from _check_bounds(config, table, range(tasks))
    if "episodes" in table:
        lived = table["episodes"] * np.nan_to_num(table["episode_length"])
        if (long := np.flatnonzero(lived > stream.steps * (1 + BOUND_TOLERANCE))).size:
            yield f"episodes at task {long[0]} take more steps than the task's {stream.steps}"


def check_fresh_table(config: CellConfig, table: Table, trained: Table) -> Iterator[str]:
    """Every reason why ``table`` cannot be that of the fresh twins of the seed with the table ``trained``.

    ``trained`` was checked before, as were the configuration's stream and network.
    """
    tasks = twin_tasks(config.stream.tasks)
    if not np.array_equal(table["task"], tasks):
        yield f"tasks are not the {len(tasks)} of fresh twins: every tenth task, and the late ones"
        return
    yield from _check_learning(config, table)
    yield from _check_bounds(config, table, tasks)
    yield from _check_final(table, trained, tasks)
    yield from _check_regression(config.stream.unit, table, tasks)


def _check_final(table: Table, trained: Table, tasks: Sequence[int]) -> Iterator[str]:
    """Gaps in the final performance of fresh twins: a stream measures it at every task or at none."""
    name = "final_performance"
    known, diverged = ~np.isnan(table[name]), _diverged(table)
    measured = not np.isnan(trained[name]).all()
    if known.any() and not known.all() and not diverged:
        yield f"{name} is empty at task {_first(tasks, ~known)} but not everywhere"
    if known.any() and not measured and not _diverged(trained):
        yield f"{name} is there for task {_first(tasks, known)}, but not in the seed's own table"
    if measured and not known.any() and not diverged:
        yield f"{name} is empty, but not in the seed's own table"


def _check_regression(unit: str, table: Table, tasks: Sequence[int]) -> Iterator[str]:
    """Gaps that the tables of fresh twins have on a regression stream only, or on other streams only."""
    known = ~np.isnan(table["target_variance"])
    if unit != REGRESSION:
        if known.any():
            yield f"target_variance is there for task {_first(tasks, known)}; a stream of {unit} has none"
        return
    if not known.all():
        yield f"target_variance is empty at task {_first(tasks, ~known)}; it is known for every task"
    lacking = np.isnan(table["online_performance"]) & ~np.isnan(table["online_loss"])
    if lacking.any():
        yield f"online_performance is empty at task {_first(tasks, lacking)}, whose loss is there"


def _first(tasks: Sequence[int], where: np.ndarray) -> int:
    """The task of the first row of which ``where``, (rows,), is True."""
    return tasks[int(np.flatnonzero(where)[0])]


def _check_bounds(config: CellConfig, table: Table, tasks: Sequence[int]) -> Iterator[str]:
    """Values that are out of their range. ``tasks``: the task of each row."""
    for name, (low, high) in _bounds(config).items():
        if name not in table:
            continue
        values = table[name]
        slack = BOUND_TOLERANCE * max(1.0, abs(high)) if np.isfinite(high) else 0.0
        wrong = (values < low) | (values > high + slack)
        if name not in UNLIMITED:
            wrong |= np.isinf(values)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            limits = f"in [{low:g}, {high:g}]" if np.isfinite(high) else f"a number from {low:g} on"
            limits = limits if np.isfinite(low) else "finite"
            yield f"{name} is {values[at]:g} at task {tasks[at]}; it is {limits}"


def _diverged(table: Table) -> bool:
    """Whether a network has diverged: then nothing can be measured on it."""
    return not all(np.isfinite(table[name]).all() for name in ("online_loss", "online_performance"))


def _check_learning(config: CellConfig, table: Table) -> Iterator[str]:
    """Performance and loss that are empty although a run fills them."""
    unit = config.stream.unit
    if unit == "accuracy" and np.isnan(table["online_performance"]).any():
        yield "online_performance is empty; an accuracy is always measured"
    if unit != "return" and np.isnan(table["online_loss"]).all():
        yield "online_loss is empty throughout"


def _check_gaps(config: CellConfig, table: Table) -> Iterator[str]:
    """Fields that are empty although a run fills them, or filled although a run leaves them empty."""
    diverged, tasks = _diverged(table), len(table["task"])  # claiming the former gains nothing
    yield from _check_learning(config, table)
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
        "target_variance",
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
