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
from plasticity_bench.scoring.pairs import difference, p_value, verdict
from plasticity_bench.scoring.scores import CellScores
from plasticity_bench.scoring.scoring import of_streams, score
from plasticity_bench.specs import late_tasks
from plasticity_bench.stats.bootstrap import Difference
from tests.support.documents import made_origin
from tests.support.fake_records import tuning_table, write_cell

NAN = float("nan")


def ramp(start: float, end: float, tasks: int = 20) -> list[float]:
    """``start`` in the first two tasks, ``end`` in the late tasks (five of twenty), 0.5 between."""
    late = len(late_tasks(tasks))
    return [start] * 2 + [0.5] * (tasks - 2 - late) + [end] * late


def flat(*values: float, tasks: int = 20) -> dict[int, list[float]]:
    """seed -> the same performance in every task."""
    return {seed: [value] * tasks for seed, value in enumerate(values)}


def only(cells: list[Cell], method: str) -> CellScores:
    row = score(cells).streams[0].row(method)
    assert row is not None
    return row


def test_window() -> None:
    assert [window(tasks) for tasks in (1, 9, 10, 19, 20, 300)] == [1, 1, 1, 1, 2, 30]


def test_metrics_by_hand(tmp_path: Path) -> None:
    none = write_cell(tmp_path, "none", {0: ramp(0.6, 0.35), 1: ramp(0.5, 0.3)}, fresh=flat(0.6, 0.5))
    reset = write_cell(tmp_path, "reset", {0: ramp(0.5, 0.5), 1: ramp(0.5, 0.6)}, fresh=flat(0.5, 0.6))
    l2 = write_cell(tmp_path, "l2", {0: ramp(0.7, 0.5), 1: ramp(0.6, 0.3)}, fresh=flat(0.9, 0.5))
    cells = [none, reset, l2]
    row = only(cells, "l2")
    # Chance is 0.1. Learner 0.4 and 0.2; its twins 0.8 and 0.4; those of none 0.5 and 0.4.
    points = {
        name: row.summary[name].point for name in ("level", "retention", "plasticity_loss", "fresh_level")
    }
    assert points == pytest.approx(
        {"level": 0.6 / 0.9, "retention": 0.6 / 1.2, "plasticity_loss": 0.6 / 1.2, "fresh_level": 1.2 / 0.9}
    )
    # A seed's value is its part over the mean denominator, which is not the ratio of the seed alone.
    np.testing.assert_allclose(row.values["level"], [0.4 / 0.45, 0.2 / 0.45])
    np.testing.assert_allclose(row.values["retention"], [0.4 / 0.6, 0.2 / 0.6])
    np.testing.assert_allclose(row.values["plasticity_loss"], [0.4 / 0.6, 0.2 / 0.6])
    np.testing.assert_allclose(row.values["fresh_level"], [0.8 / 0.45, 0.4 / 0.45])
    average = [(1.4 + 6.5 + 2.5) / 20, (1.2 + 6.5 + 1.5) / 20]
    np.testing.assert_allclose(row.values["average_performance"], average)
    np.testing.assert_allclose(row.values["cost"], [1, 1])
    # Two seeds: the interval spans the ratios of both, numerators with their denominators.
    np.testing.assert_allclose(row.summary["level"][1:], [0.2 / 0.4, 0.4 / 0.5])
    np.testing.assert_allclose(row.summary["retention"][1:], [0.5, 0.5])
    assert only(cells, "reset").summary["retention"].point == pytest.approx(1)
    none_row = only(cells, "none")
    assert none_row.summary["fresh_level"] == pytest.approx((1, 1, 1))
    assert none_row.summary["level"] == pytest.approx(none_row.summary["retention"])


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


def test_without_twins_the_reason_is_shown(tmp_path: Path) -> None:
    l2 = write_cell(tmp_path, "l2", {0: ramp(0.5, 0.5), 1: ramp(0.5, 0.4)})
    stream = score([l2]).streams[0]
    for name in ("level", "retention", "plasticity_loss", "fresh_level"):
        assert np.isnan(stream.rows[0].summary[name].point)
        assert not stream.rows[0].defined[name].any()
    assert "cost unknown: needs none (run it on this stream)" in stream.notes
    without = "no fresh twins of none: run it on this stream without --no-twins"
    assert f"level unknown ({without}): all methods" in stream.notes
    assert "retention unknown (no fresh twins: run again without --no-twins): all methods" in stream.notes
    # The level needs the twins of none only.
    none = write_cell(tmp_path, "none", flat(0.5, 0.5), fresh=flat(0.6, 0.6))
    row = only([none, l2], "l2")
    assert row.summary["level"].point == pytest.approx(0.7 / 1.0)
    assert row.plasticity.undefined == dict.fromkeys(
        ("retention", "plasticity_loss", "fresh_level"), "no fresh twins: run again without --no-twins"
    )
    assert row.plasticity.curve is None
    note = "retention unknown (no fresh twins: run again without --no-twins): l2"
    assert note in score([none, l2]).streams[0].notes


def test_seeds_without_twins_are_left_out_and_reported(tmp_path: Path) -> None:
    none = write_cell(
        tmp_path,
        "none",
        {1: ramp(0.6, 0.3), 2: ramp(0.6, 0.3)},
        fresh={1: [0.6] * 20, 2: [0.6] * 20},
    )
    curves = {seed: ramp(0.5, 0.2 + 0.1 * seed) for seed in range(3)}
    l2 = write_cell(tmp_path, "l2", curves, fresh={0: [0.5] * 20})
    stream = score([none, l2]).streams[0]
    row = stream.row("l2")
    assert row is not None
    assert row.by_seed("level") == pytest.approx({1: 0.4, 2: 0.6})
    assert row.summary["level"].point == pytest.approx(0.5)
    assert row.by_seed("retention") == pytest.approx({0: 0.25})
    assert "l2: level without 1 of its seeds, which lack fresh twins of none" in stream.notes
    assert "l2: retention without 2 of its seeds, which lack fresh twins" in stream.notes
    assert row.plasticity.undefined == {"fresh_level": "no seed of which none has fresh twins"}


def test_failed_seeds_are_not_dropped(tmp_path: Path) -> None:
    none = write_cell(tmp_path, "none", {0: ramp(0.6, 0.3), 1: ramp(0.6, 0.3)}, fresh=flat(0.6, 0.6))
    bad = write_cell(tmp_path, "l2", {0: ramp(0.6, 0.5), 1: ramp(0.6, NAN)}, fresh=flat(0.6, 0.6))
    worse = write_cell(tmp_path, "syre", flat(0.6, 0.6), fresh=flat(0.6, NAN))
    stream = score([none, bad, worse]).streams[0]
    assert stream.rows[-1].method == "l2"
    for name in ("level", "retention"):
        assert np.isnan(stream.rows[-1].summary[name].point)
        assert stream.rows[-1].defined[name].all()
    assert "l2: performance is nan for 1 of 2 seeds" in stream.notes
    syre = stream.row("syre")
    assert syre is not None
    assert np.isnan(syre.summary["retention"].point)
    assert syre.summary["level"].point == pytest.approx(1)
    assert "syre: performance of fresh twins is nan for 1 seeds" in stream.notes


def test_no_ratio_to_twins_at_chance(tmp_path: Path) -> None:
    none = write_cell(tmp_path, "none", flat(0.1, 0.6), fresh=flat(0.05, 0.6))
    l2 = write_cell(tmp_path, "l2", flat(0.6, 0.5), fresh=flat(0.1, 0.1))
    stream = score([none, l2]).streams[0]
    assert all(np.isnan(row.summary["level"].point) for row in stream.rows)
    reason = "the fresh twins of none are not significantly above chance"
    assert f"level unknown ({reason}): all methods" in stream.notes
    note = "retention unknown (its fresh twins are not significantly above chance): "
    assert f"{note}all methods" in stream.notes
    # With a single seed there is no interval: what counts is whether its value is above chance.
    above = write_cell(tmp_path / "one", "none", flat(0.2), fresh=flat(0.3))
    assert only([above], "none").summary["retention"].point == pytest.approx(0.5)
    below = write_cell(tmp_path / "two", "none", flat(0.2), fresh=flat(0.1))
    assert np.isnan(only([below], "none").summary["retention"].point)


def test_tuned_plain_training_is_the_reference_if_it_has_twins(tmp_path: Path) -> None:
    none = write_cell(tmp_path, "none", flat(0.5, 0.5), fresh=flat(0.6, 0.6))
    l2 = write_cell(tmp_path, "l2", flat(0.6, 0.6), fresh=flat(0.6, 0.6))
    tuning = tuning_table("none")
    tuned = write_cell(tmp_path, "none:lr=0.01", flat(0.7, 0.7), tuning=tuning)
    assert only([none, l2, tuned], "l2").summary["level"].point == pytest.approx(1)
    more = tmp_path / "more"
    tuned = write_cell(more, "none:lr=0.01", flat(0.7, 0.7), tuning=tuning, fresh=flat(0.8, 1.0))
    row = only([none, l2, tuned], "l2")
    assert row.summary["level"].point == pytest.approx(1.0 / 1.6)
    assert row.plasticity.room == pytest.approx(0.8)
    assert only([none, l2, tuned], "none").summary["retention"].point == pytest.approx(0.8)


def test_single_seed_has_points_but_no_intervals(tmp_path: Path) -> None:
    cells = [
        write_cell(tmp_path, method, {3: ramp(0.6, end)}, fresh={3: [0.6] * 20})
        for method, end in (("none", 0.35), ("l2", 0.6))
    ]
    stream = score(cells).streams[0]
    point, low, high = stream.rows[0].summary["level"]
    assert point == pytest.approx(1.0)
    assert np.isnan([low, high]).all()
    assert loses_plasticity(stream.rows[1]) is None
    assert verdict(difference(stream.rows[0], stream.rows[1], "level")[0]) == "unknown"
    assert "fewer than 6 seeds, so no rank, and intervals too narrow or missing: all methods" in stream.notes


@pytest.mark.parametrize(("end", "loses"), [(0.4, True), (0.599, False), (0.7, False)])
def test_whether_none_loses_plasticity(tmp_path: Path, end: float, loses: bool) -> None:
    # With a spread of 0.02, a loss of 0.001 is not significant.
    curves = {seed: ramp(0.6, end + 0.02 * (-1) ** seed) for seed in range(8)}
    fresh = {seed: [0.6] * 20 for seed in range(8)}
    stream = score([write_cell(tmp_path, "none", curves, fresh=fresh)]).streams[0]
    assert loses_plasticity(stream.rows[0]) is loses
    assert any(
        note.startswith("none loses" if loses else "none shows no significant loss")
        and note.endswith(f"p {stream.rows[0].p_loss:.2g}")
        for note in stream.notes
    )


def test_differences_use_common_seeds(tmp_path: Path) -> None:
    fresh = {seed: [0.6] * 20 for seed in (0, 1, 2, 9)}
    a = write_cell(tmp_path, "l2", {seed: ramp(0.6, 0.5) for seed in (0, 1, 2)}, fresh=fresh)
    b = write_cell(tmp_path, "syre", {1: ramp(0.6, 0.4), 2: ramp(0.6, 0.4), 9: ramp(0.6, -5.0)}, fresh=fresh)
    rows = only([a, b], "l2"), only([a, b], "syre")
    found, seeds = difference(*rows, "plasticity_loss")
    assert seeds == 2
    np.testing.assert_allclose(found, [-0.2, -0.2, -0.2, 0.0])
    assert p_value(*rows, "plasticity_loss") == 0.5
    found, seeds = difference(*rows, "average_performance")
    assert seeds == 2
    np.testing.assert_allclose(found, [0.025, 0.025, 0.025, 1.0])
    assert np.isnan(p_value(*rows, "cost"))


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


def test_cost_has_no_interval_because_stacked_seeds_share_a_timing(tmp_path: Path) -> None:
    write_cell(tmp_path, "none", {seed: ramp(0.6, 0.5) for seed in range(8)}, seconds=1.0)
    write_cell(tmp_path, "syre", {seed: ramp(0.6, 0.5) for seed in range(8)}, seconds=1.5)
    rows = {row.method: row for row in score(find_cells(tmp_path)).streams[0].rows}
    assert rows["syre"].summary["cost"].point == pytest.approx(1.5)
    assert np.isnan(rows["syre"].summary["cost"].low)
    found, _ = difference(rows["syre"], rows["none"], "cost")
    assert found.point == pytest.approx(0.5)
    assert verdict(found) == "unknown"
