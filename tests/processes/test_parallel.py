"""Work in several processes gives the results of one process, and raises its errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.processes.workers import Workers
from tests.support.fake_records import write_suite


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def refuse(number: int) -> int:
    if number == 2:
        raise InputError(f"{number} is not wanted; take another")
    return number


def die(number: int) -> int:
    os._exit(3)


def threads(name: str) -> str | None:
    return os.environ.get(name)


def test_results_come_in_order_from_other_processes() -> None:
    with Workers(2, least=2) as workers:
        found = list(workers.map(square, range(20)))
        again = list(workers.map(threads, ["OMP_NUM_THREADS"]))
    assert [value for value, _ in found] == [i**2 for i in range(20)]
    assert os.getpid() not in {process for _, process in found}
    assert again == ["1"]
    for alone in (Workers(1), Workers(2)):  # one process, or too little to do
        assert {process for _, process in alone.map(square, range(3))} == {os.getpid()}


def test_errors_come_home() -> None:
    with Workers(2, least=2) as workers:
        with pytest.raises(InputError, match="2 is not wanted"):
            list(workers.map(refuse, range(4)))
        for _ in range(2):  # noticed while results are taken, and then as soon as work is handed over
            with pytest.raises(RunFailed, match="was killed"):
                list(workers.map(die, range(2)))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_forked_where_there_is_one_thread_and_spawned_where_there_are_more() -> None:
    code = """
import threading
from plasticity_bench.processes.workers import Workers, may_fork

if __name__ == "__main__":
    known = ["'colorsys' in __import__('sys').modules"] * 2
    with Workers(2, least=2) as workers:
        print(may_fork(), *workers.map(eval, known))
        import colorsys
        print(may_fork(), *workers.map(eval, known))
        workers.renew()
        print(may_fork(), *workers.map(eval, known[:1]))
        workers.renew()
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        print(may_fork(), *workers.map(eval, known))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "True False False",
        "False False False",  # the pool has threads of its own here
        "True True",
        "False False False",
    ]


def test_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with Workers(2, least=2) as workers:
        list(workers.map(square, range(2)))
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_the_leaderboard_is_computed_on_one_thread_a_process(tmp_path: Path) -> None:
    """As a user starts it: numpy is not imported yet."""
    write_suite(tmp_path / "runs", seeds=2, tasks=10)
    code = (
        "import sys; from plasticity_bench.cli import main; assert 'numpy' not in sys.modules\n"
        f"main(['leaderboard', '--runs', {str(tmp_path / 'runs')!r}, '--out', {str(tmp_path / 'out')!r}])\n"
        "from threadpoolctl import threadpool_info\n"
        "print([library['num_threads'] for library in threadpool_info() if 'numpy' in library['filepath']])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    threads_of_each = json.loads(done.stdout.splitlines()[-1])
    assert set(threads_of_each) == {1}
