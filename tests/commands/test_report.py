"""Scores in the terminal: the table, the JSON, and the commands `score` and `compare`."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from plasticity_bench.commands import compare
from plasticity_bench.commands import score as score_command
from plasticity_bench.errors import InputError
from plasticity_bench.scoring.scoring import score
from plasticity_bench.stats.bootstrap import Interval
from plasticity_bench.terminal import interval_text, number, print_scores, to_json
from tests.support.fake_records import write_cell, write_suite

NAN = float("nan")


def test_number_texts() -> None:
    assert [number(value) for value in (0.12345, -0.0001, 12.345, 12345.6, NAN)] == [
        "0.123",
        "0.000",
        "12.3",
        "12346",
        "-",
    ]
    assert interval_text(Interval(0.5, 0.4, 0.6)) == "0.500 [0.400, 0.600]"
    assert interval_text(Interval(0.5, NAN, NAN)) == "0.500"


def test_table_is_plain_ranked_and_fits(tmp_path: Path) -> None:
    cells = write_suite(tmp_path, seeds=6, tasks=40)
    text = io.StringIO()
    print_scores(cells, Console(file=text, width=100, highlight=False))
    lines = text.getvalue().splitlines()
    assert "\x1b" not in text.getvalue()
    assert max(map(len, lines)) <= 100
    methods = ["syre", "shrink-perturb", "l2:strength=0.01", "reset", "none"]
    places = [next(i for i, line in enumerate(lines) if f" {method} " in line) for method in methods]
    assert places[0] < min(places[1:3])
    assert max(places[:3]) < places[3] < places[4]
    ranks = [lines[place].split()[0] for place in places]
    (group,) = score(cells).streams[0].groups
    shown = {row.method: place for row, place in zip(group.rows, group.places, strict=True)}
    assert ranks == [shown[method].text for method in methods]
    assert ranks[0] == "1"
    assert ranks[3:] == ["-", "-"]
    assert lines[places[0]].split()[1] == shown["syre"].range_text


def test_json_round_trips_with_every_seed(tmp_path: Path) -> None:
    cells = write_suite(tmp_path, seeds=3, tasks=20)
    scores = score(cells)
    found = json.loads(json.dumps(to_json(scores), allow_nan=False))
    row = found["streams"][0]["methods"][0]
    assert row["method"] == scores.streams[0].rows[0].method
    assert row["metrics"]["level"]["per_seed"] == pytest.approx(
        {str(seed): value for seed, value in scores.streams[0].rows[0].by_seed("level").items()}
    )
    assert row["metrics"]["level"]["n"] == 3
    assert len(found["aggregate"]) == 5
    assert [entry["rank"] for entry in found["aggregate"]] == [None] * 5  # 3 seeds


def compare_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, dict]]:
    parser = argparse.ArgumentParser()
    compare.configure(parser)
    assert compare.run(parser.parse_args([*words, "--json"])) == 0
    return json.loads(capsys.readouterr().out)["streams"]


def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fresh = {seed: [0.6] * 3 for seed in range(3)}
    write_cell(tmp_path, "none", {seed: [0.6, 0.5, 0.3] for seed in range(3)}, fresh=fresh)
    l2 = write_cell(tmp_path, "l2:strength=0.1", {seed: [0.6, 0.5, 0.4] for seed in range(1, 5)})
    by_label = compare_json(capsys, "l2:strength=0.1", "none", "--runs", str(tmp_path))
    entry = by_label["permuted-digits-v1"]["level"]
    # Of the late tasks 1 and 2, the second is learned better by 0.1; twins of none reach 2 x 0.5.
    assert entry["difference"]["point"] == pytest.approx(0.1)
    assert (entry["seeds"], entry["a_is"]) == (2, "higher")
    assert entry["p"] == 0.5  # of the four ways to exchange two seeds, two are as extreme
    assert compare_json(capsys, str(l2.path), "none", "--runs", str(tmp_path)) == by_label
    with pytest.raises(InputError, match='did you mean "none"'):
        compare_json(capsys, "nome", "none", "--runs", str(tmp_path))


def test_compare_needs_a_common_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cell(tmp_path, "none", {0: [0.6, 0.5, 0.3]}, stream="a")
    write_cell(tmp_path, "l2", {0: [0.6, 0.5, 0.3]}, stream="b")
    with pytest.raises(InputError, match="no stream in common: a-v1 against b-v1"):
        compare_json(capsys, "none", "l2", "--runs", str(tmp_path))


def test_score_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_suite(tmp_path, seeds=2, tasks=20)
    parser = argparse.ArgumentParser()
    score_command.configure(parser)
    words = ["--runs", str(tmp_path), "--stream", "random-labels"]
    assert score_command.run(parser.parse_args([*words, "--json"])) == 0
    assert [s["stream"] for s in json.loads(capsys.readouterr().out)["streams"]] == ["random-labels-v1"]
    assert score_command.run(parser.parse_args(words)) == 0
    assert "random-labels-v1" in capsys.readouterr().out


def test_commands_import_nothing_heavy() -> None:
    names = ("score", "compare", "plot", "report", "leaderboard")
    lines = ["import sys", *(f"import plasticity_bench.commands.{name}" for name in names)]
    lines.append("sys.exit(bool({'numpy', 'rich', 'pandas', 'matplotlib', 'torch'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False).returncode == 0
