"""Jobs whose workers are killed at random moments: all finish, and none is recorded twice.

Their tables equal those of an undisturbed pass. ``benchmarks/kill_storm.py`` runs a thousand jobs."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from plasticity_bench.running.plan import CHECKPOINT_SECONDS
from tests.support.here import no_workers
from tests.support.paths import REPOSITORY
from tests.support.scripts import load

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")

tool = load(REPOSITORY / "benchmarks" / "kill_storm.py")


def test_a_small_storm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINT_SECONDS, "0.1")
    jobs = tool.plans(8, "bit-flip:tasks=4")
    with no_workers():
        calm = tool.train(tmp_path / "calm", jobs, 2, None)
    assert (calm.passes, calm.errors, calm.twice, calm.retried) == (1, (), 0, 0)
    wanted = tool.tables(tmp_path / "calm")
    assert len(wanted) == 16
    storm = tool.train(tmp_path / "storm", jobs, 2, tool.Storm(2.0, random.Random(3), most=4))
    assert storm.errors == ()
    assert storm.kills >= 2
    assert storm.twice == 0
    assert tool.tables(tmp_path / "storm") == wanted
    assert tool.leftovers(tmp_path / "storm") == []


def test_a_replaced_record_is_noticed(tmp_path: Path) -> None:
    cell = tmp_path / "stream" / "cell"
    cell.mkdir(parents=True)
    with tool.RecordWatch(tmp_path) as watch:
        for seed in (0, 1):
            (cell / f"seed-00{seed}.json").write_text("{}")
        watch.look()
        (cell / "new").write_text("{}")
        (cell / "new").replace(cell / "seed-001.json")
    assert watch.twice == {cell / "seed-001.json"}
