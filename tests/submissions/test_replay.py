"""``leaderboard --replay``: what it draws, what it compares, and that submitted code needs --trust."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError
from plasticity_bench.records.tables import YOUNGER_COLUMNS
from plasticity_bench.submissions.replay import Pair, draw_pairs, plan_of, replay
from plasticity_bench.submissions.verify import verify
from plasticity_bench.submissions.writer import rescore
from tests.support.plugins import GOOD
from tests.support.submission_bench import FOLDER, ORIGIN, STREAM, edit_json, submit
from tests.support.submission_damage import change, without_columns


def test_replay_of_made_up_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All files are consistent, so only training finds the fraud. With other versions a difference proves
    nothing, so it is reported but does not fail."""
    out = tmp_path / "out"
    submit(out, tmp_path / "runs", "l2", seeds=1, twins=False)
    places = ["--device", "cpu", "--jobs", "1", str(out)]
    assert main(["leaderboard", "--replay", "1", *places]) == 0
    text = capsys.readouterr().out
    assert f"l2, {FOLDER}, seed 0: differs from task 0 on; score by " in text
    assert "  online_performance: at most 0." in text
    assert f"(recorded: {ORIGIN.versions.torch})" in text

    import numpy
    import torch

    (provenance,) = (out / "l2").rglob("seed-000.json")
    edit_json(
        provenance,
        versions__torch=torch.__version__,
        versions__numpy=numpy.__version__,
        hardware={
            "machine": os.uname().machine,
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "accelerator": None,
        },
    )
    rescore([out / "l2"])
    assert main(["leaderboard", "--replay", "1", *places]) == 1
    assert "1 of 1 score differently by more than 1% on the same versions" in capsys.readouterr().err


def test_columns_that_the_recorded_table_lacks_are_not_compared(tmp_path: Path) -> None:
    """The younger columns of a table without them."""
    from plasticity_bench.submissions.replay import _compare

    out = tmp_path / "out"
    submit(out, tmp_path / "runs", "l2", seeds=2)
    again = verify([out]).submissions[0].streams[FOLDER].cell
    folder = tmp_path / "older" / "l2"
    shutil.copytree(out / "l2", folder)
    change("online_loss", "7.0", 2)(folder)
    change("cloned_fraction", "0.25", 0)(folder)
    for without, wanted in (((), {"online_loss", "cloned_fraction"}), (YOUNGER_COLUMNS, {"online_loss"})):
        without_columns(*without)(folder)
        rescore([folder])
        (submission,) = verify([folder.parent]).submissions
        outcome = _compare(Pair(submission, FOLDER, 1), again)
        compared = outcome.tables[0]  # the seed's own; the other is of its fresh twins
        assert set(compared.largest) == wanted
        assert compared.first_task == (2 if without else 0)


def test_draw_pairs(tmp_path: Path) -> None:
    for method in ("l2", "syre:sigma=0.0123456789", "layer-norm+l2:strength=0.5"):
        submit(tmp_path / "out", tmp_path / "runs", method, streams=(STREAM, "bit-flip:tasks=4"))
    submissions = verify([tmp_path / "out"]).submissions
    pairs = draw_pairs(submissions, 100, seed=1)
    assert len({(pair.submission.name, pair.stream, pair.seed) for pair in pairs}) == 12
    assert [pair[1:] for pair in draw_pairs(submissions, 4, seed=2)] == [
        pair[1:] for pair in draw_pairs(submissions[::-1], 4, seed=2)
    ]
    counts = dict.fromkeys(("bit-flip-v1_tasks=4", FOLDER), 0)
    for seed in range(200):
        (pair,) = draw_pairs(submissions, 1, seed)
        counts[pair.stream] += 1
    assert 70 < counts[FOLDER] < 130  # 100 expected of a uniform draw, deviation 7
    assert {pair.stream for pair in draw_pairs(submissions, 100, 0, [FOLDER])} == {FOLDER}
    with pytest.raises(InputError, match="hold no seed of these streams"):
        draw_pairs(submissions, 1, 0, ["ant-v1"])
    # The plan has all digits of the settings, which labels do not.
    for submission in submissions:
        plan = plan_of(submission, FOLDER)
        assert dict(plan.method.settings) == submission.recorded.settings
        assert dict(plan.stream.settings) == {"tasks": 3, "sgd": 0.0}


def test_submitted_code_is_not_run_without_trust(tmp_path: Path) -> None:
    from rich.console import Console

    (tmp_path / "noise.py").write_text(GOOD)
    submit(tmp_path / "out", tmp_path / "runs", f"{tmp_path}/noise.py:Noise")
    mark = tmp_path / "out" / "noise" / "source" / "noise.py"
    mark.write_text(GOOD + "\nraise SystemExit('imported')\n")
    (submission,) = verify([tmp_path / "out"]).submissions
    with pytest.raises(InputError, match="add --trust"):
        replay([draw_pairs([submission], 1, 0)[0]], 1, ["cpu"], Console(stderr=True), trust=False)
