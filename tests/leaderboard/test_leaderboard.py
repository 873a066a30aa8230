"""The leaderboard's files: ranking, ties, links, figures, and that equal records give equal files."""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path

import numpy as np
import pytest

from plasticity_bench.commands import leaderboard as command
from plasticity_bench.commands import plot
from plasticity_bench.errors import InputError
from plasticity_bench.figures.curves import spread
from plasticity_bench.records.cells import find_cells
from plasticity_bench.scoring.scoring import score
from tests.support.boards import board_of_runs
from tests.support.fake_records import tuning_table, write_cell, write_suite

PNG = b"\x89PNG\r\n\x1a\n"


def table_rows(text: str, heading: str) -> list[list[str]]:
    """The body of the first Markdown table below ``heading``."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``runs`` (the synthetic suite) and ``board`` (its leaderboard)."""
    folder = tmp_path_factory.mktemp("leaderboard")
    write_suite(folder / "runs", seeds=8, tasks=60)
    board_of_runs(folder / "runs", folder / "board")
    return folder


def test_ranks_and_links(board: Path) -> None:
    text = (board / "board" / "README.md").read_text()
    rows = table_rows(text, "permuted-digits-v1")
    scores = score(find_cells(board / "runs")).streams[0]
    assert [row[2] for row in rows] == [f"`{row.method}`" for row in scores.rows]
    places = scores.groups[0].places
    assert [row[:2] for row in rows] == [[place.text, place.range_text] for place in places]
    assert rows[0][0] == "1"
    assert rows[-1][:3] == ["-", "", "`none`"]
    assert {row[2]: row[-2] for row in rows}["`reset`"] == "yes"
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 10
    for link in links:
        assert (board / "board" / link).exists(), link
    assert "arXiv 0000.00000" in text
    assert "--runs runs --out board" in text
    assert len(table_rows(text, "All streams")) == 5


def test_significant_differences_are_bold(board: Path) -> None:
    rows = table_rows((board / "board" / "README.md").read_text(), "permuted-digits-v1")
    stream = score(find_cells(board / "runs")).streams[0]
    (group,) = stream.groups
    bold = []
    for row, place in zip(rows, group.places, strict=True):
        for text, found in ((row[8], place.none), (row[10], place.reset)):
            assert ("**" in text) == (found is not None and found.significant)
            bold.append("**" in text)
    # The suite has both: two equally good methods, and others far apart.
    assert any(bold)
    assert not all(bold[2:])


def test_ranks_by_hand(tmp_path: Path) -> None:
    ends = {
        "none": [0.3] * 8,
        "l2": [0.5] * 8,
        "syre": [0.45, 0.56] * 4,  # above l2 in the mean, not in every seed
        "regen": [0.4] * 8,
        "few": [0.6] * 5,
    }
    for method, values in ends.items():
        curves = {s: [0.6] * 5 + [end] * 5 for s, end in enumerate(values)}
        fresh = {s: [0.6] * 10 for s in curves}
        write_cell(tmp_path / "runs", method, curves, fresh=fresh)
    board_of_runs(tmp_path / "runs", tmp_path / "out")
    rows = table_rows((tmp_path / "out" / "README.md").read_text(), "permuted-digits-v1")
    assert [row[2] for row in rows] == ["`few`", "`syre`", "`l2`", "`regen`", "`none`"]
    assert [row[0] for row in rows] == ["-", "1", "1", "3", "-"]
    assert [row[1] for row in rows[1:]] == ["1-2", "1-2", "3", ""]
    # 2 of 2^8 sign patterns are as extreme as all seeds lower than their twins.
    assert rows[3][4:7] == ["0.600 [0.600, 0.600]", "0.600 [0.600, 0.600]", "**0.008**"]
    # The same of all seeds higher than those of none; reset is not recorded.
    assert rows[3][7:12] == ["0.200 [0.200, 0.200]", "**0.008**", "", "", "1.000 [1.000, 1.000]"]
    assert rows[0][7:12] == rows[4][7:12] == [""] * 5


def test_tuned_and_default_rows_compete_apart(tmp_path: Path) -> None:
    for method, end in {"none": 0.3, "l2": 0.4, "syre": 0.5}.items():
        curves = {seed: [0.6] * 5 + [end + seed / 100] * 5 for seed in range(8)}
        fresh = {seed: [0.6] * 10 for seed in range(8)}
        write_cell(tmp_path / "runs", method, curves, fresh=fresh)
        curves = {seed: [0.6] * 5 + [end + 0.05 - seed / 200] * 5 for seed in range(8)}
        tuning = tuning_table(method)
        write_cell(tmp_path / "runs", f"{method}:lr=0.01", curves, tuning=tuning, fresh=fresh)
    board_of_runs(tmp_path / "runs", tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    tuned, default = text.split("### permuted-digits-v1: ")[1:3]
    assert tuned.startswith("tuned, the same number of configurations for every method")
    for part, mark in ((tuned, " (tuned)"), (default, "")):
        lines = [line.split(" | ") for line in part.splitlines() if line.startswith("| ") and "`" in line]
        body = [line for line in lines if line[2] != "method"]
        assert [line[2] for line in body] == [f"`{name}{mark}`" for name in ("syre", "l2", "none")]
        assert [line[0] for line in body] == ["| 1", "| 2", "| -"]
    assert "`lr=0.01` | 2 x 3 |" in tuned
    assert "2 x 3" not in default


def test_csv_files(board: Path) -> None:
    with open(board / "board" / "leaderboard.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    scores = score(find_cells(board / "runs"))
    summary = scores.streams[0].rows[0].summary["level"]
    names = ("level", "level_low", "level_high")
    np.testing.assert_allclose([float(rows[0][name]) for name in names], summary, rtol=1e-8)
    with open(board / "board" / "scores-per-seed.csv") as file:
        seeds = list(csv.DictReader(file))
    assert len(seeds) == 10 * 8
    own = [
        float(row["trend"]) for row in seeds if (row["stream"], row["method"]) == (rows[0]["stream"], "none")
    ]
    none = scores.streams[0].row("none")
    assert none is not None
    np.testing.assert_allclose(own, none.values["trend"], rtol=1e-8)


def test_figures_are_drawn(board: Path) -> None:
    figures = sorted(path.name for path in (board / "board" / "figures").iterdir())
    assert figures == [
        "aggregate.png",
        "diagnostics.png",
        "heat-map.png",
        "learning-curves-permuted-digits-v1.png",
        "learning-curves-random-labels-v1.png",
        "level.png",
        "performance-profiles.png",
        "plasticity-loss-permuted-digits-v1.png",
        "plasticity-loss-random-labels-v1.png",
        "ranks-over-tasks.png",
        "retention.png",
        "score-and-cost.png",
    ]
    import matplotlib.image

    for name in figures:
        path = board / "board" / "figures" / name
        assert path.read_bytes().startswith(PNG)
        pixels = matplotlib.image.imread(path)[..., :3]
        assert pixels.shape[0] > 300
        assert pixels.shape[1] > 600
        # Not blank: ink, and coloured ink.
        assert (pixels < 0.5).any(axis=-1).mean() > 0.005
        assert ((pixels.max(axis=-1) - pixels.min(axis=-1)) > 0.3).mean() > 0.0004


def test_equal_records_give_equal_files(board: Path) -> None:
    board_of_runs(board / "runs", board / "again")
    for path in sorted((board / "board").rglob("*")):
        if path.is_file():
            other = board / "again" / path.relative_to(board / "board")
            expected = path.read_bytes().replace(b"--out board", b"--out again")
            assert other.read_bytes() == expected, path.name


def test_single_seed_without_references(tmp_path: Path) -> None:
    write_cell(tmp_path / "runs", "l2", {0: [0.5, 0.4, 0.3]})
    board_of_runs(tmp_path / "runs", tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert table_rows(text, "permuted-digits-v1")[0][:6] == ["-", "", "`l2`", "1", "-", "-"]
    assert "needs none" in text
    assert "no fresh twins" in text
    assert "## All streams" not in text


def test_commands(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    plot.configure(parser)
    words = ["--runs", str(board / "runs"), "--stream", "random-labels", "--out", str(board / "figures")]
    assert plot.run(parser.parse_args(words)) == 0
    names = ["diagnostics", "learning-curves-random-labels-v1", "level"]
    names += ["plasticity-loss-random-labels-v1", "retention", "score-and-cost"]
    expected = [f"{name}{suffix}" for name in names for suffix in (".png", ".svg")]
    assert sorted(path.name for path in (board / "figures").iterdir()) == expected
    assert "(12 of 12, about 0 s left)" in capsys.readouterr().out
    parser = argparse.ArgumentParser()
    command.configure(parser)
    assert command.run(parser.parse_args([*words[:-1], str(board / "one")])) == 0
    text = (board / "one" / "README.md").read_text()
    assert "permuted-digits" not in text
    assert "--stream random-labels`" in text


def test_no_records(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no records in"):
        board_of_runs(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_do_not_overlap() -> None:
    heights = np.full(5, 0.1)
    placed = spread(np.array([0.5, 0.5, 0.5, 0.9, 1.0]), heights)
    assert (np.diff(placed) >= 0.1 - 1e-12).all()
    assert placed[0] >= 0
    assert placed[-1] <= 1
    np.testing.assert_allclose(placed[:3], [0.4, 0.5, 0.6])
    # Labels with enough room are not moved.
    apart = np.array([0.1, 0.4, 0.9])
    np.testing.assert_allclose(spread(apart, heights[:3]), apart)
