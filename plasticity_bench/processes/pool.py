"""Worker processes that each keep one device. If one is killed, only its item has to be repeated.

``concurrent.futures`` and loky abandon the whole pool if one worker is killed, and no pool lets a worker keep
a device. Each worker has its own pipe: a shared queue stays locked for ever if a worker is killed while it
writes.
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
from plasticity_bench.processes.main_module import hidden_main
from plasticity_bench.processes.pool_worker import Work, exit_reason, serve
from plasticity_bench.processes.signals import Interrupts, stop_signals_blocked

#: How often an item is tried if its worker dies. The second time is at once. The third time is after all
#: other items and alone, because the worker may have run out of memory.
MAX_TRIES = 3
#: How many workers per device may die in a row while they start, before the pool gives up. One is enough if
#: it reports why it cannot start.
MAX_FAILED_STARTS = 10
#: Seconds that workers have to save once they are asked to stop, so that all ends within 5 seconds.
SAVE_SECONDS = 3.5
#: Seconds between two checks for signals.
POLL_SECONDS = 0.1


class WorkerDied(RunFailed):
    """Every worker that tried the item died; ``how``: how the last one did."""

    def __init__(self, how: str) -> None:
        super().__init__(f"its worker process {how}, at the last of {MAX_TRIES} tries")
        self.how = how


class PoolObserver(Protocol):
    """Is notified of what happens to the items; ``index`` is an item's index."""

    def progressed(self, index: int, share: float) -> None:
        """``share`` of the item, from 0 to 1, is done."""

    def worker_died(self, index: int, pid: int, how: str, again: bool) -> None:
        """The item's worker died; ``how`` is "was killed by signal 9 ...". ``again``: it is tried again."""

    def out_of_memory(self, index: int, device: str) -> None:
        """There was no memory left on a device that several workers share.

        The device gets one worker less, and the item is tried again.
        """


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    ready: bool = False
    item: int | None = None
    alone: bool = False  # on its device when it began the item


@dataclass
class _Slot:
    device: str
    worker: _Worker | None = None


class Pool:
    """One worker per entry of ``devices``, which may name a device several times.

    ``start`` is called in every new worker, with the parent's process id. ``failures``: an item's index ->
    why it failed.
    """

    def __init__(
        self,
        items: Sequence[Any],
        devices: Sequence[str],
        start: Callable[[int], None],
        work: Work,
        observer: PoolObserver,
    ) -> None:
        self.items, self.start, self.work, self.observer = items, start, work, observer
        self.failures: dict[int, Exception] = {}
        self._slots = [_Slot(device) for device in devices]
        self._waiting = deque(range(len(items)))
        self._retry_alone: deque[int] = deque()
        self._deaths: Counter[int] = Counter()
        self._failed_starts = 0  # in a row

    def run(self, interrupts: Interrupts) -> bool:
        """Processes all items. Returns False if a signal ended it early.

        The workers are then asked to save and stop. They are killed after SAVE_SECONDS or at a second signal.
        """
        try:
            while self._unfinished() and not interrupts.received:
                self._assign_items()
                self._receive(POLL_SECONDS)
            if interrupts.received:
                self._stop_early(interrupts)
            return not interrupts.received
        finally:
            self._close()

    def _unfinished(self) -> bool:
        return bool(self._waiting or self._retry_alone or self._busy())

    def _busy(self) -> list[_Worker]:
        return [slot.worker for slot in self._slots if slot.worker and slot.worker.item is not None]

    def _assign_items(self) -> None:
        idle = [slot.worker for slot in self._slots if slot.worker and slot.worker.item is None]
        for slot in self._slots:
            if slot.worker is None and len(idle) < len(self._waiting) + bool(self._retry_alone):
                slot.worker = self._start_worker(slot.device)
                idle.append(slot.worker)
        for slot in self._slots:
            worker = slot.worker
            if worker is None or not worker.ready or worker.item is not None:
                continue
            if self._waiting:
                self._assign(slot, worker, self._waiting.popleft())
            elif self._retry_alone and not self._busy():
                self._assign(slot, worker, self._retry_alone.popleft())

    def _sharing(self, slot: _Slot) -> int:
        return [other.device for other in self._slots].count(slot.device)

    def _assign(self, slot: _Slot, worker: _Worker, index: int) -> None:
        worker.item = index
        worker.alone = self._sharing(slot) == 1
        with suppress(OSError):  # it died while it was idle; _handle_death follows
            worker.connection.send(self.items[index])

    def _start_worker(self, device: str) -> _Worker:
        # The resource tracker unblocks the signals when it starts, so it is started before they are blocked.
        resource_tracker.ensure_running()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, os.getpid(), device, self.start, self.work), name=f"worker {device}"
        )
        with stop_signals_blocked(), hidden_main():
            process.start()
        theirs.close()  # so that the pipe ends if the worker dies
        return _Worker(process, ours)

    def _receive(self, seconds: float) -> None:
        pairs = [(slot, slot.worker) for slot in self._slots if slot.worker]
        sources = [source for _, worker in pairs for source in (worker.connection, worker.process.sentinel)]
        ready = wait(sources, seconds) if sources else []
        for slot, worker in pairs:
            if worker.connection in ready or worker.process.sentinel in ready:
                self._handle_messages(slot, worker)

    def _handle_messages(self, slot: _Slot, worker: _Worker) -> None:
        dead = not worker.process.is_alive()  # checked before its messages are read, so that none is missed
        try:
            while slot.worker is worker and worker.connection.poll():
                kind, value = worker.connection.recv()
                getattr(self, f"_on_{kind}")(slot, worker, value)
        except (EOFError, OSError):
            dead = True
        if dead and slot.worker is worker:
            self._handle_death(slot, worker)

    def _on_ready(self, slot: _Slot, worker: _Worker, value: None) -> None:
        worker.ready, self._failed_starts = True, 0

    def _on_share(self, slot: _Slot, worker: _Worker, value: float) -> None:
        assert worker.item is not None
        self.observer.progressed(worker.item, value)

    def _on_done(self, slot: _Slot, worker: _Worker, value: bool) -> None:
        if worker.item is not None and value:
            self.observer.progressed(worker.item, 1.0)
        worker.item = None

    def _on_failed(self, slot: _Slot, worker: _Worker, value: tuple[type[Exception], list[str]]) -> None:
        error, index = value[0](*value[1]), worker.item
        worker.item = None
        if index is None:  # it failed to start
            self._start_failed(slot, str(error), MAX_FAILED_STARTS * len(self._slots))
        elif isinstance(error, OutOfMemory):
            self._kill(slot)  # which frees the memory that it still holds
            if worker.alone:
                self.failures[index] = error
                return
            self._waiting.appendleft(index)
            self.observer.out_of_memory(index, slot.device)
            if self._sharing(slot) > 1:
                self._slots.remove(slot)
        else:
            self.failures[index] = error
            if isinstance(error, CannotWrite):  # the others could not either
                self._waiting.clear()
                self._retry_alone.clear()

    def _handle_death(self, slot: _Slot, worker: _Worker) -> None:
        worker.process.join(SAVE_SECONDS)
        how, pid, index = exit_reason(worker.process.exitcode), worker.process.pid or 0, worker.item
        self._kill(slot)
        if not worker.ready:
            self._start_failed(slot, f"the last one {how}", 1)
        elif index is not None:
            self._deaths[index] += 1
            again = self._deaths[index] < MAX_TRIES
            self.observer.worker_died(index, pid, how, again)
            if not again:
                self.failures[index] = WorkerDied(how)
            elif self._deaths[index] < MAX_TRIES - 1:
                self._waiting.appendleft(index)
            else:
                self._retry_alone.append(index)

    def _start_failed(self, slot: _Slot, why: str, deaths: int) -> None:
        self._kill(slot)
        self._failed_starts += deaths
        if self._failed_starts >= MAX_FAILED_STARTS * len(self._slots):
            for index in (*self._waiting, *self._retry_alone):
                self.failures[index] = RunFailed(f"no worker process starts: {why}")
            self._waiting.clear()
            self._retry_alone.clear()

    def _stop_early(self, interrupts: Interrupts) -> None:
        deadline = time.monotonic() + SAVE_SECONDS
        for worker in self._busy():
            with suppress(OSError):  # it is dead
                worker.connection.send(None)
        while self._busy() and time.monotonic() < deadline and len(interrupts.received) < 2:
            self._receive(POLL_SECONDS)
        for slot in self._slots:
            self._kill(slot)

    def _close(self) -> None:
        busy = self._busy()
        for slot in list(self._slots):
            if slot.worker and (slot.worker in busy or not slot.worker.ready):
                self._kill(slot)
            elif slot.worker:
                slot.worker.connection.close()  # the worker then ends by itself
        deadline = time.monotonic() + 1.0
        for slot in self._slots:
            if slot.worker:
                slot.worker.process.join(max(0.0, deadline - time.monotonic()))
                self._kill(slot)

    @staticmethod
    def _kill(slot: _Slot) -> None:
        if slot.worker is None:
            return
        slot.worker.process.kill()
        slot.worker.process.join()
        slot.worker.process.close()
        slot.worker.connection.close()
        slot.worker = None
