"""Extends a submission: which seeds are to be trained for it, and which of its tables they need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plasticity_bench.errors import InputError
from plasticity_bench.records.documents import SweepTable
from plasticity_bench.records.seed_tables import SeedTables
from plasticity_bench.running.plan import Planned
from plasticity_bench.storage.files import write_bytes
from plasticity_bench.storage.locks import locked
from plasticity_bench.submissions.model import Submission


def missing(
    found: Submission | None,
    stream: str,
    seeds: Sequence[int],
    tuning: SweepTable | None = None,
    twins: bool = True,
) -> tuple[int, ...]:
    """The seeds to train: those of ``seeds`` that are not submitted yet, and all that lack fresh twins.

    A submitted seed that lacks them is among these even if it is not in ``seeds``: on one stream, all seeds
    of a submission have fresh twins, or none has.

    Args:
        found: the existing submission.
        stream: name of the stream's folder.
        seeds: the wanted seeds.
        tuning: the sweep that chose the settings.
        twins: whether seeds should have fresh twins.

    Raises:
        InputError: if the choice of another sweep is submitted on this stream.
    """
    if not found or stream not in found.streams:
        return tuple(seeds)
    evidence = found.streams[stream]
    if tuning and tuning != evidence.cell.tuning:
        raise InputError(
            f"{found.folder} holds the choice of another sweep on {stream}, which is not replaced: "
            "submit with the table of that sweep, or move the folder away"
        )
    complete = evidence.fresh_origins if twins else evidence.origins
    return tuple(seed for seed in sorted({*seeds, *evidence.seeds}) if seed not in complete)


def restore_tables(found: Submission | None, planned: Sequence[Planned]) -> None:
    """Copies the submitted tables of planned seeds into the cells that lack them.

    Then a submitted seed is not trained again if only its fresh twins are missing.

    Raises:
        InputError: if another process is training one of the cells, or if a cell holds another table of a
            submitted seed.
    """
    streams = found.streams if found else {}
    with locked([item.cell.path for item in planned]):
        for item in planned:
            if not (evidence := streams.get(item.cell.stream)):
                continue
            submitted, cell = evidence.cell, item.cell
            _restore(
                submitted.trained, cell.trained, [seed for seed in item.seeds if seed in evidence.origins]
            )
            twins = [seed for seed in item.seeds if seed in evidence.fresh_origins]
            _restore(submitted.fresh, cell.fresh, twins)


def _restore(submitted: SeedTables, own: SeedTables, seeds: Sequence[int]) -> None:
    for seed in seeds:
        table, copy = submitted.path(seed), own.path(seed)
        if copy.exists():
            check_same_table(copy, table)
        else:
            write_bytes(copy, table.read_bytes())
        record = copy.with_suffix(".json")
        if not record.exists():
            write_bytes(record, table.with_suffix(".json").read_bytes())


def check_same_table(table: Path, submitted: Path) -> None:
    """Raises InputError if a table is not equal to the submitted one of the same seed."""
    if table.read_bytes() != submitted.read_bytes():
        raise InputError(
            f"{table} differs from the submitted table of that seed, which is not replaced; "
            "choose another --runs folder"
        )
