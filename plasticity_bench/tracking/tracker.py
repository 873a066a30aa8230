"""Shows runs in sinks such as TensorBoard, while they train or afterwards.

Training does not depend on it: all that is shown is read from the records and checkpoints on disk. If a sink
fails, tracking with it ends with a warning; the `track` command can show the rest later.
"""

from __future__ import annotations

import importlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.cells import Cell, find_cells
from plasticity_bench.scoring.references import is_reference
from plasticity_bench.storage.files import sha256, write_json
from plasticity_bench.tracking.points import Checkpoints, recorded_points
from plasticity_bench.tracking.sinks import SINKS

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from rich.console import Console

    from plasticity_bench.tracking.sinks.base import Log, Point, Sink, Tracked

#: Least seconds between two updates.
UPDATE_SECONDS = 2.0
#: The pause after an update, as a multiple of its processor time: updates take at most a twentieth of a core.
PAUSE_FACTOR = 20.0
#: Seconds that a run waits for its sinks if it failed, and if it was interrupted: it then ends within 5.
FAILED_WAIT, INTERRUPTED_WAIT = 5.0, 0.5


def open_sinks(names: Sequence[str], folder: Path) -> list[Sink]:
    """The sinks with these names (``SINKS``), which write under ``folder``.

    Raises InputError if a package or an account is missing.
    """
    sinks: list[Sink] = []
    for name in dict.fromkeys(names):
        module, _, kind = SINKS[name].partition(":")
        sinks.append(getattr(importlib.import_module(module), kind)(folder))
    return sinks


def unique(cells: Sequence[Cell]) -> Sequence[Cell]:
    """The same cells. Raises InputError if two of them have the same label, by which sinks identify cells."""
    found: dict[str, Cell] = {}
    for cell in cells:
        if found.setdefault(cell.label, cell) is not cell:
            raise InputError(f"{found[cell.label].path} and {cell.path} are the same cell: track them apart")
    return cells


@contextmanager
def tracked(sinks: Sequence[Sink], cells: Sequence[Cell], console: Console) -> Iterator[None]:
    """A context that shows ``cells`` in the sinks while they are trained, and their scores at the end.

    Raises InputError if a sink's folder cannot be made, before anything is trained.
    """
    if not sinks:
        yield
        return
    tracker, stop = Tracker(sinks, console), threading.Event()

    def follow() -> None:
        wait = UPDATE_SECONDS
        while not stop.wait(wait):
            wait = tracker.update(cells)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        stop.set()
        thread.join(INTERRUPTED_WAIT if isinstance(error, KeyboardInterrupt) else FAILED_WAIT)
        if not thread.is_alive():
            if isinstance(error, RunFailed):  # of one cell; the others are finished
                tracker.update(cells)
            tracker.close()
        raise
    stop.set()
    thread.join()
    tracker.complete(cells)


class Tracker:
    """Brings every sink up to date with some cells. Raises InputError if a sink's folder cannot be made."""

    def __init__(self, sinks: Sequence[Sink], console: Console) -> None:
        for sink in sinks:
            try:
                sink.home.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"cannot write {sink.home}: {error.strerror}; choose another folder"
                ) from error
        self.console = console
        self.channels = [_Channel(sink, self.warn) for sink in sinks]
        self.checkpoints = Checkpoints()
        self._warned: set[str] = set()

    def warn(self, message: str) -> None:
        """Prints the message, unless it was printed before."""
        if message not in self._warned:
            self._warned.add(message)
            self.console.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)

    def update(self, cells: Iterable[Cell]) -> float:
        """Shows what is new on disk; returns the seconds to wait before the next update.

        Raises nothing: it warns of what cannot be read or shown.
        """
        before = time.thread_time()
        for cell in cells:
            try:
                self._update(cell)
            except (InputError, OSError) as error:
                self.warn(f"not tracked: {error}")
        return max(UPDATE_SECONDS, PAUSE_FACTOR * (time.thread_time() - before))

    def complete(self, cells: Sequence[Cell]) -> None:
        """Shows what is new, then the cells' scores; with a progress bar on a terminal."""
        from rich.progress import track

        shown = track(
            cells, "tracking", console=self.console, transient=True, disable=not self.console.is_terminal
        )
        self.update(shown)
        try:
            self._score(cells)
        except InputError as error:
            self.warn(f"scores not tracked: {error}")
        self.close()
        for channel in self.channels:
            if not channel.failed:
                view = f"{channel.sink.title}: {channel.sink.view}"
                self.console.print(view, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Closes the sinks; unfinished runs stay unfinished."""
        for channel in self.channels:
            channel.close()

    def _update(self, cell: Cell) -> None:
        from plasticity_bench.tracking.sinks.base import Tracked

        recorded = cell.seeds()
        for seed in recorded:
            run = Tracked(cell, seed)
            if all(channel.is_done(run) for channel in self.channels):
                continue
            digest = cell.trained.provenance(seed).sha256
            lacking = [channel for channel in self.channels if channel.lacks(run, digest)]
            points = recorded_points(cell, seed) if lacking else []
            for channel in lacking:
                channel.show(run, points, digest)
        for seed, points in self.checkpoints.changed(cell, recorded).items():
            for channel in self.channels:
                channel.show(Tracked(cell, seed), points)

    def _score(self, cells: Sequence[Cell]) -> None:
        from plasticity_bench.scoring.scoring import score
        from plasticity_bench.tracking.sinks.base import Tracked

        ours, streams = {cell.path for cell in cells}, {cell.stream for cell in cells}
        # The references may have been recorded by another command.
        references = {
            other.path: other
            for runs in {cell.path.parent.parent for cell in cells}
            for other in find_cells(runs)
            if other.stream in streams and is_reference(other.method)
        }
        for stream in score({**references, **{cell.path: cell for cell in cells}}.values()).streams:
            for row in stream.rows:
                if row.cell.path not in ours:
                    continue
                values = {
                    f"{name}{end}": float(value)
                    for name, interval in row.summary.items()
                    for end, value in (("", interval.point), ("_low", interval.low), ("_high", interval.high))
                    if math.isfinite(value)
                }
                for channel in self.channels:
                    channel.show_scores(Tracked(row.cell), values, len(row.seeds))


class _Channel:
    """One sink: which runs it shows completely, which are open, and whether it has failed."""

    def __init__(self, sink: Sink, warn: Callable[[str], None]) -> None:
        self.sink, self.warn, self.failed = sink, warn, False
        self._open: dict[Tracked, tuple[Log, int]] = {}
        self._complete: dict[Tracked, str] = {}  # with the digest of what was shown
        self._locks: dict[str, BaseFileLock | None] = {}

    def is_done(self, run: Tracked) -> bool:
        """Whether this process has nothing more to show of ``run``."""
        return self.failed or run in self._complete

    def lacks(self, run: Tracked, digest: str) -> bool:
        """Whether the sink does not show all of ``run`` as it is recorded now."""
        if run not in self._complete:
            with suppress(OSError, ValueError, AttributeError):
                self._complete[run] = str(json.loads(self._marker(run).read_text()).get("sha256"))
        return not self.failed and self._complete.get(run) != digest

    def show(self, run: Tracked, points: Sequence[Point], digest: str = "") -> None:
        """Shows the points that are new. With ``digest``, that of its table, the run is complete."""

        def write() -> None:
            if run not in self._open:
                self._open[run] = self._begin(run), 0
            log, count = self._open[run]
            log.write(points[count:])
            self._open[run] = log, max(count, len(points))
            if digest:
                del self._open[run]
                log.close(True)
                self._done(run, digest)

        self._guarded(run, write)

    def show_scores(self, run: Tracked, values: Mapping[str, float], seeds: int) -> None:
        """Shows a cell's scores if they have changed."""
        digest = sha256(json.dumps([values, seeds], sort_keys=True).encode())

        def write() -> None:
            log = self._begin(run)
            log.score(values, seeds)
            log.close(True)
            self._done(run, digest)

        if self.lacks(run, digest):
            self._guarded(run, write)

    def close(self) -> None:
        """Closes open runs, and releases the locks so that other processes can write."""
        for log, _ in self._open.values():
            with suppress(Exception):
                log.close(False)
        self._open.clear()
        for lock in self._locks.values():
            if lock:
                lock.release()
        self._locks.clear()

    def _begin(self, run: Tracked) -> Log:
        self._marker(run).unlink(missing_ok=True)  # until the run is complete again
        return self.sink.open(run)

    def _done(self, run: Tracked, digest: str) -> None:
        write_json(self._marker(run), {"sha256": digest})
        self._complete[run] = digest

    def _marker(self, run: Tracked) -> Path:
        return self.sink.home / f"{run.label}.json"

    def _guarded(self, run: Tracked, write: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            if self._locked(run):
                write()
        except Exception as error:  # a sink may raise anything; training continues
            self.failed = True
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
            self.warn(
                f"tracking with {self.sink.title} failed and has ended ({type(error).__name__}: {reason}); "
                "records are not affected: `python -m plasticity_bench track` shows the rest later"
            )

    def _locked(self, run: Tracked) -> bool:
        """Whether this process may write the cell's runs; only one process at a time may."""
        from filelock import FileLock, Timeout

        cell = run.cell.label
        if cell not in self._locks:
            folder = self.sink.home / cell
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock", timeout=0, thread_local=False)
            try:
                lock.acquire()
                self._locks[cell] = lock
            except Timeout:
                self._locks[cell] = None
                self.warn(f"{cell} is tracked with {self.sink.title} by another process, so not by this one")
        return self._locks[cell] is not None
