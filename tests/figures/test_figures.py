"""The figures: which rows are coloured, tuned and default rows, sweeps, and the places of panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.image
import numpy as np
import pytest

from plasticity_bench.figures import intervals, overview
from plasticity_bench.figures.curves import curves_of
from plasticity_bench.figures.drawing import draw_functions, save_figures
from plasticity_bench.figures.panels import Room, pack_panels
from plasticity_bench.figures.styles import (
    WELL_KNOWN_COLOURS,
    by_method,
    one_each,
    split,
    styles_of,
    styles_on,
)
from plasticity_bench.processes.workers import Workers
from plasticity_bench.records.cells import find_cells, open_cell, read_cell
from plasticity_bench.scoring.scores import Scores
from plasticity_bench.scoring.scoring import score
from tests.support.boards import board_of_runs
from tests.support.documents import made_origin, made_sweep
from tests.support.fake_records import learning_curves, tuning_table, write_cell, write_suite

TRIED = [0.72, 0.75, None, -3.0]


class Named(NamedTuple):
    method: str


def rows_of(*methods: str) -> list[Named]:
    return [Named(method) for method in methods]


def add_tuned(runs: Path, stream: str, method: str, end: float, tried: Sequence[float | None]) -> None:
    """Adds a method's tuned row, chosen among configurations with these scores."""
    (plain,) = runs.glob(f"{stream}-v1/{method}-0123abcd")
    config = read_cell(plain).config
    known = [-9.0 if value is None else value for value in tried]
    tuning = tuning_table(method, known, stream)
    for row, value in zip(tuning["configurations"], tried, strict=True):
        row["score"] = value
    cell = open_cell(runs, f"{stream}-v1", plain.name, config, made_sweep(tuning))
    for seed, values in learning_curves(0.74, end, range(6), 60).items():
        rows: list[dict[str, Any]] = [{"task": i, "online_performance": v} for i, v in enumerate(values)]
        cell.trained.write(seed, rows, made_origin(1.0, 6))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two streams with five methods, of which two are tuned on both."""
    folder = tmp_path_factory.mktemp("figures") / "runs"
    write_suite(folder, seeds=6, tasks=60)
    for stream in ("permuted-digits", "random-labels"):
        add_tuned(folder, stream, "none", 0.66, [0.6, 0.66])
        add_tuned(folder, stream, "syre", 0.76, TRIED)
    return folder


@pytest.fixture(scope="module")
def scores(runs: Path) -> Scores:
    return score(find_cells(runs))


def test_references_the_best_and_the_best_known_are_coloured() -> None:
    others = [f"m{i}" for i in range(20)]
    rows = rows_of(*others[:10], "reset", "syre", *others[10:], "l2", "none")
    shown, rest = split(rows)
    assert [row.method for row in shown] == [
        "m0",
        "m1",
        "m2",
        "m3",
        "m4",
        "m5",
        "reset",
        "syre",
        "l2",
        "none",
    ]
    assert sorted(shown + rest) == sorted(rows)
    # A label that occurs twice is drawn twice, not three times.
    assert len(split(rows_of("a", "a", "b"))[0]) == 3


def test_a_tuned_row_stands_for_its_method() -> None:
    plain = list(WELL_KNOWN_COLOURS)
    rows = rows_of(*[f"{method} (tuned)" for method in plain], "none (tuned)", *plain, "none", "reset")
    shown, rest = split(rows)
    assert [row.method for row in shown] == [*(f"{method} (tuned)" for method in plain), "none", "reset"]
    assert len(rest) == len(plain) + 1
    # With few methods there is room for both.
    both = rows_of("l2 (tuned)", "l2", "none")
    assert split(both) == (both, [])
    assert [row.method for row in one_each(rows)][-3:] == ["none (tuned)", "none", "reset"]
    assert len(one_each(rows)) == len(plain) + 3
    assert [len(members) for members in by_method(rows).values()] == [2] * (len(plain) + 1) + [1]


def test_tuned_and_default_share_a_colour(scores: Scores) -> None:
    styles = styles_of(scores.streams)
    tuned, default = styles["syre (tuned)"], styles["syre"]
    assert tuned.color == default.color == WELL_KNOWN_COLOURS["syre"]
    assert tuned.linestyle == "-" != default.linestyle
    assert tuned.face == tuned.color
    assert default.face == "white"
    lines = {(style.color, style.linestyle) for style in styles.values()}
    assert len(lines) == len(styles)


def test_untuned_rows_alone_are_solid(scores: Scores) -> None:
    stream = scores.streams[0]
    styles = styles_of(scores.streams)
    assert styles_on(stream, styles) == styles
    default = replace(stream, rows=tuple(row for row in stream.rows if row.cell.tuning is None))
    both = {row.method for row in stream.rows if f"{row.method} (tuned)" in styles} & {"l2", "none"}
    assert both
    for method in both:
        assert styles[method].linestyle != "-"
        assert styles_on(default, styles)[method] == styles[f"{method} (tuned)"]


def test_a_method_has_one_line_of_intervals(scores: Scores) -> None:
    panels = intervals.lines_of(scores.streams, styles_of(scores.streams), "level")
    assert list(panels) == ["permuted-digits", "random-labels"]
    for lines, stream in zip(panels.values(), scores.streams, strict=True):
        assert {line.method: len(line.intervals) for line in lines} == {
            "syre": 2,
            "none": 2,
            "reset": 1,
            "l2:strength=0.01": 1,
            "shrink-perturb": 1,
        }
        best = max(row.summary["level"].point for row in stream.rows)
        assert lines[0].intervals[0][0].point == best
        # Filled and hollow as tuned and not.
        (syre,) = [line for line in lines if line.method == "syre"]
        assert {style.filled for _, style in syre.intervals} == {True, False}


def test_sweeps_as_levels(tmp_path: Path) -> None:
    fresh = {seed: [0.9] * 30 + [0.5] * 30 for seed in range(2)}
    write_cell(tmp_path, "none", {seed: [0.3] * 60 for seed in range(2)}, fresh=fresh)
    write_cell(tmp_path, "syre", {seed: [0.5] * 60 for seed in range(2)})
    add_tuned(tmp_path, "permuted-digits", "syre", 0.5, [0.3, None, 0.7])
    (stream,) = score(find_cells(tmp_path)).streams
    (swept,) = intervals.swept_of(stream)
    assert (swept.method, swept.default, swept.chosen) == ("syre", 0, 2)
    # Chance is 0.1 and fresh twins of none reach 0.5 on the late tasks.
    np.testing.assert_allclose(swept.scores, [0.5, np.nan, 1.5])
    (alone,) = score([cell for cell in find_cells(tmp_path) if cell.method != "none"]).streams
    assert intervals.swept_of(alone) == []


def test_sweeps_come_with_the_best_choice_first(scores: Scores) -> None:
    for stream in scores.streams:
        assert [swept.method for swept in intervals.swept_of(stream)] == ["syre", "none"]


def test_tables_of_the_heat_map(scores: Scores) -> None:
    methods, tables = overview.tables_of(scores, scores.streams)
    assert list(tables) == ["default settings", "tuned"]
    for index, stream in enumerate(scores.streams):
        for title, suffix in (("default settings", ""), ("tuned", " (tuned)")):
            for method, value in zip(methods, tables[title][1][:, index], strict=True):
                row = stream.row(f"{method}{suffix}")
                known = row.summary["level"].point if row else np.nan
                np.testing.assert_equal(value, known)
    assert np.isnan(tables["tuned"][1]).sum() == 6


def test_grey_curves_are_means(scores: Scores) -> None:
    stream = scores.streams[0]
    curves = curves_of(stream, styles_of(scores.streams)).curves
    assert set(curves) == {"performance", "dormant_fraction", "effective_rank"}
    assert len(curves["performance"]) == 7
    for curve in curves["performance"]:
        row = stream.row(curve.method)
        assert row is not None
        np.testing.assert_array_equal(curve.values, row.curves["performance"])
        assert curve.tasks.tolist() == list(range(1, 61))
    # Only rows with diagnostics are shown; the tuned rows of this suite have none.
    assert [curve.tasks.tolist() for curve in curves["effective_rank"]] == [[10, 20, 30, 40, 50, 60]] * 5


def test_figures_of_tuned_rows(scores: Scores, tmp_path: Path) -> None:
    names = set(draw_functions(scores))
    assert {"sensitivity", "aggregate", "heat-map", "level", "retention"} <= names
    save_figures(scores, tmp_path, [".png"], lambda text: None)
    for name in ("sensitivity", "aggregate"):
        pixels = matplotlib.image.imread(tmp_path / f"{name}.png")[..., :3]
        coloured = (pixels.max(axis=-1) - pixels.min(axis=-1)) > 0.3
        assert coloured.mean() > 0.0004, name
        # Nothing reaches the edge: it would be cut off.
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edge == 1).all(), name


def test_equal_files_from_one_process_and_from_several(runs: Path, tmp_path: Path) -> None:
    board_of_runs(runs, tmp_path / "one" / "board")
    with Workers(2, least=2) as workers:
        board_of_runs(runs, tmp_path / "two" / "board", workers=workers)
    files = [path for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()]
    assert len(files) > 12
    for path in files:
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        # The README and the tables contain relative paths to the records, which are equal for both folders.
        assert other.read_bytes() == path.read_bytes(), path.name


def test_panels_do_not_overlap() -> None:
    heights = [2.0, 1.0, 7.0, 0.5, 3.0]
    room = Room(left=1.0, right=0.2, top=0.3, bottom=0.5)
    figure, panels = pack_panels(heights, 3.0, room, columns=3, head=0.4)
    width, height = figure.get_size_inches()
    assert width == pytest.approx(3 * 4.2)
    # The highest panel has its own column, and the figure is not higher than needed.
    assert height == pytest.approx(7.0 + 0.8 + 0.4)
    boxes = []
    for axes, wanted in zip(panels, heights, strict=True):
        box = axes.get_position()
        assert box.height * height == pytest.approx(wanted)
        assert box.width * width == pytest.approx(3.0)
        left, right = box.x0 * width - room.left, box.x1 * width + room.right
        low, high = box.y0 * height - room.bottom, box.y1 * height + room.top
        assert left >= -1e-9
        assert right <= width + 1e-9
        assert low >= -1e-9
        assert high <= height - 0.4 + 1e-9
        boxes.append((left, right, low, high))
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            apart = a[1] <= b[0] + 1e-9 or b[1] <= a[0] + 1e-9 or a[3] <= b[2] + 1e-9 or b[3] <= a[2] + 1e-9
            assert apart
