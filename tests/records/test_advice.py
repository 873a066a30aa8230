"""What cannot be read may be sound: no advice destroys it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from plasticity_bench.errors import InputError
from plasticity_bench.playback import _policy
from plasticity_bench.records.cells import Cell, read_cell
from plasticity_bench.records.checkpoints import load_checkpoint
from tests.support.fake_records import write_cell
from tests.support.paths import REPOSITORY

READ: dict[str, Callable[[Cell], object]] = {
    "config.json": lambda cell: read_cell(cell.path),
    "seed-000.csv": lambda cell: cell.trained.table(0),
    "seed-000.json": lambda cell: cell.trained.provenance(0),
    "fresh-000.csv": lambda cell: cell.fresh.table(0),
    "seed-000.policy.pt": lambda cell: _policy(cell, 0),
    "checkpoint-2.pt": lambda cell: load_checkpoint(cell.path / "checkpoint-2.pt", None, "cpu"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")]
)
def test_no_advice_to_delete_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: OSError
) -> None:
    cell = write_cell(tmp_path, "l2", {0: [0.5] * 4}, fresh={0: [0.5] * 4})
    path = cell.path / name
    path.touch()
    whole = Path.read_bytes

    def read_bytes(found: Path) -> bytes:
        if found.name == name:
            raise error
        return whole(found)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(InputError) as caught:
        READ[name](cell)
    message = str(caught.value)
    assert message.startswith(f"cannot read {path}: {error.strerror}; ")
    assert "make it a file that you can read" in message
    assert not re.search("delete|move|again|damaged", message.removeprefix(f"cannot read {path}"))


def test_a_renamed_config_is_to_be_restored(tmp_path: Path) -> None:
    cell = write_cell(tmp_path, "l2", {0: [0.5] * 4})
    (cell.path / "config.json").rename(cell.path / "config.json.old")
    with pytest.raises(InputError, match="restore it: is it there under another name") as caught:
        read_cell(cell.path)
    assert "move" not in str(caught.value)


def test_a_table_whose_line_ends_changed_is_not_to_be_trained_again(tmp_path: Path) -> None:
    cell = write_cell(tmp_path, "l2", {0: [0.5] * 4})
    path = cell.trained.path(0)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(InputError, match="sound but for its line ends, which are CRLF") as caught:
        cell.trained.table(0)
    assert "delete" not in str(caught.value)


def test_git_does_not_change_the_bytes_of_records() -> None:
    records = ["leaderboard/submissions/l2/method.json", "leaderboard/leaderboard.csv"]
    done = subprocess.run(
        ["git", "check-attr", "text", *records], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"{name}: text: unset" for name in records]
