"""Commands that read records open nothing but data, whatever the records name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticity_bench.cli import COMMANDS, main
from plasticity_bench.records.cells import open_cell
from plasticity_bench.records.names import recorded_stream_folder
from tests.support.documents import made_config, made_origin

MARK = "code-was-run"
EVIL = f"open({MARK!r}, 'w').close()\n"

#: The commands that read records -> their arguments. CELL: the folder of a cell.
READING: dict[str, tuple[str, ...]] = {
    "watch": ("watch", "CELL"),
    "score": ("score",),
    "report": ("report",),
    "plot": ("plot",),
    "compare": ("compare", "CELL", "CELL"),
    "status": ("status",),
    "track": ("track", "runs", "--to", "tensorboard"),
    "verify": ("leaderboard", "--verify", "out"),
    "leaderboard": ("leaderboard", "--runs", "runs", "--out", "board"),
    "cancel": ("cancel",),
}
#: The others, which run the code that their arguments name.
RUNNING = {"run", "sweep", "check", "submit", "new", "list", "doctor"}


class Hostile:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (MARK,)


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a cell that names code wherever it can, below a folder with that code."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "evil.py").write_text(EVIL)
    stream = {"name": "avalanche:evil.py:make", "label": "avalanche:evil.py:make", "unit": "return"}
    method = {"name": "evil.py:Evil", "label": "evil.py:Evil", "source": "evil.py:Evil", "digest": "0" * 64}
    config = made_config(stream, method)
    folder = recorded_stream_folder(stream["name"], 1, stream["label"])
    made = open_cell(root / "runs", folder, "evil-01234567", config, sources={"evil.py": EVIL.encode()})
    rows = [{"task": task, "online_performance": 0.5, "online_loss": 1.0} for task in range(3)]
    for seed in (0, 1):
        made.trained.write(seed, [{**row, "weight_norm": seed} for row in rows], made_origin(1.0, 16, "cpu"))
    torch.save(Hostile(), made.path / "seed-000.policy.pt")
    torch.save(Hostile(), made.path / "checkpoint-2.pt")
    (root / "out" / "evil").mkdir(parents=True)
    os.symlink(root / "evil.py", root / "out" / "evil" / "method.py")
    (root / "runs").rename(root / "out" / "evil" / "records")

    shutil.copytree(root / "out" / "evil" / "records", root / "runs")
    return root / "runs" / folder / "evil-01234567"


@pytest.mark.parametrize("command", READING)
def test_reading_runs_no_code(
    cell: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    root = cell.parents[2]
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))
    code = main([str(cell.relative_to(root)) if word == "CELL" else word for word in READING[command]])
    assert not Path(MARK).exists()
    assert code in (0, 1, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_every_command_reads_or_runs() -> None:
    assert {arguments[0] for arguments in READING.values()} | RUNNING == set(COMMANDS)


def test_a_policy_is_data(cell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file itself is refused, not only the stream next to it."""
    from plasticity_bench.errors import InputError
    from plasticity_bench.playback import _policy
    from plasticity_bench.records.cells import read_cell

    monkeypatch.chdir(cell)
    with pytest.raises(InputError, match="is damaged"):
        _policy(read_cell(cell), 0)
    assert not Path(MARK).exists()
