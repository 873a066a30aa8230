"""Records on disk: written whole or not at all, read back exactly, and never replaced silently."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import Cell, find_cells, open_cell, read_cell
from plasticity_bench.records.documents import PROTOCOL, SeedRecord
from plasticity_bench.records.tables import COLUMNS
from plasticity_bench.storage.files import sha256, write_bytes
from plasticity_bench.storage.locks import locked
from tests.support.documents import made_config, made_origin, made_sweep
from tests.support.fake_records import tuning_table
from tests.support.submission_bench import edit_json

METHOD: dict[str, Any] = {"name": "m", "label": "m:a=1", "settings": {"a": 1.0}, "summary": "words"}
CONFIG = made_config({"name": "s"}, METHOD)
ROWS = [
    {"task": i, **{name: (i + 1) / (j + 3) for j, name in enumerate(list(COLUMNS)[1:])}} for i in range(3)
]


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    """A cell with seed 0 recorded."""
    made = open_cell(tmp_path, "s-v1", "m-01234567", CONFIG)
    made.trained.write(0, ROWS, made_origin(1.5))
    return made


def complaint(call: Callable[[], object], *phrases: str) -> str:
    """The one-line message of the InputError that ``call`` raises; it must contain every phrase."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for phrase in phrases:
        assert phrase in message
    return message


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file below, apart from locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_round_trip_is_exact(cell: Cell) -> None:
    table = cell.trained.table(0)
    assert list(table) == list(COLUMNS)
    for name in COLUMNS:
        assert table[name].tolist() == [row[name] for row in ROWS]  # every digit of a float survives
    assert cell.seeds() == [0]
    assert cell.trained.provenance(0).seconds == 1.5
    assert (cell.tasks, cell.method, cell.stream, cell.label) == (3, "m:a=1", "s-v1", "s-v1/m-01234567")
    assert [found.config for found in find_cells(cell.path.parent.parent)] == [cell.config]


def test_the_table_on_disk(cell: Cell) -> None:
    lines = cell.trained.path(0).read_bytes().split(b"\n")
    assert lines[0].decode() == ",".join(COLUMNS)
    assert lines[0].startswith(b"task,online_performance,online_loss,final_performance,")
    assert lines[1].startswith(b"0,0.3333333333333333,0.25,0.2,")
    assert len(lines) == 5
    assert lines[4] == b""


def test_what_was_not_measured_is_empty_and_reads_as_nan(tmp_path: Path) -> None:
    made = open_cell(tmp_path, "s-v1", "m-0", CONFIG)
    made.trained.write(
        7, [{"task": i, "online_loss": float("nan"), "weight_norm": 1e-30} for i in range(3)], made_origin()
    )
    line = made.trained.path(7).read_text().splitlines()[1]
    assert line == "0" + 11 * "," + "1e-30" + (len(COLUMNS) - 12) * ","
    table = made.trained.table(7)
    assert np.isnan(table["online_loss"]).all()
    assert np.isnan(table["srank"]).all()
    assert table["weight_norm"].tolist() == [1e-30] * 3


def test_seeds_of_any_size_are_found_in_order(tmp_path: Path) -> None:
    made = open_cell(tmp_path, "s-v1", "m-0", CONFIG)
    for seed in (1000, 2, 30):
        made.trained.write(seed, ROWS, made_origin())
    assert made.seeds() == [2, 30, 1000]
    assert made.trained.path(1000).name == "seed-1000.csv"


def test_the_same_rows_are_the_same_bytes(cell: Cell, tmp_path: Path) -> None:
    other = open_cell(tmp_path / "again", "s-v1", "m-01234567", CONFIG)
    other.trained.write(0, [dict(reversed(row.items())) for row in ROWS], made_origin(9.0))
    assert other.trained.path(0).read_bytes() == cell.trained.path(0).read_bytes()
    assert (other.path / "config.json").read_bytes() == (cell.path / "config.json").read_bytes()


def test_a_recorded_seed_is_not_overwritten(cell: Cell) -> None:
    before = files(cell.path)
    complaint(
        lambda: cell.trained.write(0, ROWS, made_origin()), "seed-000.csv", "recorded already", "move it away"
    )
    assert files(cell.path) == before


def test_killed_between_table_and_json(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SeedRecord, "to_bytes", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            cell.trained.write(1, ROWS, made_origin())
    assert cell.trained.path(1).exists()
    assert cell.seeds() == [0]  # a table without its .json is not recorded
    complaint(
        lambda: cell.trained.write(1, ROWS[::-1], made_origin()),
        "seed-001.csv",
        "has no .json",
        "differs",
        "move it away",
    )
    cell.trained.write(1, ROWS, made_origin())
    assert cell.seeds() == [0, 1]


@pytest.mark.parametrize(
    ("name", "content", "phrase"),
    [
        ("seed-000.csv", b"task,online_performance\n0,1.0\n", "is damaged (its checksum differs"),
        ("seed-000.csv", b"", "is damaged (its checksum differs"),
        ("seed-000.csv", None, "No such file"),
        ("seed-000.json", b'{"sha256": "12', "is damaged (Unterminated string"),
        ("seed-000.json", b"\xff\xfe", "is damaged ("),
        ("seed-000.json", b"[]", "is damaged (not a JSON object)"),
        ("seed-000.json", b"{}", "seed-000.json is damaged (protocol is missing)"),
    ],
)
def test_a_damaged_table(cell: Cell, name: str, content: bytes | None, phrase: str) -> None:
    path = cell.path / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    complaint(
        lambda: cell.trained.table(0), str(cell.path), phrase, "delete seed-000.csv and .json", "run again"
    )


@pytest.mark.parametrize(
    "content",
    ["no,table\n", "", "\0", ",".join(COLUMNS) + "\n" + 3 * "0,x\n", ",".join(COLUMNS) + "\n" + 2 * "0\n"],
)
def test_no_table_though_its_checksum_fits(cell: Cell, content: str) -> None:
    write_bytes(cell.trained.path(0), content.encode())
    edit_json(cell.path / "seed-000.json", sha256=sha256(content.encode()))
    words = "seed-000.csv is not a table of 3 tasks", "delete seed-000.csv and .json"
    complaint(lambda: cell.trained.table(0), *words)


def test_one_flipped_bit_of_a_table_is_noticed(cell: Cell) -> None:
    data = cell.trained.path(0).read_bytes()
    for position in range(0, len(data), 37):
        cell.trained.path(0).write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        complaint(lambda: cell.trained.table(0), "seed-000.csv is damaged")


def changed(part: str, **entries: object) -> bytes:
    """Changes or adds entries in a part of config.json."""
    document = CONFIG.as_json()
    return json.dumps({**document, part: {**document[part], **entries}}).encode()


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (b"{", "is damaged (Expecting property name"),
        (b"", "is damaged ("),
        (b"3", "is damaged (not a JSON object)"),
        (b"\xff", "is damaged ("),
        (json.dumps({"protocol": PROTOCOL}).encode(), "is damaged (stream is missing)"),
        (
            json.dumps({"protocol": PROTOCOL, "stream": 1}).encode(),
            "is damaged (stream is 1; expected object)",
        ),
        (changed("stream", tasks="x"), 'is damaged (stream.tasks is "x"; expected int)'),
        (changed("stream", tasks=0), "is damaged (stream.tasks is 0; expected int >= 1)"),
        (changed("stream", chance=True), "is damaged (stream.chance is true; expected float)"),
        (changed("stream", chance=1), "is damaged (stream.chance is 1; this version writes 1.0)"),
        (changed("stream", more=1), "is damaged (stream.more is not an entry that this version knows)"),
        (changed("network", more=1), "is damaged (network.more is not an entry that this version knows)"),
        (changed("network", hidden=[1.5]), "is damaged (network.hidden[0] is 1.5; expected int)"),
    ],
)
def test_a_damaged_config(cell: Cell, content: bytes, phrase: str) -> None:
    (cell.path / "config.json").write_bytes(content)
    before = files(cell.path)
    runs = cell.path.parent.parent
    for call in (
        lambda: read_cell(cell.path),
        lambda: find_cells(runs),
        lambda: open_cell(runs, "s-v1", "m-01234567", CONFIG),
    ):
        complaint(call, str(cell.path / "config.json"), phrase, "move the folder away and run again")
    assert files(cell.path) == before


def test_records_without_config_are_not_taken_over(cell: Cell) -> None:
    (cell.path / "config.json").unlink()
    runs = cell.path.parent.parent
    complaint(
        lambda: open_cell(runs, "s-v1", "m-01234567", CONFIG), str(cell.path), "no config.json", "restore"
    )
    assert not (cell.path / "config.json").exists()


@pytest.mark.parametrize("protocol", [PROTOCOL + 1, 0, None, "1"])
def test_another_protocol_version(cell: Cell, protocol: object) -> None:
    edit_json(cell.path / "config.json", protocol=protocol)
    phrases = (
        str(cell.path),
        f"follows protocol {json.dumps(protocol)}, this version reads protocol {PROTOCOL}",
        "--runs",
    )
    complaint(lambda: read_cell(cell.path), *phrases)
    complaint(lambda: open_cell(cell.path.parent.parent, "s-v1", "m-01234567", CONFIG), *phrases)


def test_another_configuration(cell: Cell) -> None:
    runs, before = cell.path.parent.parent, files(cell.path)
    changed = made_config({"name": "s", "steps": 6, "settings": {"new": 1}}, METHOD)
    complaint(
        lambda: open_cell(runs, "s-v1", "m-01234567", changed),
        str(cell.path),
        "(stream.settings, stream.steps differ)",
        "move it away or choose another --runs",
    )
    assert files(cell.path) == before
    # The same configuration, and one that differs in its wording only, are the same cell.
    reworded = made_config({"name": "s", "source": "better words"}, {**METHOD, "summary": "better words"})
    assert open_cell(runs, "s-v1", "m-01234567", CONFIG).seeds() == [0]
    assert open_cell(runs, "s-v1", "m-01234567", reworded).seeds() == [0]
    assert files(cell.path) == before


def test_no_records(tmp_path: Path) -> None:
    complaint(
        lambda: find_cells(tmp_path / "runs"), f"no records in {tmp_path / 'runs'}", "plasticity_bench run"
    )


def test_a_lock_held_by_another_process(cell: Cell) -> None:
    code = (
        "import sys, pathlib; from plasticity_bench.storage.locks import locked\n"
        "from plasticity_bench.records.cells import read_cell\n"
        "with locked([pathlib.Path(sys.argv[1])]): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, cell.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        def take() -> None:
            with locked([cell.path]):
                pass

        started = time.monotonic()
        complaint(take, str(cell.path), "is being written by another process", "another --runs folder")
        assert time.monotonic() - started < 2  # at once, without waiting for the lock
        holder.kill()  # the lock of a killed process is released
        holder.wait()
        take()


def test_a_lock_that_cannot_be_made(cell: Cell) -> None:
    (cell.path / ".lock").mkdir()

    def take() -> None:
        with locked([cell.path]):
            pass

    complaint(take, f"cannot lock {cell.path}", "another --runs folder")


@pytest.mark.parametrize(
    ("damage", "phrase"),
    [
        ({"configurations": []}, "it chose a configuration that it lacks"),
        ({"chosen": 99}, "it chose a configuration that it lacks"),
        ({"chosen": -1}, "chosen is -1; expected int >= 0"),
        ({"seeds": None}, "seeds is null; expected array"),
        ({"configurations": [{"settings": 3}]}, "configurations[0].settings is 3; expected object"),
    ],
)
def test_a_damaged_sweep(tmp_path: Path, damage: dict[str, Any], phrase: str) -> None:
    cell = open_cell(tmp_path, "s-v1", "m-01234567", CONFIG, made_sweep(tuning_table("m")))
    assert cell.tuning is not None
    assert cell.tuning.choice.settings == {"lr": "0.01"}
    edit_json(cell.path / "tuning.json", **damage)
    complaint(lambda: read_cell(cell.path), "tuning.json is damaged", phrase, "move the folder away")


def test_a_seed_in_anothers_place(cell: Cell) -> None:
    for suffix in (".csv", ".json"):
        path = cell.trained.path(0).with_suffix(suffix)
        path.with_name(f"seed-009{suffix}").write_bytes(path.read_bytes())
    complaint(
        lambda: cell.trained.table(9),
        "seed-009.json is the record of seed 0 in the place of seed 9",
        "name both of its files seed-000 again",
    )
    assert cell.trained.table(0)["task"].tolist() == [0, 1, 2]
