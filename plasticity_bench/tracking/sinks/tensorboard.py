"""TensorBoard: an event file per run, with torch's writer.

    <folder>/tensorboard/<stream>/<cell>/seed-000/events.out.tfevents.*
                                        /scores/events.out.tfevents.*
                                        /seed-000.json   the run is complete

TensorBoard stores single precision; the records stay exact.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.tracking.sinks.base import Point, Tracked, missing_package

if TYPE_CHECKING:
    from torch.utils.tensorboard import FileWriter


class TensorBoard:
    """Writes event files under ``folder``. Raises InputError if the package is missing."""

    title: ClassVar[str] = "TensorBoard"

    def __init__(self, folder: Path) -> None:
        try:
            import tensorboard  # noqa: F401
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            raise missing_package("tensorboard", error) from error
        self.home = folder / "tensorboard"

    @property
    def view(self) -> str:
        """The command that shows it."""
        return f"tensorboard --logdir {shlex.quote(str(self.home))}"

    def open(self, run: Tracked) -> EventLog:
        """Replaces the event files of the run."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from torch.utils.tensorboard import FileWriter
        from torch.utils.tensorboard.summary import text

        folder = self.home / run.label
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink()
        writer = FileWriter(str(folder))
        # A running TensorBoard then drops what it has read of the replaced file.
        writer.add_event(Event(session_log=SessionLog(status=SessionLog.START)), 0)
        writer.add_summary(text("config", f"```json\n{json.dumps(run.config, indent=1)}\n```"), 0)
        _add_hyperparameters(writer, run)
        return EventLog(writer)


class EventLog:
    """One event file."""

    def __init__(self, writer: FileWriter) -> None:
        self.writer = writer

    def write(self, points: Sequence[Point]) -> None:
        """A scalar per value: ``task/online_performance`` at the task, ``rollout/return`` at the steps."""
        for axis, step, values in points:
            self._add(axis, step, values)
        self.writer.flush()

    def score(self, values: Mapping[str, float], seeds: int) -> None:
        """``score/level``, with the number of seeds as its step."""
        self._add("score", seeds, values)

    def close(self, complete: bool) -> None:
        """Writes what is still buffered."""
        self.writer.close()

    def _add(self, group: str, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        # One event for all values: SummaryWriter.add_scalar would write one for each.
        scalars = [Summary.Value(tag=f"{group}/{name}", simple_value=value) for name, value in values.items()]
        self.writer.add_summary(Summary(value=scalars), step)


def _add_hyperparameters(writer: FileWriter, run: Tracked) -> None:
    """Adds them to this run for the HPARAMS tab; ``SummaryWriter.add_hparams`` would create another run."""
    from torch.utils.tensorboard.summary import hparams

    values = {
        key: value if isinstance(value, (int, float, str)) else json.dumps(value)
        for key, value in run.hyperparameters.items()
    }
    scored = run.cell.config.stream.score
    metrics = [f"task/{scored}", *(f"score/{name}" for name in METRICS)]
    for summary in hparams(values, dict.fromkeys(metrics, 0.0)):
        writer.add_summary(summary)
