"""Cells: their configuration and folders, and the messages about a folder that ``run`` cannot use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError
from plasticity_bench.records.configuration import configuration, method_folder, plan_cell, stream_folder
from plasticity_bench.records.documents import CellConfig
from plasticity_bench.records.tables import COLUMNS, YOUNGER_COLUMNS, to_csv
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.running.launch import train_missing
from plasticity_bench.running.plan import Planned, open_cells
from plasticity_bench.storage.documents import parse_document
from plasticity_bench.storage.files import sha256
from plasticity_bench.storage.locks import locked
from tests.support.documents import made_origin
from tests.support.submission_bench import edit_json

ROWS = [dict.fromkeys(COLUMNS, 0.5) | {"task": i} for i in range(3)]


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file below, apart from locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_outdated_checkpoints_and_leftovers_go_when_the_cell_is_run_again(tmp_path: Path) -> None:
    """A run was killed after its last record: nothing is missing, and only the records remain."""
    plan = plan_cell("permuted-digits:tasks=3", "none")
    cell = open_cells(tmp_path, [plan], [0, 1])[0].cell
    for seed in (0, 1):
        cell.trained.write(seed, ROWS, made_origin())
    before = files(tmp_path)
    for name in ("checkpoint-0-1.pt", ".checkpoint-0-1.pt.123.tmp", "error.txt"):
        (cell.path / name).write_bytes(b"junk")
    (cell.path / "checkpoint-1-2.pt").write_bytes(b"seed 2 was asked for once: kept")
    console: Any = None  # nothing is printed, as nothing is trained
    assert train_missing([Planned(plan, cell, (0, 1))], 1, ["cpu"], console) == 0
    (cell.path / "checkpoint-1-2.pt").unlink()
    assert files(tmp_path) == before


def test_a_cell_reads_tables_with_and_without_the_younger_columns(tmp_path: Path) -> None:
    """Seed 0 was recorded before they existed. What is written has all columns."""
    cell = open_cells(tmp_path, [plan_cell("permuted-digits:tasks=3", "none")], [0, 1])[0].cell
    for seed in (0, 1):
        cell.trained.write(seed, ROWS, made_origin())
    assert cell.trained.columns_held(1) == list(COLUMNS)
    older = [name for name in COLUMNS if name not in YOUNGER_COLUMNS]
    table = cell.trained.path(0)
    table.write_bytes(to_csv(older, [[row[name] for name in older] for row in ROWS]))
    edit_json(table.with_suffix(".json"), sha256=sha256(table.read_bytes()))
    assert cell.trained.columns_held(0) == older
    tables, _ = cell.trained.records([0, 1], ["weight_norm", "probe_retention"])
    for seed, measured in ((0, False), (1, True)):
        assert (tables[seed]["weight_norm"] == 0.5).all()
        for found in (tables[seed], cell.trained.table(seed)):
            assert np.isnan(found["probe_retention"]).any() == (not measured)
            assert np.isnan(found["probe_retention"]).all() == (not measured)


def test_folders_tell_cells_apart() -> None:
    stream = choose_stream("permuted-digits:tasks=30")
    assert stream_folder(stream) == "permuted-digits-v1_tasks=30"
    assert stream_folder(choose_stream("permuted-digits")) == "permuted-digits-v1"
    assert stream_folder(choose_stream("permuted-digits:tasks=300")) == "permuted-digits-v1"
    methods = ("l2", "l2:strength=0.01", "l2:decoupled=true", "l2:lr=0.01", "l2-init", "none")
    folders = [method_folder(choose_method(text)) for text in methods]
    assert len(set(folders)) == len(methods)
    assert method_folder(choose_method("l2:strength=1e-3")) == folders[0]  # the default, written out
    assert method_folder(choose_method("l2", {"strength": "0.01"})) == folders[1]


def test_the_configuration_holds_what_scores_depend_on() -> None:
    found = configuration(
        choose_stream("permuted-digits:tasks=30"), choose_method("l2:strength=0.01,lr=0.02")
    )
    assert found.stream.settings == {"tasks": 30}
    assert (found.stream.tasks, found.stream.steps, found.stream.batch) == (30, 112, 16)
    assert found.method.settings == {"strength": 0.01, "decoupled": False, "lr": 0.02}
    assert found.optimizer.lr == 0.02
    assert found.network.hidden == (100, 100)
    assert parse_document(found.to_bytes(), CellConfig) == found


@pytest.mark.parametrize("damage", ["config", "protocol", "lock"])
def test_run_tells_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    cell = open_cells(tmp_path, [plan_cell("permuted-digits:tasks=3", "none")], [0])[0].cell
    path = cell.path / "config.json"
    if damage == "config":
        path.write_text(path.read_text()[:100])
    elif damage == "protocol":
        edit_json(path, protocol=99)
    command = [
        "run",
        "--method",
        "none",
        "--no-references",
        "--stream",
        "permuted-digits:tasks=3",
        "--seeds",
        "1",
    ]
    with locked([cell.path] if damage == "lock" else []):
        assert main([*command, "--runs", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert str(cell.path) in err
    assert {"config": "is damaged", "protocol": "protocol 99", "lock": "another process"}[damage] in err
    assert cell.seeds() == []


def test_more_cells_than_a_process_may_open_files(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    folders = [tmp_path / str(i) for i in range(400)]
    for folder in folders:
        folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        with locked(folders), pytest.raises(InputError, match="another process"), locked(folders[-1:]):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
