"""The pool of workers, with simulated devices: the sharing of work, and workers that die."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plasticity_bench.errors import CannotWrite, InputError, OutOfMemory, RunFailed
from plasticity_bench.processes import pool
from plasticity_bench.processes.pool import MAX_TRIES, Pool, WorkerDied
from plasticity_bench.processes.signals import Interrupts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

#: A piece of work: the folder of its notes, its name, and what happens to it.
Item = tuple[Path, str, str]


def note(folder: Path, name: str, *words: object) -> None:
    """One line per event, in one file that all workers append to."""
    with open(folder / "notes", "a") as file:
        file.write(" ".join(map(str, (name, *words))) + "\n")


def work(item: Item, device: str, report: Callable[[float], None], should_stop: Callable[[], bool]) -> bool:
    """Notes the process, the device and the time; then does what ``kind`` says."""
    folder, name, kind = item
    note(folder, name, device, os.getpid(), "begins")
    report(0.5)
    if kind.startswith("signal"):
        os.kill(os.getpid(), int(kind[6:]))
    elif kind == "exit":
        sys.exit("no more")
    elif kind == "gone":
        os._exit(7)
    elif kind == "crowded":
        _hold_memory(folder, device)
    elif kind == "vast":
        raise OutOfMemory("more than there is")
    elif kind == "refused":
        raise InputError("fix it")
    elif kind == "full":
        raise CannotWrite("the disk is full")
    elif kind == "asks":
        while not should_stop():
            time.sleep(0.01)
        note(folder, name, device, os.getpid(), "saved")
        return False
    elif kind.startswith("meet"):
        while len({pid for _, _, pid, _ in notes(folder)}) < int(kind[4:]):
            time.sleep(0.01)
    elif kind == "deaf":
        time.sleep(1000)
    else:
        time.sleep(0.05)
    note(folder, name, device, os.getpid(), "ends")
    return True


def _hold_memory(folder: Path, device: str) -> None:
    """Two processes fit on a device; for a third there is too little memory."""
    mine = folder / f"{device}-{os.getpid()}"
    mine.touch()
    try:
        if len(list(folder.glob(f"{device}-*"))) > 2:
            raise OutOfMemory("a third")
        time.sleep(0.3)
    finally:
        mine.unlink()


def ready(parent: int) -> None:
    """A worker starts."""


def fail_to_start(parent: int) -> None:
    raise ImportError("no module named so")


def die_as_it_starts(parent: int) -> None:
    os._exit(3)


class Recorder:
    """Records what the pool notifies it of."""

    def __init__(self) -> None:
        self.shares: list[tuple[int, float]] = []
        self.deaths: list[tuple[int, str, bool]] = []
        self.crowds: list[tuple[int, str]] = []

    def progressed(self, index: int, share: float) -> None:
        self.shares.append((index, share))

    def worker_died(self, index: int, pid: int, how: str, again: bool) -> None:
        self.deaths.append((index, how, again))

    def out_of_memory(self, index: int, device: str) -> None:
        self.crowds.append((index, device))


def run(
    folder: Path, kinds: list[str], devices: list[str], start: Callable[[int], None] = ready
) -> tuple[Pool, Recorder, list[list[str]]]:
    """Does items named 0, 1, ... of these kinds; returns also the notes, in the order of events."""
    seen = Recorder()
    items = [(folder, str(i), kind) for i, kind in enumerate(kinds)]
    made = Pool(items, devices, start, work, seen)
    assert made.run(Interrupts())
    return made, seen, notes(folder)


def notes(folder: Path) -> list[list[str]]:
    path = folder / "notes"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def most_at_once(found: list[list[str]], device: str) -> int:
    now = most = 0
    for _, used, _, event in found:
        if used == device:
            now += 1 if event == "begins" else -1
            most = max(most, now)
    return most


@pytest.mark.parametrize("share", [1, 2])
def test_a_worker_keeps_its_device_and_devices_are_shared_only_as_asked(tmp_path: Path, share: int) -> None:
    devices = ["sim:0", "sim:1"]
    made, seen, found = run(tmp_path, [f"meet{2 * share}"] * 16, devices * share)
    assert made.failures == {}
    assert sorted(int(name) for name, *_, event in found if event == "ends") == list(range(16))
    pairs = {(pid, device) for _, device, pid, _ in found}
    assert len(pairs) == len({pid for pid, _ in pairs}) == 2 * share  # a worker keeps its device
    for device in devices:
        assert most_at_once(found, device) <= share
        assert sum(used == device for _, used in pairs) == share
    assert seen.shares.count((3, 0.5)) == seen.shares.count((3, 1.0)) == 1


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (f"signal{signal.SIGKILL}", "was killed by signal 9, often out of memory"),
        (f"signal{signal.SIGSEGV}", "was killed by signal 11 (SIGSEGV)"),
        ("gone", "ended with exit code 7"),
    ],
)
def test_what_kills_its_worker_every_time_is_given_up_and_the_rest_is_done(
    tmp_path: Path, kind: str, how: str
) -> None:
    made, seen, found = run(tmp_path, ["short", kind, *["short"] * 8], ["sim:0", "sim:1"])
    assert list(made.failures) == [1]
    assert isinstance(made.failures[1], WorkerDied)
    assert str(made.failures[1]) == f"its worker process {how}, at the last of 3 tries"
    assert seen.deaths == [(1, how, True), (1, how, True), (1, how, False)]
    ended = [name for name, *_, event in found if event == "ends"]
    assert sorted(ended, key=int) == ["0", *map(str, range(2, 10))]  # each once
    assert [name for name, *_ in found].count("1") == MAX_TRIES
    assert found[-1][0] == "1"  # the last time alone, after all others


def test_two_that_kill_their_workers_have_their_last_try_one_after_the_other(tmp_path: Path) -> None:
    made, seen, found = run(tmp_path, ["gone", "short", "gone"], ["sim:0", "sim:1"])
    assert sorted(made.failures) == [0, 2]
    assert len(seen.deaths) == 2 * MAX_TRIES
    assert [name for name, *_ in found].count("1") == 2  # it begins and ends
    assert {name for name, *_ in found[-2:]} == {"0", "2"}


def test_a_device_that_is_too_small_for_three_gets_two(tmp_path: Path) -> None:
    made, seen, found = run(tmp_path, ["crowded"] * 9, ["sim:0"] * 3)
    assert made.failures == {}
    assert seen.crowds
    assert {device for _, device in seen.crowds} == {"sim:0"}
    assert sorted(int(name) for name, *_, event in found if event == "ends") == list(range(9))
    assert seen.deaths == []


def test_what_finds_no_memory_even_alone_fails_alone(tmp_path: Path) -> None:
    made, seen, found = run(tmp_path, ["vast", "short", "short", "short"], ["sim:0"] * 2)
    assert list(made.failures) == [0]
    assert isinstance(made.failures[0], OutOfMemory)
    assert seen.crowds == [(0, "sim:0")]
    assert sorted(name for name, *_, event in found if event == "ends") == ["1", "2", "3"]


def test_errors_come_home_and_the_rest_goes_on(tmp_path: Path) -> None:
    made, _, found = run(tmp_path, ["refused", "exit", "short", "short"], ["sim:0", "sim:1"])
    assert {index: (type(error), str(error)) for index, error in made.failures.items()} == {
        0: (InputError, "fix it"),
        1: (RunFailed, "SystemExit: no more"),
    }
    assert sorted(name for name, *_, event in found if event == "ends") == ["2", "3"]


def test_nothing_new_is_begun_on_a_full_disk(tmp_path: Path) -> None:
    made, _, found = run(tmp_path, ["full", *["short"] * 50], ["sim:0"])
    assert list(made.failures) == [0]
    assert isinstance(made.failures[0], CannotWrite)
    assert [name for name, *_ in found] == ["0"]


@pytest.mark.parametrize(
    ("start", "why"),
    [(fail_to_start, "ImportError: no module named so"), (die_as_it_starts, "ended with exit code 3")],
)
def test_workers_that_do_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[int], None], why: str
) -> None:
    monkeypatch.setattr(pool, "MAX_FAILED_STARTS", 3)
    made, _, found = run(tmp_path, ["short"] * 3, ["sim:0", "sim:1"], start)
    assert found == []
    assert sorted(made.failures) == [0, 1, 2]
    assert all("no worker process starts" in str(e) and why in str(e) for e in made.failures.values())


def interrupted(folder: Path, kinds: list[str], signals: int) -> tuple[Pool, Interrupts]:
    """Runs, and receives this number of signals once all workers are busy."""
    interrupts = Interrupts()

    def send() -> None:
        while len(notes(folder)) < len(kinds):
            time.sleep(0.01)
        interrupts.received += [signal.SIGTERM] * signals

    items = [(folder, str(i), kind) for i, kind in enumerate(kinds)]
    made = Pool(items, ["sim:0", "sim:1"], ready, work, Recorder())
    thread = threading.Thread(target=send)
    thread.start()
    assert not made.run(interrupts)
    thread.join()
    return made, interrupts


def test_workers_that_are_asked_to_leave_save_first(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(pool, "SAVE_SECONDS", 1000.0)  # no process must be killed
    made, _ = interrupted(tmp_path, ["asks", "asks"], 1)
    assert made.failures == {}
    assert sorted(name for name, *_, event in notes(tmp_path) if event == "saved") == ["0", "1"]


def test_a_deaf_worker_is_killed_when_its_time_is_over(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(pool, "SAVE_SECONDS", 0.5)
    interrupted(tmp_path, ["deaf", "asks"], 1)
    assert [name for name, *_, event in notes(tmp_path) if event == "saved"] == ["1"]
    for _, _, pid, _ in notes(tmp_path):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_second_signal_ends_it_at_once(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(pool, "SAVE_SECONDS", 1000.0)
    interrupted(tmp_path, ["deaf", "deaf"], 2)
    for _, _, pid, _ in notes(tmp_path):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_signals_are_noted_and_handlers_given_back() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT)
    own = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        with Interrupts() as interrupts:
            for number in numbers:
                signal.raise_signal(number)
            assert interrupts.received == list(numbers)
        assert [signal.getsignal(number) for number in numbers] == [signal.default_int_handler] * 2
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as of a command that a shell put into the background
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            assert interrupts.received == []
    finally:
        for number, handler in own.items():
            signal.signal(number, handler)
