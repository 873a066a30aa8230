"""``pb.run``: trains methods on streams, as the command ``run`` does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity_bench.api.results import Results
from plasticity_bench.errors import InputError
from plasticity_bench.records.configuration import CellPlan
from plasticity_bench.registry.catalog import suite_streams
from plasticity_bench.registry.choices import AnyMethod, Chosen, choose_method, choose_stream
from plasticity_bench.registry.precision import check_devices, precision_of, with_precision
from plasticity_bench.registry.settings import setting_texts
from plasticity_bench.running import launch
from plasticity_bench.running.plan import open_cells
from plasticity_bench.scoring.references import REFERENCES
from plasticity_bench.tuning.sweep import tuned_plan

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method
    from plasticity_bench.tasks.base import Stream

#: Most seeds of one call, as a guard against a mistyped number.
MOST_SEEDS = 10_000


def run(
    method: AnyMethod | Iterable[AnyMethod],
    stream: str | Iterable[str] | None = None,
    *,
    settings: Mapping[str, bool | int | float | str] | None = None,
    suite: str | None = None,
    seeds: int | Iterable[int] | None = None,
    runs: str | os.PathLike[str] = "runs",
    references: bool = True,
    twins: bool = True,
    tuned: str | os.PathLike[str] | None = None,
    precision: str = "float32",
    device: str = "auto",
    jobs: int | None = None,
    progress: bool = True,
) -> Results:
    """Trains a method on streams, and the references it is compared with, and records every task.

    Only what is missing in ``runs`` is trained: more seeds extend a cell, and an interrupted run continues
    from its checkpoint. Worker processes train; they do not execute the calling script again.

    Args:
        method: A name with settings as on the command line (``"syre:strength=1e-3"``), a class derived from
            ``pb.Method``, an object of one, a path of a file, or a list of these. A class may be defined in a
            notebook cell.
        stream: A name with settings (``"permuted-digits:tasks=20"``), or a list. None: the streams of
            ``suite``.
        settings: Settings of the methods, such as ``{"strength": 1e-3}``.
        suite: A named set of streams. None: "quick", if no ``stream`` is given.
        seeds: How many (0, 1, ...), or which. None: the stream's own number.
        runs: The folder of the records.
        references: Whether to train ``none`` and ``reset`` too. Scores need them.
        twins: Whether to train fresh twins too: new learners on some tasks, which the level and the
            retention compare with.
        tuned: A folder that ``sweep --out`` wrote: the methods get the settings chosen there.
        precision: Number format of matrix products: "float32", "tf32" or "bf16".
        device: "auto" (every GPU, else the CPU), "cpu", "cuda" or "cuda:0".
        jobs: Processes at a time. None: the number of cores, or of GPUs.
        progress: Whether to show the progress.

    Returns:
        The results of these methods and of the references, on these streams.

    Raises:
        InputError: An argument is wrong, or ``runs`` holds other records in the same place. One line per
            fault.
        RunFailed: The code of a method or stream failed, or a worker process died repeatedly.

    Example:
        >>> results = run("l2", "permuted-digits:tasks=3", seeds=2, runs=folder, jobs=1, progress=False)
        >>> results.methods
        ['l2', 'none', 'reset']
    """
    from plasticity_bench.consoles import plain_console

    if settings and tuned is not None:
        raise InputError("settings and tuned both choose the settings: leave one out")
    texts = _setting_texts(settings or {})
    methods = [choose_method(each, texts) for each in _listed("method", method)]
    workers, devices = launch.processes_and_devices(jobs, device)
    if stream is not None and suite is not None:
        raise InputError("stream and suite both choose the streams: leave one out")
    names = suite_streams(suite or "quick") if stream is None else _listed("stream", stream)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise InputError(f"{wrong[0]!r} is not a stream: give its name, such as permuted-digits:tasks=20")
    streams = choose_streams(names, precision, devices)
    plans = plan_cells(streams, methods, references, Path(tuned) if tuned is not None else None)
    planned = open_cells(Path(runs), plans, _seeds(seeds), twins)
    console = plain_console(stderr=True, quiet=not progress)
    launch.train_missing(planned, workers, devices, console)
    return Results({item.cell.path: item.cell for item in planned}.values())


def choose_streams(names: Sequence[str], precision: str, devices: Sequence[str]) -> list[Chosen[Stream]]:
    """The streams of these names in this precision.

    Raises InputError for an unknown stream, and if one of the devices does not support the precision.
    """
    streams = [choose_stream(text) for text in with_precision(names, precision)]
    for stream in streams:
        check_devices(precision_of(stream.settings), devices)
    return streams


def plan_cells(
    streams: Sequence[Chosen[Stream]],
    methods: Sequence[Chosen[Method]],
    references: bool,
    tuned: Path | None = None,
) -> list[CellPlan]:
    """The cells of all methods on all streams; the references come first, so that an unfinished run can be
    scored.

    ``tuned``: the folder of the sweeps that choose the methods' settings. Raises InputError if it lacks one.
    """
    plans = [CellPlan(stream, choose_method(name)) for stream in streams for name in REFERENCES if references]
    for stream in streams:
        for method in methods:
            plans.append(tuned_plan(tuned, stream, method) if tuned else CellPlan(stream, method))
    return plans


def _listed(argument: str, given: Any) -> list[Any]:
    """One or several, as a list. Raises InputError if there is none."""
    several = isinstance(given, Iterable) and not isinstance(given, (str, type, os.PathLike))
    listed = list(given) if several else [given]
    if not listed:
        raise InputError(f"{argument}={given!r}: give at least one")
    return listed


def _setting_texts(settings: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(settings, Mapping):
        raise InputError(f'settings={settings!r}: give a dict, such as {{"strength": 1e-3}}')
    for name, value in settings.items():
        if value is None:
            raise InputError(f'settings: "{name}" is None; leave it out for the default')
    return setting_texts({str(name): value for name, value in settings.items()})


def _seeds(seeds: int | Iterable[int] | None) -> list[int] | None:
    if seeds is None:
        return None
    # numpy's whole numbers are Integral too.
    given: list[Any] = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    whole = all(isinstance(seed, Integral) and not isinstance(seed, bool) for seed in given)
    found = sorted(map(int, given)) if whole and min(given, default=0) >= 0 else []
    count = len(found) if isinstance(seeds, Iterable) else sum(found)
    if count > MOST_SEEDS:
        raise InputError(f"seeds={seeds!r}: at most {MOST_SEEDS} at a time")
    if not isinstance(seeds, Iterable):
        found = list(range(count))
    if not found or len(set(found)) < len(found):
        raise InputError(f"seeds={seeds!r}: give how many (16), or which ([0, 1, 2, 8])")
    return found
