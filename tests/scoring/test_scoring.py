"""Metrics, rankings and notes on small tables whose scores can be computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import Cell, find_cells, open_cell
from plasticity_bench.scoring.metrics import window
from plasticity_bench.scoring.notes import loses_plasticity
from plasticity_bench.scoring.pairs import difference, verdict
from plasticity_bench.scoring.scores import CellScores
from plasticity_bench.scoring.scoring import of_streams, score
from plasticity_bench.stats.bootstrap import Difference
from tests.support.documents import made_origin
from tests.support.fake_records import write_cell

NAN = float("nan")


def ramp(start: float, end: float, tasks: int = 20) -> list[float]:
    """``start`` in the first window (two tasks of twenty), ``end`` in the last, 0.5 between."""
    size = window(tasks)
    return [start] * size + [0.5] * (tasks - 2 * size) + [end] * size


def only(cells: list[Cell], method: str) -> CellScores:
    row = score(cells).streams[0].row(method)
    assert row is not None
    return row


def test_window() -> None:
    assert [window(tasks) for tasks in (1, 9, 10, 19, 20, 300)] == [1, 1, 1, 1, 2, 30]


def test_metrics_by_hand(tmp_path: Path) -> None:
    none = write_cell(tmp_path, "none", {0: ramp(0.6, 0.35), 1: ramp(0.5, 0.3)})
    reset = write_cell(tmp_path, "reset", {0: ramp(0.5, 0.5), 1: ramp(0.5, 0.6)})
    l2 = write_cell(tmp_path, "l2", {0: ramp(0.7, 0.5), 1: ramp(0.6, 0.3)})
    values = only([none, reset, l2], "l2").values
    # (0.5 - 0.1) / (0.6 - 0.1) and (0.3 - 0.1) / (0.5 - 0.1): none's first window, chance 0.1.
    np.testing.assert_allclose(values["retained_plasticity"], [0.8, 0.5])
    np.testing.assert_allclose(values["plasticity_loss"], [0.2, 0.3])
    np.testing.assert_allclose(values["fresh_gap"], [0.0, 0.3], atol=1e-12)
    np.testing.assert_allclose(values["average_performance"], [(1.4 + 8 + 1.0) / 20, (1.2 + 8 + 0.6) / 20])
    np.testing.assert_allclose(values["cost"], [1, 1])
    own = only([none, reset, l2], "none").values
    np.testing.assert_allclose(own["retained_plasticity"], [0.5, 0.5])
    # Two seeds: the interval spans them.
    summary = only([none, reset, l2], "l2").summary["retained_plasticity"]
    np.testing.assert_allclose(summary, [0.65, 0.5, 0.8])


def test_trend_is_per_hundred_tasks(tmp_path: Path) -> None:
    cell = write_cell(tmp_path, "none", {0: [0.9 - 0.002 * task for task in range(50)]})
    assert only([cell], "none").values["trend"] == pytest.approx(-0.2)
    single = write_cell(tmp_path / "b", "none", {0: [0.5], 1: [0.6]})
    assert np.isnan(only([single], "none").summary["trend"].point)


def test_diagnostics_take_the_last_measured(tmp_path: Path) -> None:
    columns = {
        "dormant_fraction": [NAN] * 18 + [0.2, 0.4],  # both in the last window
        "effective_rank": [5.0] + [NAN] * 16 + [7.0, NAN, NAN],  # none in it: the last one measured
    }
    row = only([write_cell(tmp_path, "none", {0: ramp(0.5, 0.5)}, columns=columns)], "none")
    assert row.values["dormant_fraction"] == pytest.approx(0.3)
    assert row.values["effective_rank"] == 7.0
    bare = only([write_cell(tmp_path / "b", "none", {0: ramp(0.5, 0.5)})], "none")
    assert np.isnan(bare.values["dormant_fraction"]).all()
    assert not bare.defined["dormant_fraction"].any()


def test_cost_compares_like_with_like(tmp_path: Path) -> None:
    same = {seed: ramp(0.5, 0.5) for seed in range(2)}
    none = write_cell(tmp_path, "none", same, seconds=2.0, stack=16)
    slow = write_cell(tmp_path, "syre", same, seconds=3.0, stack=16)
    other = write_cell(tmp_path, "l2", same, seconds=3.0, stack=1)
    elsewhere = write_cell(tmp_path, "regen", same, seconds=3.0, stack=16, device="cuda")
    cells = [none, slow, other, elsewhere]
    np.testing.assert_allclose(only(cells, "syre").values["cost"], [1.5, 1.5])
    for method in ("l2", "regen"):
        assert np.isnan(only(cells, method).summary["cost"].point)
        assert any(note.startswith(f"{method}: cost") for note in score(cells).streams[0].notes)


def test_missing_references_are_reported(tmp_path: Path) -> None:
    stream = score([write_cell(tmp_path, "l2", {0: ramp(0.5, 0.5), 1: ramp(0.5, 0.4)})]).streams[0]
    assert np.isnan(stream.rows[0].summary["retained_plasticity"].point)
    assert np.isnan(stream.rows[0].summary["fresh_gap"].point)
    assert stream.rows[0].summary["plasticity_loss"].point == pytest.approx(0.05)
    assert any("retained plasticity and cost unknown: needs none" in note for note in stream.notes)
    assert any("fresh gap unknown: needs reset" in note for note in stream.notes)


def test_seeds_without_a_reference_are_left_out_and_reported(tmp_path: Path) -> None:
    none = write_cell(tmp_path, "none", {1: ramp(0.6, 0.3), 2: ramp(0.6, 0.3)})
    l2 = write_cell(tmp_path, "l2", {seed: ramp(0.5, 0.2 + 0.1 * seed) for seed in range(3)})
    stream = score([none, l2]).streams[0]
    row = stream.row("l2")
    assert row is not None
    assert row.by_seed("retained_plasticity") == pytest.approx({1: 0.4, 2: 0.6})
    assert row.summary["retained_plasticity"].point == pytest.approx(0.5)
    assert "l2: retained plasticity without the 1 of its seeds that none lacks" in stream.notes


def test_failed_seeds_are_not_dropped(tmp_path: Path) -> None:
    none = write_cell(tmp_path, "none", {0: ramp(0.6, 0.3), 1: ramp(0.6, 0.3)})
    bad = write_cell(tmp_path, "l2", {0: ramp(0.6, 0.5), 1: ramp(0.6, NAN)})
    stream = score([none, bad]).streams[0]
    assert stream.rows[-1].method == "l2"
    assert np.isnan(stream.rows[-1].summary["retained_plasticity"].point)
    assert "l2: performance is nan for 1 of 2 seeds" in stream.notes


def test_no_ratio_to_a_reference_at_chance(tmp_path: Path) -> None:
    none = write_cell(tmp_path, "none", {0: ramp(0.1, 0.1), 1: ramp(0.6, 0.3)})
    l2 = write_cell(tmp_path, "l2", {0: ramp(0.6, 0.5), 1: ramp(0.6, 0.5)})
    stream = score([none, l2]).streams[0]
    assert all(np.isnan(row.summary["retained_plasticity"].point) for row in stream.rows)
    assert "l2: none is nan or not above chance at the start for 1 seeds" in stream.notes


def test_single_seed_has_points_but_no_intervals(tmp_path: Path) -> None:
    cells = [
        write_cell(tmp_path, method, {3: ramp(0.6, end)}) for method, end in (("none", 0.35), ("l2", 0.6))
    ]
    stream = score(cells).streams[0]
    point, low, high = stream.rows[0].summary["retained_plasticity"]
    assert point == pytest.approx(1.0)
    assert np.isnan([low, high]).all()
    assert loses_plasticity(stream.rows[1]) is None
    assert verdict(difference(stream.rows[0], stream.rows[1], "retained_plasticity")[0]) == "unknown"
    assert "fewer than 6 seeds, so no rank, and intervals too narrow or missing: all methods" in stream.notes


@pytest.mark.parametrize(("end", "loses"), [(0.4, True), (0.599, False), (0.7, False)])
def test_whether_none_loses_plasticity(tmp_path: Path, end: float, loses: bool) -> None:
    # With a spread of 0.02, a loss of 0.001 is not significant.
    curves = {seed: ramp(0.6, end + 0.02 * (-1) ** seed) for seed in range(8)}
    stream = score([write_cell(tmp_path, "none", curves)]).streams[0]
    assert loses_plasticity(stream.rows[0]) is loses
    assert any(note.startswith("none loses" if loses else "none shows no loss") for note in stream.notes)


def test_differences_use_common_seeds(tmp_path: Path) -> None:
    a = write_cell(tmp_path, "l2", {seed: ramp(0.6, 0.5) for seed in (0, 1, 2)})
    b = write_cell(tmp_path, "syre", {1: ramp(0.6, 0.4), 2: ramp(0.6, 0.4), 9: ramp(0.6, -5.0)})
    found, seeds = difference(only([a, b], "l2"), only([a, b], "syre"), "plasticity_loss")
    assert seeds == 2
    np.testing.assert_allclose(found, [-0.1, -0.1, -0.1, 0.0])


def test_ranking_and_aggregate(tmp_path: Path) -> None:
    seeds = range(4)
    for stream, ends in (("a", {"none": 0.3, "l2": 0.5, "syre": 0.4}), ("b", {"none": 0.2, "l2": 0.3})):
        for method, end in ends.items():
            curves = {seed: ramp(0.6, end) for seed in (seeds if stream == "a" else range(3))}
            write_cell(tmp_path, method, curves, stream=stream)
    scores = score(find_cells(tmp_path))
    assert [row.method for row in scores.streams[0].rows] == ["l2", "syre", "none"]
    # syre covers one stream only: after the methods that cover both, whatever its score.
    assert [(row.method, len(row.streams)) for row in scores.aggregate] == [
        ("l2", 2),
        ("none", 2),
        ("syre", 1),
    ]
    l2, _, _ = scores.aggregate
    # Common seeds 0, 1, 2: three times 0.8 and three times 0.4.
    assert l2.seeds == (0, 1, 2)
    assert l2.summary.point == pytest.approx(0.6)
    assert l2.pooled.point == pytest.approx(0.6)
    assert l2.lowest == ("b-v1", pytest.approx(0.4))
    assert "methods that do not cover every stream have no rank; most streams first" in scores.notes
    assert any("l2 (3)" in note for note in scores.notes)


def test_aggregate_needs_two_streams(tmp_path: Path) -> None:
    for method in ("none", "l2"):
        write_cell(tmp_path, method, {0: ramp(0.5, 0.4)}, stream="a")
    write_cell(tmp_path, "l2", {0: ramp(0.5, 0.4)}, stream="b")  # has no reference there
    assert score(find_cells(tmp_path)).aggregate == ()


def test_a_stream_without_a_reference_stays_out_of_the_aggregate(tmp_path: Path) -> None:
    for stream in ("digits", "mnist"):
        write_cell(tmp_path, "none", {seed: ramp(0.6, 0.5) for seed in range(3)}, stream=stream)
    whole = score(find_cells(tmp_path))
    # Below chance at the start for one seed: no method has a ratio there.
    write_cell(tmp_path, "none", {0: ramp(0.05, 0.5), 1: ramp(0.6, 0.5)}, stream="ant")
    scores = score(find_cells(tmp_path))
    assert scores.aggregate[0].streams == whole.aggregate[0].streams
    assert scores.aggregate[0].summary == whole.aggregate[0].summary
    assert "ant-v1 takes no part: none is not above chance at its start" in scores.notes
    # A method whose performance is nan has failed: the aggregate says so.
    write_cell(tmp_path, "none", {0: [NAN] * 20, 1: ramp(0.6, 0.5)}, stream="bits")
    assert np.isnan(score(find_cells(tmp_path)).aggregate[0].summary.point)


def test_unfinished_cells_and_double_references(tmp_path: Path) -> None:
    none = write_cell(tmp_path, "none", {0: ramp(0.5, 0.4)})
    config = structs.replace(none.config, method=structs.replace(none.config.method, label="l2"))
    waiting = open_cell(tmp_path, "permuted-digits-v1", "l2-0", config)
    assert "no finished seed yet: l2" in score([none, waiting]).streams[0].notes
    twin = open_cell(tmp_path, "permuted-digits-v1", "none-1", none.config)
    twin.trained.write(0, [{"task": task, "online_performance": 0.5} for task in range(20)], made_origin())
    with pytest.raises(InputError, match="two cells are called none"):
        score([none, twin])


def test_unknown_score_column(tmp_path: Path) -> None:
    cell = write_cell(tmp_path, "none", {0: ramp(0.5, 0.4)}, score="online_performanc")
    with pytest.raises(InputError, match='did you mean "online_performance"'):
        score([cell])


def test_stream_filter(tmp_path: Path) -> None:
    cells = [write_cell(tmp_path, "none", {0: [0.5, 0.5]}, stream=name) for name in ("digits", "mnist")]
    assert of_streams(cells, []) == cells
    assert of_streams(cells, ["mnist"]) == of_streams(cells, ["mnist-v1"]) == cells[1:]
    with pytest.raises(InputError, match='did you mean "digits"'):
        of_streams(cells, ["digit"])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-1, 1, "tied"), (0, 1, "tied"), (0.1, 1, "higher"), (-1, -0.1, "lower"), (NAN, NAN, "unknown")],
)
def test_verdicts(low: float, high: float, expected: str) -> None:
    assert verdict(Difference(0.0, low, high, 0.5)) == expected


def test_warmup_tasks_stay_out_of_the_first_window(tmp_path: Path) -> None:
    curve = [0.9] + [0.6] * 18 + [0.5]  # an easy task 0, then ten percent are two tasks
    write_cell(tmp_path, "none", {0: curve}, warmup_tasks=1)
    row = score(find_cells(tmp_path)).streams[0].rows[0]
    assert row.values["plasticity_loss"] == pytest.approx([0.6 - 0.55])
    assert row.values["retained_plasticity"] == pytest.approx([0.45 / 0.5])


def test_cost_has_no_interval_because_stacked_seeds_share_a_timing(tmp_path: Path) -> None:
    write_cell(tmp_path, "none", {seed: ramp(0.6, 0.5) for seed in range(8)}, seconds=1.0)
    write_cell(tmp_path, "syre", {seed: ramp(0.6, 0.5) for seed in range(8)}, seconds=1.5)
    rows = {row.method: row for row in score(find_cells(tmp_path)).streams[0].rows}
    assert rows["syre"].summary["cost"].point == pytest.approx(1.5)
    assert np.isnan(rows["syre"].summary["cost"].low)
    found, _ = difference(rows["syre"], rows["none"], "cost")
    assert found.point == pytest.approx(0.5)
    assert verdict(found) == "unknown"
