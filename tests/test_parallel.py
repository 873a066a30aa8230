"""Work shared with processes gives what one process gives, and its errors come home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.parallel import Workers


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
        with pytest.raises(RunFailed, match="was killed"):
            list(workers.map(die, range(2)))


def test_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with Workers(2, least=2) as workers:
        list(workers.map(square, range(2)))
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "OPENBLAS_NUM_THREADS" not in os.environ
