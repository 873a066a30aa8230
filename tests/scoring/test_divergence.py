"""A network that is not finite counts as chance from there on, and this is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plasticity_bench.records.tables import COLUMNS
from plasticity_bench.scoring.metrics import first_not_finite, measure
from plasticity_bench.scoring.notes import divergence
from plasticity_bench.scoring.scoring import score
from plasticity_bench.terminal import metric_text, to_json
from tests.support.documents import made_origin
from tests.support.fake_records import write_cell

NAN, INF = float("nan"), float("inf")

#: (performance, loss, norm of the weights) of four tasks -> the first task that is not finite; 4: none.
CURVES = {
    "finite": ([0.5] * 4, [1.0] * 4, [NAN, 1, NAN, 1], 4),
    "nan from the second": ([0.5, 0.1, 0.1, 0.1], [1, NAN, NAN, NAN], [1, NAN, NAN, NAN], 1),
    "infinite at the end": ([0.5] * 4, [1, 1, 1, INF], [1, 1, 1, 1], 3),
    "recovers": ([0.5] * 4, [1, INF, 1, 1], [1] * 4, 4),
    "in the last update": ([0.5] * 4, [1] * 4, [1, NAN, NAN, NAN], 3),
    "weights overflow": ([0.5] * 4, [1] * 4, [NAN, NAN, NAN, INF], 3),
    "an agent, in a task's last update": ([0.5, NAN, NAN, NAN], [1, 1, NAN, NAN], [1, NAN, NAN, NAN], 1),
    "no episode has ended": ([0.5, 0.5, 0.5, NAN], [1] * 4, [1] * 4, 4),
    "no weights measured": ([0.5] * 4, [1] * 4, [NAN] * 4, 4),
}


def test_first_task_that_is_not_finite() -> None:
    parts = [np.array([curve[i] for curve in CURVES.values()], float) for i in range(3)]
    found = dict(zip(CURVES, first_not_finite(*parts), strict=True))
    assert found == {name: curve[3] for name, curve in CURVES.items()}


def test_chance_from_there_on(tmp_path: Path) -> None:
    """Classification guesses the first class when it is nan, regression gets -1: both count as chance."""
    good, fresh = [0.6] * 20, {0: [0.6] * 20, 1: [0.6] * 20}
    none = write_cell(tmp_path, "none", {0: good, 1: good}, fresh=fresh)
    measured = {
        name: [0.2] * 12 + [NAN] * 8 for name in ("dormant_fraction", "effective_rank", "weight_norm")
    }
    columns = {"online_loss": [1.0] * 12 + [NAN] * 8, **measured}
    l2 = write_cell(tmp_path, "l2", {0: [0.6] * 12 + [-1.0] * 8}, columns=columns, fresh={0: [0.6] * 20})
    rows = [
        {"task": task, "online_performance": 0.6, "online_loss": 1.0, **dict.fromkeys(measured, 0.4)}
        for task in range(20)
    ]
    l2.trained.write(1, rows, made_origin(1.0, 16, "cpu"))
    found = measure(l2)
    assert found.not_finite == {0: 12}
    assert found.of([1]).not_finite == {}
    chance = l2.config.stream.chance
    np.testing.assert_array_equal(found.curves["performance"][0], [0.6] * 12 + [chance] * 8)
    np.testing.assert_array_equal(found.curves["performance"][1], [0.6] * 20)
    scores = score([none, l2])
    row = scores.streams[0].row("l2")
    assert row is not None
    assert row.values["level"] == pytest.approx([0, 1])
    assert row.summary["level"].point == pytest.approx(0.5)
    for metric in measured:  # the other seed alone would flatter the method
        assert row.by_seed(metric)[1] == pytest.approx(0.4)
        assert metric_text(row, metric) == "-"
    note = "l2: not finite from task 12 on (seed 0): counted as chance from there on, diagnostics unknown"
    assert note in scores.streams[0].notes
    methods = {entry["method"]: entry for entry in to_json(scores)["streams"][0]["methods"]}
    assert methods["l2"]["not_finite_from"] == {"0": 12}
    assert methods["none"]["not_finite_from"] == {}
    assert methods["l2"]["metrics"]["dormant_fraction"]["point"] is None


def test_fresh_twins_that_diverge(tmp_path: Path) -> None:
    good = {0: [0.6] * 20}
    none = write_cell(tmp_path, "none", good, fresh=good)
    l2 = write_cell(tmp_path, "l2", good)
    rows = [
        {"task": task, "online_performance": 0.6, "online_loss": NAN if index == 1 else 1.0}
        for index, task in enumerate(l2.fresh.tasks)
    ]
    l2.fresh.write(0, rows, made_origin(1.0, 16, "cpu"))
    scores = score([none, l2])
    row = scores.streams[0].row("l2")
    assert row is not None
    assert row.twins_not_finite == {0: 1}
    assert measure(l2).twins.performance[0, 1] == l2.config.stream.chance
    assert "l2: 1 of its fresh twins are not finite: counted as chance" in scores.streams[0].notes
    assert "online_loss" in COLUMNS


def test_what_is_said_of_many_seeds() -> None:
    assert divergence({}) == ""
    end = ": counted as chance from there on, diagnostics unknown"
    assert (
        divergence({1: 26, 0: 26, 5: 9})
        == f"not finite from task 9 on (seed 5), from task 26 on (seeds 0-1){end}"
    )
    assert divergence({seed: seed for seed in range(16)}) == (
        f"not finite from task 0 on (seed 0), later on 15 other seeds{end}"
    )
