"""A method that diverges: every command that shows its results says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plasticity_bench.api.results import load
from tests.support.here import run_here
from tests.support.plugins import GOOD

#: Its weights become nan in the middle of the second task: a task has 112 updates. Fresh twins are shorter.
BREAKS = GOOD.replace("Noise", "Breaks").replace('"noise"', '"breaks"').partition("    def setup")[0] + (
    "    updates = 0\n\n"
    "    def after_update(self, layers, optimizer):\n"
    "        self.updates += 1\n"
    "        if self.updates > 150:\n"
    "            layers[0].weight.fill_(float('nan'))\n"
)
STREAM = "permuted-digits:tasks=3"
SAID = "not finite from task 1 on (seed 0): counted as chance from there on, diagnostics unknown"


def test_every_view_says_that_a_method_diverged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("breaks.py").write_text(BREAKS)
    place = ("--stream", STREAM, "--seeds", "1", "--device", "cpu", "--jobs", "1")

    def shown(*command: str) -> str:
        done = run_here(*command)
        assert done.returncode == 0, done.stderr
        return " ".join(done.stdout.split())

    note = f"breaks: {SAID}"
    assert note in shown("run", "--method", "breaks.py:Breaks", "--no-references", *place)
    text = shown("score")
    assert note in text
    for number in ("dormant_fraction", "effective_rank", "weight_norm"):
        assert load("runs").scores()[number].isna().all()
    assert json.loads(shown("score", "--json"))["streams"][0]["methods"][0]["not_finite_from"] == {"0": 1}
    assert note in " ".join(repr(load("runs")).split())
    shown("report", "--out", "report.html")
    assert note in Path("report.html").read_text()
    assert f"note: {note}" in shown("compare", "breaks", "breaks")
    assert json.loads(shown("compare", "breaks", "breaks", "--json"))["notes"] == {
        "permuted-digits-v1_tasks=3": [note, note]
    }
    assert f"note: {SAID}" in shown("submit", "breaks.py:Breaks", "--out", "out", *place)
    assert SAID in shown("leaderboard", "--verify", "out")
    again = shown("leaderboard", "--replay", "1", "out", "--trust", "--device", "cpu", "--jobs", "1")
    assert SAID in again
    assert "bit-identical" in again
