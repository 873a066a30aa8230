"""Worker processes that each keep one device; one that is killed costs what it was at, never the others.

``concurrent.futures`` (and loky) give the whole pool up when one worker is killed, and no pool lets a worker
keep a device. Each worker has a pipe of its own: a queue that all share is locked for ever by a worker that
is killed while it writes.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from plasticity_bench.errors import CannotWrite, OutOfMemory, RunFailed
from plasticity_bench.processes.pool_worker import Work, how_it_ended, serve
from plasticity_bench.processes.signals import Interrupts, held

#: How often an item is tried whose worker dies of it: the second time at once, the third alone, after all
#: others, as it may have died for want of memory.
TRIES = 3
#: How many workers may die in a row as they start, for each device, before all is given up. One that says why
#: it cannot start is enough.
STARTS = 10
#: Seconds that workers have to save, once asked to leave: all is over within 5, on a busy machine too.
GRACE = 3.5
#: Seconds between two looks at what signals came.
GLANCE = 0.1


class WorkerDied(RunFailed):
    """Every worker that tried the item died: ``how`` the last one did."""

    def __init__(self, how: str) -> None:
        super().__init__(f"its worker process {how}, at the last of {TRIES} tries")
        self.how = how


class Watcher(Protocol):
    """Is told what happens to the items, by their index."""

    def shared(self, index: int, share: float) -> None:
        """It is done to ``share`` of 1."""

    def died(self, index: int, pid: int, how: str, again: bool) -> None:
        """The worker ``pid`` that had it "was killed by signal 9 ..."; it is tried ``again``."""

    def crowded(self, index: int, device: str) -> None:
        """It found no memory beside others on the device, which gets a worker less; it is tried again."""


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    ready: bool = False
    item: int | None = None
    alone: bool = False  # on its device, when the item began


@dataclass
class _Slot:
    device: str
    worker: _Worker | None = None


class Pool:
    """One worker per entry of ``devices``, in which a device may stand several times.

    ``failures`` holds what went wrong, by the item's index.
    """

    def __init__(
        self,
        items: Sequence[Any],
        devices: Sequence[str],
        start: Callable[[int], None],
        work: Work,
        watcher: Watcher,
    ) -> None:
        self.items, self.start, self.work, self.watcher = items, start, work, watcher
        self.failures: dict[int, Exception] = {}
        self._slots = [_Slot(device) for device in devices]
        self._waiting = deque(range(len(items)))
        self._last: deque[int] = deque()
        self._deaths: Counter[int] = Counter()
        self._starts = 0  # in a row that failed

    def run(self, interrupts: Interrupts) -> bool:
        """Does all items. False where a signal ended it early: each worker saved and left, or after GRACE
        seconds or at a second signal was killed."""
        try:
            while self._unfinished() and not interrupts.received:
                self._fill()
                self._listen(GLANCE)
            if interrupts.received:
                self._leave(interrupts)
            return not interrupts.received
        finally:
            self._close()

    def _unfinished(self) -> bool:
        return bool(self._waiting or self._last or self._busy())

    def _busy(self) -> list[_Worker]:
        return [slot.worker for slot in self._slots if slot.worker and slot.worker.item is not None]

    def _fill(self) -> None:
        idle = [slot.worker for slot in self._slots if slot.worker and slot.worker.item is None]
        for slot in self._slots:
            if slot.worker is None and len(idle) < len(self._waiting) + bool(self._last):
                slot.worker = self._spawn(slot.device)
                idle.append(slot.worker)
        for slot in self._slots:
            worker = slot.worker
            if worker is None or not worker.ready or worker.item is not None:
                continue
            if self._waiting:
                self._give(slot, worker, self._waiting.popleft())
            elif self._last and not self._busy():
                self._give(slot, worker, self._last.popleft())

    def _sharing(self, slot: _Slot) -> int:
        return [other.device for other in self._slots].count(slot.device)

    def _give(self, slot: _Slot, worker: _Worker, index: int) -> None:
        worker.item = index
        worker.alone = self._sharing(slot) == 1
        with suppress(OSError):  # where it died while it was idle, and is found dead
            worker.connection.send(self.items[index])

    def _spawn(self, device: str) -> _Worker:
        # It unblocks the signals as it starts, and is started by the first process that needs it.
        resource_tracker.ensure_running()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, os.getpid(), device, self.start, self.work), name=f"worker {device}"
        )
        with held():
            process.start()
        theirs.close()  # so that its death is the end of the pipe
        return _Worker(process, ours)

    def _listen(self, seconds: float) -> None:
        pairs = [(slot, slot.worker) for slot in self._slots if slot.worker]
        things = [thing for _, worker in pairs for thing in (worker.connection, worker.process.sentinel)]
        heard = wait(things, seconds) if things else []
        for slot, worker in pairs:
            if worker.connection in heard or worker.process.sentinel in heard:
                self._hear(slot, worker)

    def _hear(self, slot: _Slot, worker: _Worker) -> None:
        dead = not worker.process.is_alive()  # before what it has sent is read
        try:
            while slot.worker is worker and worker.connection.poll():
                kind, value = worker.connection.recv()
                getattr(self, f"_on_{kind}")(slot, worker, value)
        except (EOFError, OSError):
            dead = True
        if dead and slot.worker is worker:
            self._bury(slot, worker)

    def _on_ready(self, slot: _Slot, worker: _Worker, value: None) -> None:
        worker.ready, self._starts = True, 0

    def _on_share(self, slot: _Slot, worker: _Worker, value: float) -> None:
        assert worker.item is not None
        self.watcher.shared(worker.item, value)

    def _on_done(self, slot: _Slot, worker: _Worker, value: bool) -> None:
        if worker.item is not None and value:
            self.watcher.shared(worker.item, 1.0)
        worker.item = None

    def _on_failed(self, slot: _Slot, worker: _Worker, value: tuple[type[Exception], list[str]]) -> None:
        error, index = value[0](*value[1]), worker.item
        worker.item = None
        if index is None:  # it failed to start
            self._not_started(slot, str(error), STARTS * len(self._slots))
        elif isinstance(error, OutOfMemory):
            self._end(slot)  # with whatever it still holds
            if worker.alone:
                self.failures[index] = error
                return
            self._waiting.appendleft(index)
            self.watcher.crowded(index, slot.device)
            if self._sharing(slot) > 1:
                self._slots.remove(slot)
        else:
            self.failures[index] = error
            if isinstance(error, CannotWrite):  # the others could not either
                self._waiting.clear()
                self._last.clear()

    def _bury(self, slot: _Slot, worker: _Worker) -> None:
        worker.process.join(GRACE)
        how, pid, index = how_it_ended(worker.process.exitcode), worker.process.pid or 0, worker.item
        self._end(slot)
        if not worker.ready:
            self._not_started(slot, f"the last one {how}", 1)
        elif index is not None:
            self._deaths[index] += 1
            again = self._deaths[index] < TRIES
            self.watcher.died(index, pid, how, again)
            if not again:
                self.failures[index] = WorkerDied(how)
            elif self._deaths[index] < TRIES - 1:
                self._waiting.appendleft(index)
            else:
                self._last.append(index)

    def _not_started(self, slot: _Slot, why: str, deaths: int) -> None:
        self._end(slot)
        self._starts += deaths
        if self._starts >= STARTS * len(self._slots):
            for index in (*self._waiting, *self._last):
                self.failures[index] = RunFailed(f"no worker process starts: {why}")
            self._waiting.clear()
            self._last.clear()

    def _leave(self, interrupts: Interrupts) -> None:
        deadline = time.monotonic() + GRACE
        for worker in self._busy():
            with suppress(OSError):  # it is dead
                worker.connection.send(None)
        while self._busy() and time.monotonic() < deadline and len(interrupts.received) < 2:
            self._listen(GLANCE)
        for slot in self._slots:
            self._end(slot)

    def _close(self) -> None:
        busy = self._busy()
        for slot in list(self._slots):
            if slot.worker and (slot.worker in busy or not slot.worker.ready):
                self._end(slot)
            elif slot.worker:
                slot.worker.connection.close()  # upon which it leaves
        deadline = time.monotonic() + 1.0
        for slot in self._slots:
            if slot.worker:
                slot.worker.process.join(max(0.0, deadline - time.monotonic()))
                self._end(slot)

    @staticmethod
    def _end(slot: _Slot) -> None:
        if slot.worker is None:
            return
        slot.worker.process.kill()
        slot.worker.process.join()
        slot.worker.process.close()
        slot.worker.connection.close()
        slot.worker = None
