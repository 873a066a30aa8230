"""Scores over streams, on small tables whose scores can be computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plasticity_bench.records.cells import find_cells
from plasticity_bench.scoring.scoring import score
from tests.scoring.test_scoring import NAN, flat, ramp
from tests.support.fake_records import write_cell


def test_ranking_and_aggregate(tmp_path: Path) -> None:
    seeds = range(4)
    for stream, ends in (("a", {"none": 0.3, "l2": 0.7, "syre": 0.4}), ("b", {"none": 0.2, "l2": 0.3})):
        for method, end in ends.items():
            curves = {seed: ramp(0.6, end) for seed in (seeds if stream == "a" else range(3))}
            write_cell(tmp_path, method, curves, stream=stream, fresh=flat(0.6, 0.6, 0.6, 0.6))
    scores = score(find_cells(tmp_path))
    assert [row.method for row in scores.streams[0].rows] == ["l2", "syre", "none"]
    # syre covers one stream only: after the methods that cover both, whatever its score.
    assert [(row.method, len(row.streams)) for row in scores.aggregate] == [
        ("l2", 2),
        ("none", 2),
        ("syre", 1),
    ]
    l2, none, _ = scores.aggregate
    # Every stream keeps its own seeds; of the level 1.2 on the first, 1 counts.
    assert [len(column.seeds) for column in l2.columns] == [4, 3]
    assert l2.fewest_seeds == 3
    assert l2.score.point == pytest.approx((1 + 0.4) / 2)
    assert l2.uncapped.point == pytest.approx((1.2 + 0.4) / 2)
    assert l2.retention.point == pytest.approx((1.2 + 0.4) / 2)
    assert l2.lowest == ("b-v1", pytest.approx(0.4))
    assert none.score.point == pytest.approx((0.4 + 0.2) / 2)
    # All 2^7 patterns of four and three signs: only all plus or all minus reach the observed loss.
    assert none.p_loss == 2 / 2**7
    assert "methods that do not cover every stream have no rank; most streams first" in scores.notes


def test_aggregate_needs_two_streams(tmp_path: Path) -> None:
    for method in ("none", "l2"):
        write_cell(tmp_path, method, {0: ramp(0.5, 0.4)}, stream="a", fresh=flat(0.5))
    write_cell(tmp_path, "l2", {0: ramp(0.5, 0.4)}, stream="b", fresh=flat(0.5))  # has no reference there
    assert score(find_cells(tmp_path)).aggregate == ()


def test_a_stream_without_levels_stays_out_of_the_aggregate(tmp_path: Path) -> None:
    for stream in ("digits", "mnist"):
        curves = {seed: ramp(0.6, 0.5) for seed in range(3)}
        write_cell(tmp_path, "none", curves, stream=stream, fresh=flat(0.6, 0.6, 0.6))
    whole = score(find_cells(tmp_path))
    # Below chance for one seed: the twins are not significantly above chance, so there is no level.
    write_cell(tmp_path, "none", flat(0.5, 0.5), stream="ant", fresh=flat(0.05, 0.6))
    scores = score(find_cells(tmp_path))
    assert scores.aggregate[0].streams == whole.aggregate[0].streams
    assert scores.aggregate[0].score == whole.aggregate[0].score
    reason = "the fresh twins of none are not significantly above chance"
    assert f"ant-v1 takes no part: {reason}" in scores.notes
    # A method whose performance is nan has failed: the aggregate says so.
    write_cell(tmp_path, "none", {0: [NAN] * 20, 1: ramp(0.6, 0.5)}, stream="bits", fresh=flat(0.6, 0.6))
    assert np.isnan(score(find_cells(tmp_path)).aggregate[0].score.point)
