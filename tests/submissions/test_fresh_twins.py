"""Fresh twins in submissions: added to what is submitted, verified with their seeds, and replayed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.cells import Cell
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.running import launch
from plasticity_bench.running.plan import Planned, open_cells
from plasticity_bench.storage.files import sha256
from plasticity_bench.storage.locks import locked
from plasticity_bench.submissions.check_tables import check_fresh_table
from plasticity_bench.submissions.documents import Submitter
from plasticity_bench.submissions.extension import missing, restore_tables
from plasticity_bench.submissions.replay import TOLERANCE, Outcome, Pair, replay
from plasticity_bench.submissions.verify import verify
from plasticity_bench.submissions.writer import find_submission, write_submission
from tests.support import submission_bench
from tests.support.documents import made_config
from tests.support.submission_bench import (
    FOLDER,
    ORIGIN,
    STREAM,
    edit_table,
    fill,
    possible_rows,
    problems,
    record,
    submit,
    tree,
)
from tests.support.submission_damage import cell

NO_TWINS = f"no fresh twins on {FOLDER}: no retention is known there"


def add(out: Path, runs: Path, seeds: int, twins: bool = True, method: str = "l2") -> str:
    """Submits as the command does: only what is missing is recorded. Returns what changed."""
    chosen = choose_method(method)
    found = find_submission(out, method, chosen)
    lacking = missing(found, FOLDER, range(seeds), twins=twins)
    planned = open_cells(runs, [plan_cell(STREAM, method)], lacking, twins) if lacking else []
    restore_tables(found, planned)
    for item in planned:
        fill(item)
    return write_submission(out, method, chosen, planned, found, Submitter())


def test_twins_are_added_to_a_submission_and_nothing_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert add(out, tmp_path / "runs", 3, twins=False) == "new"
    before = tree(out)
    report = verify([out])
    assert (report.problems, [note.reason for note in report.notes]) == ([], [NO_TWINS])
    assert (report.seeds, report.twins) == (3, 0)
    # All seeds get twins, whatever number was asked for; the seeds' tables come from the submission.
    (submission,) = report.submissions
    assert missing(submission, FOLDER, range(1)) == (0, 1, 2)
    assert missing(submission, FOLDER, range(4), twins=False) == (3,)
    assert add(out, tmp_path / "new runs", 1) == "extended"
    after = tree(out)
    changed = {name for name in before if after[name] != before[name]}
    assert {"l2/method.json"} <= changed <= {"l2/method.json", "l2/scores.json"}
    assert sorted(Path(name).name for name in after.keys() - before.keys()) == [
        f"fresh-00{seed}.{ending}" for seed in range(3) for ending in ("csv", "json")
    ]
    digests = json.loads(after["l2/method.json"])["files"]
    assert all(digests[name[3:]] == sha256(after[name]) for name in after.keys() - before.keys())
    report = verify([out])
    assert (report.problems, report.notes, report.twins) == ([], [], 3)
    assert add(out, tmp_path / "runs", 3) == "identical"
    assert add(out, tmp_path / "runs", 5) == "extended"
    assert problems(out) == []


def test_a_submitted_table_is_not_trained_again(tmp_path: Path) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    add(out, tmp_path / "old runs", 2, twins=False)
    found = find_submission(out, "l2", choose_method("l2"))
    assert found is not None
    (item,) = open_cells(runs, [plan_cell(STREAM, "l2")], range(3), twins=True)
    restore_tables(found, [item])
    assert (item.untrained, item.without_twins) == ([2], [0, 1])
    for seed in (0, 1):
        own, theirs = item.cell.trained, found.streams[FOLDER].cell.trained
        assert own.path(seed).read_bytes() == theirs.path(seed).read_bytes()
        assert own.provenance(seed) == theirs.provenance(seed)
    # Another table of a submitted seed is refused before anything is trained.
    edit_table(item.cell.trained.path(1), "\n1,0.", "\n1,0.0")
    with pytest.raises(InputError, match=r"seed-001.csv differs from the submitted table of that seed"):
        restore_tables(found, [item])
    with locked([item.cell.path]), pytest.raises(InputError, match="another process"):
        restore_tables(found, [item])


def test_twins_of_some_seeds_are_not_submitted(tmp_path: Path) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    add(out, runs, 2)
    before = tree(out)
    with pytest.raises(RunFailed, match=r"seeds 2-3 without fresh twins, .*; nothing is submitted"):
        add(out, runs, 4, twins=False)
    assert tree(out) == before


def test_twins_that_differ_from_those_submitted(tmp_path: Path) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    submit(out, runs, "l2")
    before = tree(out)
    (table,) = runs.rglob("fresh-001.csv")
    edit_table(table, "\n1,0.", "\n1,0.0")
    with pytest.raises(InputError, match=r"fresh-001.csv differs from the submitted table"):
        submit(out, runs, "l2")
    assert tree(out) == before


def test_recorded_twins_stay_out_if_they_are_not_wanted(tmp_path: Path) -> None:
    record(tmp_path / "runs", [plan_cell(STREAM, "l2")], range(2))
    folder = submit(tmp_path / "out", tmp_path / "runs", "l2", twins=False)
    assert list(folder.rglob("fresh-*")) == []


def test_equal_twins_of_two_submissions(tmp_path: Path) -> None:
    """A method that only acts later has the twins of plain training."""
    out = tmp_path / "out"
    submit(out, tmp_path / "runs", "none")
    planned = open_cells(tmp_path / "runs", [plan_cell(STREAM, "layer-reset")], range(2), twins=True)
    for seed in (0, 1):
        (item,) = planned
        item.cell.trained.write(seed, possible_rows(item.cell, seed), ORIGIN)
        for ending in (".csv", ".json"):
            theirs = cell(out / "none") / f"fresh-00{seed}{ending}"
            shutil.copy(theirs, item.cell.fresh.path(seed).with_suffix(ending))
    write_submission(out, "layer-reset", choose_method("layer-reset"), planned, None, Submitter())
    report = verify([out])
    assert (report.problems, report.notes, report.twins) == ([], [], 4)


def test_a_regression_stream(tmp_path: Path) -> None:
    """Its twins have the variance of the targets at every task."""
    stream = "bit-flip:tasks=24"
    folder = submit(tmp_path / "out", tmp_path / "runs", "l2", streams=(stream,))
    assert problems(folder) == []
    table = cell(folder) / "fresh-001.csv"
    lines = table.read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "10", "19", "20", "21", "22", "23"]
    sound = tree(folder)
    for column, value, words in (
        ("target_variance", "", "target_variance is empty at task 10; it is known for every task"),
        ("target_variance", "-1.0", "target_variance is -1 at task 10; it is a number from 0 on"),
        ("target_variance", "inf", "target_variance is inf at task 10; it is a number from 0 on"),
        ("online_performance", "", "online_performance is empty at task 10, whose loss is there"),
        ("online_performance", "-1.5", "online_performance is -1.5 at task 10; it is in [-1, 1]"),
        ("task", "11", "tasks are not the 7 of fresh twins"),
    ):
        fields = lines[2].split(",")
        fields[lines[0].split(",").index(column)] = value
        edit_table(table, lines[2], ",".join(fields))
        found = problems(folder)
        assert any(f"fresh-001.csv: {words}" in line for line in found), (words, found)
        for name, data in sound.items():
            (folder / name).write_bytes(data)
    assert problems(folder) == []


def test_final_performance_is_there_if_the_seed_has_it() -> None:
    """And a network that diverged may lack it."""
    config = made_config({"tasks": 4})
    names = ("online_performance", "online_loss", "final_performance", "target_variance")
    twins = {"task": np.array([0.0, 2, 3]), **{name: np.full(3, 0.5) for name in names}}
    twins["target_variance"][:] = np.nan
    seed = {name: np.full(4, 0.5) for name in names[:3]}

    def found(table: dict[str, np.ndarray], own: dict[str, np.ndarray], **columns: Any) -> list[str]:
        changed = {name: np.array(values, float) for name, values in columns.items()}
        return list(check_fresh_table(config, table | changed, own))

    nan = np.nan
    without = {**seed, "final_performance": np.full(4, nan)}
    diverged = {**without, "online_loss": np.array([0.5, np.inf, nan, nan])}
    assert found(twins, seed) == found(twins, without, final_performance=[nan] * 3) == []
    assert found(twins, diverged) == []
    lacking = ["final_performance is empty, but not in the seed's own table"]
    assert found(twins, seed, final_performance=[nan] * 3) == lacking
    assert found(twins, seed, final_performance=[nan] * 3, online_loss=[0.5, np.inf, 0.5]) == []
    assert found(twins, without) == ["final_performance is there for task 0, but not in the seed's own table"]
    assert found(twins, seed, final_performance=[0.5, nan, 0.5]) == [
        "final_performance is empty at task 2 but not everywhere"
    ]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Planned]:
    """What a replay asks for. In place of training it gets the numbers that submissions are made of."""
    asked: list[Planned] = []

    def train_missing(planned: Sequence[Planned], *rest: Any) -> int:
        asked.extend(planned)
        for item in planned:
            fill(item)
        return len(planned)

    monkeypatch.setattr(launch, "train_missing", train_missing)
    return asked


def replayed(out: Path, seed: int = 1) -> Outcome:
    """The outcome for one seed of l2."""
    report = verify([out])
    assert report.problems == []
    pairs = [Pair(each, FOLDER, seed) for each in report.submissions if each.name == "l2"]
    (outcome,) = replay(pairs, 1, ["cpu"], Console(stderr=True), trust=False)
    return outcome


def test_replay_of_twins(tmp_path: Path, trained: list[Planned]) -> None:
    """Made-up twins are found, and reported apart from the seed's own table."""
    out = tmp_path / "out"
    submit(out, tmp_path / "runs", "l2")
    sound = replayed(out)
    assert [(table.kind, table.first_task, table.score) for table in sound.tables] == [
        ("seed", None, 0.0),
        ("fresh", None, 0.0),
    ]
    assert [(item.seeds, item.twins) for item in trained] == [((1,), True)]
    assert sound.same
    assert not sound.failed
    # The same with other twins, which a forger made lower so that more seems to be retained.
    shutil.rmtree(out)
    (table,) = (tmp_path / "runs").rglob("fresh-001.csv")
    lines = table.read_text().splitlines()
    edit_table(table, lines[3], lines[3].replace(",0.", ",0.0", 1))
    submit(out, tmp_path / "runs", "l2")
    forged = replayed(out)
    own, twins = forged.tables
    assert (own.first_task, own.failed) == (None, False)
    assert (twins.first_task, list(twins.largest)) == (2, ["online_performance"])
    assert twins.score > TOLERANCE
    assert (forged.failed, forged.same, forged.same_training) == (True, False, False)


@pytest.mark.usefixtures("trained")
def test_replay_prints_each_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    submit(out, tmp_path / "runs", "l2", seeds=1)
    (table,) = (tmp_path / "runs").rglob("fresh-000.csv")
    lines = table.read_text().splitlines()
    shutil.rmtree(out)
    edit_table(table, lines[2], lines[2].replace(",0.", ",0.0", 1))
    submit(out, tmp_path / "runs", "l2", seeds=1)
    assert main(["leaderboard", "--replay", "1", "--device", "cpu", "--jobs", "1", str(out)]) == 1
    text, error = capsys.readouterr()
    first, second, third, last = text.splitlines()
    assert first == f"l2, {FOLDER}, seed 0: bit-identical"
    assert second.startswith(f"l2, {FOLDER}, seed 0, its fresh twins: differs from task 1 on; score by ")
    assert third.startswith("  online_performance: at most 0.")
    assert last == "0 of 1 bit-identical in performance and loss, 0 in all columns"
    assert "1 of 1 score differently by more than 1% on the same versions" in error


def test_replay_without_twins_trains_none(tmp_path: Path, trained: list[Planned]) -> None:
    out = tmp_path / "out"
    submit(out, tmp_path / "runs", "l2", twins=False)
    outcome = replayed(out)
    assert [table.kind for table in outcome.tables] == ["seed"]
    assert [item.twins for item in trained] == [False]


@pytest.mark.usefixtures("trained")
def test_identical_gaps_are_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A performance that is missing in both tables is no difference; in one of them it is."""
    runs, out, stream = tmp_path / "runs", tmp_path / "out", "bit-flip:tasks=4"
    submit(out, runs, "l2", streams=(stream,))
    table = cell(out / "l2") / "seed-000.csv"
    lines = table.read_text().splitlines()
    (submission,) = verify([out]).submissions
    fields = lines[1].split(",")
    edit_table(table, lines[1], ",".join([fields[0], "", *fields[2:]]))
    pair = Pair(submission, "bit-flip-v1_tasks=4", 0)
    (outcome,) = replay([pair], 1, ["cpu"], Console(stderr=True), trust=False)
    assert outcome.tables[0].score != outcome.tables[0].score
    assert outcome.failed

    def with_gap(cell: Cell, seed: int) -> list[dict[str, float]]:
        rows = possible_rows(cell, seed)
        del rows[0]["online_performance"]
        return rows

    monkeypatch.setattr(submission_bench, "possible_rows", with_gap)
    (outcome,) = replay([pair], 1, ["cpu"], Console(stderr=True), trust=False)
    assert (outcome.tables[0].first_task, outcome.tables[0].score) == (None, 0.0)
    assert not outcome.failed
