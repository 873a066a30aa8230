"""Bad input to ``submit`` and ``leaderboard``: one clear line, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from plasticity_bench.cli import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["l3"], 'unknown method "l3"'),
        (["l2", "--seeds", "0"], "--seeds 0: write how many"),
        (["l2", "--seeds", "0-3"], "invalid int value"),
        (["l2", "--suite", "quik"], 'unknown suite "quik"'),
        (["l2", "--stream", "digits"], 'unknown stream "digits"'),
        (["l2", "--set", "strenth=1"], 'no setting "strenth"'),
        (["l2", "--name", "../../x"], '"../../x" cannot name a submission'),
        (["l2", "--by", "a\nb"], "--by: one line"),
        (["l2", "--link", "x" * 300], "--link: one line"),
        (["l2", "--jobs", "0"], "--jobs 0: at least one process"),
        ([], "the following arguments are required: METHOD"),
    ],
)
def test_bad_input_to_submit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    places = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    assert main(["submit", *arguments, *places]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--verify", "nowhere"], "nowhere is not a folder of submissions"),
        (["nowhere"], "PATH goes with --verify"),
        (["--verify", "--runs", "runs"], "--runs holds no submissions"),
        (["--verify", "--rescore"], "not allowed with argument"),
        (["--runs", "runs", "--submissions", "x"], "not allowed with argument"),
        (["--replay", "0"], "--replay is at least 1"),
        (["--submissions", "nowhere"], "nowhere is not a folder of submissions"),
    ],
)
def test_bad_input_to_leaderboard(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["leaderboard", *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
