"""The interface of a sink, and what it receives: points of runs, read from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import Cell
from plasticity_bench.storage.files import sha256

#: Axis -> the column that counts its steps: tasks, or steps in the environments up to the end of a rollout.
AXES: Mapping[str, str] = {"task": "task", "rollout": "steps"}


class Point(NamedTuple):
    """What was measured at one step: a task's row, or a rollout of an agent."""

    axis: str  # of AXES
    step: int
    values: Mapping[str, float]  # column -> value, without columns that were not measured (nan)


@dataclass(frozen=True)
class Tracked:
    """What a sink shows as one run: a seed of a cell, or the cell's scores if ``seed`` is None."""

    cell: Cell
    seed: int | None = None

    @property
    def name(self) -> str:
        """``seed-000`` or ``scores``."""
        return "scores" if self.seed is None else self.cell.trained.path(self.seed).stem

    @property
    def label(self) -> str:
        """``permuted-digits-v1/syre-1a2b3c4d/seed-000``"""
        return f"{self.cell.label}/{self.name}"

    @property
    def key(self) -> str:
        """An identifier that depends only on the cell and the seed."""
        return sha256(self.label.encode())[:16]

    @property
    def config(self) -> dict[str, Any]:
        """The cell's configuration, with the seed."""
        seed = {} if self.seed is None else {"seed": self.seed}
        return {**self.cell.config.as_json(), **seed}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Plain values for comparing runs: stream, method, settings of method and optimizer, seed."""
        found: dict[str, Any] = {"stream": self.cell.stream, "method": self.cell.method}
        config = self.cell.config
        for part, settings in (
            ("optimizer", config.optimizer.recorded()),
            ("method", config.method.settings),
        ):
            found |= {f"{part}/{key}": value for key, value in settings.items() if value is not None}
        return found if self.seed is None else {**found, "seed": self.seed}


class Log(Protocol):
    """An open run in a sink."""

    def write(self, points: Sequence[Point]) -> None:
        """Shows the next points. Over all calls, it receives every point of the run once, in order."""

    def score(self, values: Mapping[str, float], seeds: int) -> None:
        """Shows the cell's scores, computed over this number of seeds."""

    def close(self, complete: bool) -> None:
        """Ends the run; not ``complete``: because tracking was interrupted."""


class Sink(Protocol):
    """A tool that shows runs. An exception that it raises ends the tracking, never the training."""

    title: ClassVar[str]
    #: The folder with a file ``<stream>/<cell>/<name>.json`` for every complete run.
    home: Path

    @property
    def view(self) -> str:
        """One line: how to see the runs."""

    def open(self, run: Tracked) -> Log:
        """Begins ``run``. What an interrupted process left of it is replaced."""


def missing_package(package: str, error: ImportError) -> InputError:
    """The error to raise if the tool's package cannot be imported."""
    return InputError(
        f"tracking with {package} needs a package that cannot be imported ({error}): "
        f"python -m pip install {package}"
    )
