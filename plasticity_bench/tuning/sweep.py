"""Tuning: all methods get the same number of configurations, tried on seeds that no reported score uses.

    sweeps/<stream>-v<n>/<method>-<hash8>/   a cell per configuration, as ``run`` writes it, with tuning seeds
                        /<method>.sweep.json  all configurations with their scores, and the chosen one

The sweep chooses the configuration with the highest mean performance in the last window, over the tuning
seeds: the last tenth of the tasks, on which the leaderboard's level is computed, too. A configuration with a
nan is never chosen.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plasticity_bench.errors import InputError
from plasticity_bench.records.configuration import CellPlan, method_folder, stream_folder
from plasticity_bench.records.documents import TUNING_SCHEMA, SweepTable, TriedConfiguration
from plasticity_bench.registry.choices import Chosen
from plasticity_bench.running.plan import Planned
from plasticity_bench.scoring.metrics import measure
from plasticity_bench.storage.documents import convert, shown
from plasticity_bench.storage.files import write_bytes
from plasticity_bench.storage.untrusted import Refused, parse_object
from plasticity_bench.tuning.search import configurations, search_space

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method
    from plasticity_bench.tasks.base import Stream

#: The first tuning seed: far from the seeds that are reported, 0, 1, 2, ...
FIRST_SEED = 10_000
OBJECTIVE = "mean over the tuning seeds of the mean performance in the last window"


@dataclass(frozen=True)
class SweepPlan:
    """A sweep of one method on one stream: a cell per configuration."""

    stream: Chosen[Stream]
    method: Chosen[Method]  # with the settings that the sweep does not change
    space: Mapping[str, tuple[Any, ...]]
    configurations: tuple[Mapping[str, str], ...]

    def cells(self) -> list[CellPlan]:
        """The cells to train."""
        name = self.method.label
        return [
            CellPlan(self.stream, self.method.with_settings(settings), sweep=name)
            for settings in self.configurations
        ]


def plan_sweep(stream: Chosen[Stream], method: Chosen[Method], budget: int, design: int = 0) -> SweepPlan:
    """The sweep of ``method`` on ``stream``. For the arguments and the errors see ``search.configurations``.

    ``design``: the seed of the configurations.
    """
    space = search_space(method, stream.make().optimizer.lr)
    return SweepPlan(stream, method, space, tuple(configurations(method, space, budget, design)))


def tuning_seeds(count: int) -> list[int]:
    """``count`` seeds from FIRST_SEED on. Raises InputError if ``count`` is less than 1."""
    if count < 1:
        raise InputError(f"{count} tuning seeds: at least one is needed")
    return list(range(FIRST_SEED, FIRST_SEED + count))


def sweep_table(plan: SweepPlan, planned: Sequence[Planned], seeds: Sequence[int], design: int) -> SweepTable:
    """The sweep's table.

    Args:
        plan: The sweep.
        planned: Its cells in the order of the configurations; all are trained.
        seeds: The tuning seeds.
        design: The seed of the configurations.

    Raises:
        InputError: Records are damaged, or every configuration ends in nan.
    """
    rows = []
    for settings, item in zip(plan.configurations, planned, strict=True):
        measured = measure(item.cell)
        last_window = dict(zip(measured.seeds, measured.last_window().tolist(), strict=True))
        seconds = dict(zip(measured.seeds, measured.seconds.tolist(), strict=True))
        values = [np.nan if seed in measured.not_finite else last_window[seed] for seed in seeds]
        rows.append(
            TriedConfiguration(
                settings=dict(settings),
                label=item.cell.configuration,
                cell=item.cell.path.name,
                score=_or_none(float(np.mean(values))),
                per_seed=[_or_none(value) for value in values],
                seconds=round(sum(seconds[seed] for seed in seeds), 3),
            )
        )
    chosen = best([row.score for row in rows])
    if chosen is None:
        label = f"{plan.method.label} on {plan.stream.label}"
        raise InputError(f"{label}: every configuration ends in nan, none can be chosen")
    return SweepTable(
        schema=TUNING_SCHEMA,
        stream=planned[0].cell.stream,
        method=planned[0].cell.configuration,
        objective=OBJECTIVE,
        budget=len(rows),
        design=design,
        seeds=list(seeds),
        space={name: list(values) for name, values in plan.space.items()},
        chosen=chosen,
        configurations=rows,
    )


def best(scores: Sequence[float | None]) -> int | None:
    """Index of the highest score, the first one if there are several; None if all scores are None."""
    known = [-np.inf if score is None else score for score in scores]
    return None if max(known) == -np.inf else int(np.argmax(known))


def write_sweep(out: Path, found: SweepTable) -> Path:
    """Writes a sweep's table and returns its file.

    It replaces an earlier table only if that is a part of this one: the same sweep, with fewer seeds or
    configurations. Raises InputError if there is another table.
    """
    path = table_path(out, found.stream, found.method)
    if path.exists():
        before = read_sweep(path)
        same_sweep = all(
            getattr(before, name) == getattr(found, name)
            for name in ("stream", "method", "design", "space", "objective")
        )
        tried = [(row.settings, row.cell) for row in found.configurations]
        tried_before = [(row.settings, row.cell) for row in before.configurations]
        is_part = set(before.seeds) <= set(found.seeds) and all(row in tried for row in tried_before)
        if not (same_sweep and is_part):
            raise InputError(
                f"{path} is another sweep, not overwritten; move it away or choose another --out"
            )
    write_bytes(path, found.to_bytes())
    return path


def table_path(out: Path, stream: str, method: str) -> Path:
    """The file of a sweep's table, which may not exist yet.

    ``stream``: name of the stream's folder. ``method``: the method's label.
    """
    return out / stream / f"{method.replace(':', '_').replace('/', '_').replace(',', '_')}.sweep.json"


def read_sweep(path: Path) -> SweepTable:
    """A sweep's table. Raises InputError if the file is missing, damaged or of another schema."""
    try:
        document = parse_object(path.read_bytes())
        if "schema" in document and document["schema"] != TUNING_SCHEMA:
            raise InputError(
                f"{path} has schema {shown(document['schema'])}, this version reads {TUNING_SCHEMA}; "
                "move it away and sweep again"
            )
        found = convert(document, SweepTable)
        if found.chosen >= len(found.configurations):
            raise Refused("it chose a configuration that it lacks")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except Refused as error:
        raise InputError(f"{path} is damaged ({error}); move it away and sweep again") from None
    return found


def find_sweep(out: Path, stream: Chosen[Stream], method: Chosen[Method]) -> SweepTable:
    """The table of the sweep of ``method`` on ``stream``. Raises InputError if there is none."""
    path = table_path(out, stream_folder(stream), method.label)
    if not path.exists():
        words = ["--method", method.label, "--stream", stream.label, "--out", str(out)]
        raise InputError(
            f"no sweep of {method.label} on {stream.label} in {out}; make one with `python -m "
            f"plasticity_bench sweep {shlex.join(words)}`"
        )
    return read_sweep(path)


def tuned_plan(out: Path, stream: Chosen[Stream], method: Chosen[Method]) -> CellPlan:
    """The cell to train with the configuration that the sweep in ``out`` chose.

    Raises InputError if there is no sweep, or one of another version of the method.
    """
    found = find_sweep(out, stream, method)
    tuned = method.with_settings(found.choice.settings)
    if found.choice.cell != method_folder(tuned):
        raise InputError(
            f"the sweep of {method.label} on {stream.label} in {out} is of another version of the method; "
            "move it away and sweep again"
        )
    return CellPlan(stream, tuned, found)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
