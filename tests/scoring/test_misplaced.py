"""Records that are there twice, or in another's place: one line that names both."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plasticity_bench.cli import main
from tests.support.command_line import expect_one_line
from tests.support.fake_records import write_cell
from tests.support.submission_bench import edit_json

CURVES = {0: [0.5] * 4, 1: [0.6] * 4}


def copied_cell(runs: Path, cell: Path) -> tuple[str, ...]:
    shutil.copytree(cell, cell.with_name("l2-copy"))
    return "digits-v1/l2-0123abcd", "digits-v1/l2-copy", "one configuration, l2 on"


def copied_folder_of_a_stream(runs: Path, cell: Path) -> tuple[str, ...]:
    shutil.copytree(cell, runs / "bit-flip-v1" / cell.name)
    return "bit-flip-v1/l2-0123abcd", "records of permuted-digits-v1, not of bit-flip-v1"


def seed_in_anothers_place(runs: Path, cell: Path) -> tuple[str, ...]:
    for suffix in (".csv", ".json"):
        shutil.copy(cell / f"seed-001{suffix}", cell / f"seed-009{suffix}")
    return "seed-009.json", "record of seed 1 in the place of seed 9"


def seed_twice(runs: Path, cell: Path) -> tuple[str, ...]:
    seed_in_anothers_place(runs, cell)
    edit_json(cell / "seed-009.json", seed=9)
    return "seed-001.csv", "seed-009.csv", "one table twice"


def twins_twice(runs: Path, cell: Path) -> tuple[str, ...]:
    for suffix in (".csv", ".json"):
        shutil.copy(cell / f"fresh-000{suffix}", cell / f"fresh-001{suffix}")
    edit_json(cell / "fresh-001.json", seed=1)
    return "fresh-000.csv", "fresh-001.csv", "one table twice"


def table_of_another_stream(runs: Path, cell: Path) -> tuple[str, ...]:
    other = write_cell(runs, "l2", {0: [0.2] * 4}, stream="bit-flip").path
    for suffix in (".csv", ".json"):
        shutil.copy(cell / f"seed-001{suffix}", other / f"seed-001{suffix}")
    return "digits-v1/l2-0123abcd/seed-001.csv", "bit-flip-v1/l2-0123abcd/seed-001.csv", "on two streams"


@pytest.mark.parametrize(
    "misplace",
    [
        copied_cell,
        copied_folder_of_a_stream,
        seed_in_anothers_place,
        seed_twice,
        twins_twice,
        table_of_another_stream,
    ],
)
def test_misplaced_records_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    misplace: Callable[[Path, Path], tuple[str, ...]],
) -> None:
    cell = write_cell(tmp_path, "l2", CURVES, fresh={0: [0.6] * 4}).path
    phrases = misplace(tmp_path, cell)
    assert main(["score", "--runs", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    expect_one_line(err, *phrases)


def test_seeds_that_diverge_at_once_have_equal_tables(tmp_path: Path) -> None:
    """Nothing is wrong with them."""
    nan = [float("nan")] * 4
    write_cell(tmp_path, "l2", {0: [-1.0] * 4, 1: [-1.0] * 4}, columns={"online_loss": nan})
    assert main(["score", "--runs", str(tmp_path)]) == 0
