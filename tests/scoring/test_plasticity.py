"""Level, retention, plasticity loss and fresh level, computed again from the raw files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from plasticity_bench.records.cells import Cell, find_cells
from plasticity_bench.scoring.scores import CellScores
from plasticity_bench.scoring.scoring import score
from plasticity_bench.scoring.twins import Twins, late_places
from plasticity_bench.specs import twin_tasks
from tests.support.fake_records import write_cell

CHANCE, TASKS, SEEDS = 0.1, 40, 9


def column(path: Path, name: str) -> dict[int, float]:
    """task -> value, from the text of a file."""
    with path.open() as file:
        return {int(row["task"]): float(row[name]) for row in csv.DictReader(file)}


def sums(folder: Path, kind: str, weights: bool) -> np.ndarray:
    """For every seed the sum over tasks 35 to 39 of w (performance - chance)."""
    found = []
    for seed in range(SEEDS):
        values = column(folder / f"{kind}-{seed:03d}.csv", "online_performance")
        w = (
            column(folder / f"fresh-{seed:03d}.csv", "target_variance")
            if weights
            else dict.fromkeys(values, 1.0)
        )
        found.append(sum(w[task] * (values[task] - CHANCE) for task in range(35, 40)))
    return np.array(found)


def curves(rng: np.random.Generator, start: float, end: float) -> dict[int, list[float]]:
    path = np.linspace(start, end, TASKS)
    return {seed: list(path + rng.normal(0, 0.03) + rng.normal(0, 0.05, TASKS)) for seed in range(SEEDS)}


@pytest.fixture(params=["accuracy", "R2"])
def recorded(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[dict[str, Path], bool]:
    """Three cells of a stream of 40 tasks; whether tasks are weighted by the variance of their targets."""
    rng = np.random.default_rng(0)
    weighted = request.param == "R2"
    variance = {seed: list(rng.uniform(0.1, 4, TASKS)) for seed in range(SEEDS)} if weighted else None
    for method, (start, end, fresh) in {
        "none": (0.7, 0.4, 0.7),
        "reset": (0.7, 0.7, 0.7),
        "l2": (0.6, 0.5, 0.55),
    }.items():
        write_cell(
            tmp_path,
            method,
            curves(rng, start, end),
            fresh=curves(rng, fresh, fresh),
            variance=variance,
            unit=request.param,
        )
    return {cell.method: cell.path for cell in find_cells(tmp_path)}, weighted


def rows(folders: dict[str, Path]) -> dict[str, CellScores]:
    (stream,) = score(find_cells(next(iter(folders.values())).parents[1])).streams
    return {row.method: row for row in stream.rows}


def test_measures_are_those_of_the_raw_files(recorded: tuple[dict[str, Path], bool]) -> None:
    folders, weighted = recorded
    g = sums(folders["none"], "fresh", weighted)
    for method, row in rows(folders).items():
        a, f = (sums(folders[method], kind, weighted) for kind in ("seed", "fresh"))
        wanted = {
            "level": (a, g),
            "retention": (a, f),
            "plasticity_loss": (f - a, f),
            "fresh_level": (f, g),
        }
        draws = np.random.default_rng(5).integers(SEEDS, size=(20_000, SEEDS))
        for name, (above, below) in wanted.items():
            point, low, high = row.summary[name]
            assert point == pytest.approx(above.sum() / below.sum(), rel=1e-12)
            np.testing.assert_allclose(row.values[name], above / below.mean())
            assert row.values[name].mean() == pytest.approx(point)
            resampled = above[draws].sum(axis=1) / below[draws].sum(axis=1)
            np.testing.assert_allclose((low, high), np.percentile(resampled, [2.5, 97.5]), atol=0.006)
        # All 2^9 signs of a - f, written out.
        signs = 1 - 2 * (np.arange(2**SEEDS)[:, None] >> np.arange(SEEDS) & 1)
        flipped = np.abs(signs @ (a - f))
        assert row.p_loss == np.mean(flipped >= flipped[0] * (1 - 1e-9))


def test_level_is_retention_times_fresh_level(recorded: tuple[dict[str, Path], bool]) -> None:
    for row in rows(recorded[0]).values():
        level, retention, loss, fresh = (
            row.summary[name].point for name in ("level", "retention", "plasticity_loss", "fresh_level")
        )
        assert level == pytest.approx(retention * fresh, rel=1e-14)
        assert loss == pytest.approx(1 - retention, abs=1e-14)


def test_a_weighted_task_counts_by_its_variance(tmp_path: Path) -> None:
    """R2 of the examples of all late tasks together: 1 - sum of squared errors / sum of variances."""
    performance, fresh = [0.0] * 5 + [0.9, 0.5], [0.0] * 5 + [0.8, 0.4]
    variance = [1.0] * 5 + [3.0, 1.0]
    cell = write_cell(
        tmp_path,
        "none",
        {0: performance},
        fresh={0: fresh},
        variance={0: variance},
        unit="R2",
        chance=0.0,
    )
    row = score([cell]).streams[0].rows[0]
    assert row.summary["level"].point == pytest.approx((3 * 0.9 + 0.5) / (3 * 0.8 + 0.4))
    # Without its variance the weight of a task is not known.
    other = write_cell(tmp_path / "b", "none", {0: performance}, fresh={0: fresh}, unit="R2", chance=0.0)
    assert np.isnan(score([other]).streams[0].rows[0].summary["level"].point)


def test_a_learner_equal_to_its_twins_has_lost_nothing(tmp_path: Path) -> None:
    own = curves(np.random.default_rng(1), 0.6, 0.3)
    row = score([write_cell(tmp_path, "reset", own, fresh=own)]).streams[0].rows[0]
    assert row.summary["retention"] == (1, 1, 1)
    assert row.summary["plasticity_loss"] == (0, 0, 0)
    assert row.p_loss == 1
    curve = row.plasticity.curve
    assert curve is not None
    assert (curve.lost == 0).all()


def test_curve_of_the_loss(recorded: tuple[dict[str, Path], bool]) -> None:
    folders, weighted = recorded
    curve = rows(folders)["none"].plasticity.curve
    assert curve is not None
    assert curve.tasks == twin_tasks(TASKS) == (0, 10, 20, 30, 35, 36, 37, 38, 39)
    for place, task in enumerate(curve.tasks):
        above = below = 0.0
        for seed in range(SEEDS):
            fresh = folders["none"] / f"fresh-{seed:03d}.csv"
            learner = column(folders["none"] / f"seed-{seed:03d}.csv", "online_performance")[task]
            w = column(fresh, "target_variance")[task] if weighted else 1.0
            above += w * (learner - CHANCE)
            below += w * (column(fresh, "online_performance")[task] - CHANCE)
        found = curve.lost[:, place].sum() / curve.fresh[:, place].sum()
        assert found == pytest.approx(1 - above / below)


def test_twins_are_read_from_their_tables(tmp_path: Path) -> None:
    """A cell is scored by another column if its stream says so; the tables of twins have it, too."""
    cell: Cell = write_cell(tmp_path, "none", {0: [0.5] * 10}, fresh={0: [0.6] * 10})
    assert list(late_places((0, 10, 35, 36), 40)) == [2, 3]
    found = score([cell]).streams[0].rows[0]
    assert found.summary["level"].point == pytest.approx(0.4 / 0.5)
    twins = Twins((4, 7), (0, 8, 9), np.arange(6.0).reshape(2, 3), np.ones((2, 3)))
    assert twins.of([7]).seeds == (7,)
    np.testing.assert_array_equal(twins.of([7]).performance, [[3, 4, 5]])
