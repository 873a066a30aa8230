"""Other aggregates, shares of variance, and power, against scipy and numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from plasticity_bench.scoring.alternatives import (
    ALTERNATIVES,
    LevelTable,
    capped_mean,
    kendall,
    taus,
    variance_shares,
)
from plasticity_bench.scoring.power import power_of


def made(levels: np.ndarray, retentions: np.ndarray | None = None) -> LevelTable:
    methods, streams = levels.shape
    runs = tuple(tuple(np.full(4, value) for value in line) for line in levels)
    kept = np.ones_like(levels) if retentions is None else retentions
    names = tuple(f"m{i}" for i in range(methods)), tuple(f"s{i}" for i in range(streams))
    return LevelTable(*names, levels, kept, runs)


def test_kendall_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(0, 6, 12).astype(float), rng.normal(size=12)
        assert kendall(x, y) == pytest.approx(scipy_stats.kendalltau(x, y).statistic)
    assert kendall(y, y) == 1
    assert kendall(y, -y) == -1
    assert np.isnan(kendall(y, np.ones(12)))
    assert np.isnan(kendall(y, np.where(y > 0, y, np.nan)))


def test_aggregates_by_hand() -> None:
    table = made(np.array([[2.0, 0.5, 0.5], [0.9, 0.9, 0.0]]), np.array([[0.2, 0.4, 0.6], [1, 1, 1]]))
    np.testing.assert_allclose(capped_mean(table, 1.0), [2 / 3, 0.6])
    found = {name: aggregate(table).tolist() for name, aggregate in ALTERNATIVES.items()}
    assert found == {
        "mean of the levels, not capped": pytest.approx([1.0, 0.6]),
        "mean of the retentions": pytest.approx([0.4, 1]),
        "median of the levels": [0.5, 0.9],
        # Twelve runs, of which three fall at each end.
        "interquartile mean of all runs together": pytest.approx([(4 * 0.5 + 0.5 + 2) / 6, 0.75]),
        "mean rank over streams": pytest.approx([5 / 3, 4 / 3]),
        "lowest level of a stream": [0.5, 0],
        "geometric mean of the levels": pytest.approx([0.5 ** (1 / 3), (0.81 * 0.01) ** (1 / 3)]),
    }
    orders = taus(table, 1.0)
    assert orders["mean of the retentions"] == -1
    assert orders["lowest level of a stream"] == 1


def test_shares_of_variance_add_up() -> None:
    levels = np.random.default_rng(1).normal(0.8, [0.3, 0.05, 0.01], size=(20, 3))
    table = made(levels)
    shares = variance_shares(table, 1.0)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["s0"] > 0.8
    parts = np.minimum(levels, 1) / 3
    for i, name in enumerate(table.streams):
        wanted = np.cov(parts[:, i], parts.sum(axis=1))[0, 1] / parts.sum(axis=1).var(ddof=1)
        assert shares[name] == pytest.approx(wanted)
    assert np.isnan(list(variance_shares(made(np.ones((3, 2))), 1.0).values())).all()


def test_power_by_hand() -> None:
    base = np.random.default_rng(2).normal(size=16)
    noise = np.random.default_rng(3).normal(0, 0.2, size=(3, 16))
    levels = {f"m{i}": dict(enumerate(base + own)) for i, own in enumerate(noise)}
    levels["other seeds"] = dict(enumerate(base[:8]))
    levels["failed"] = dict(enumerate(np.where(np.arange(16) == 3, np.nan, base)))
    found = power_of(levels)
    assert found is not None
    pairs = [np.std(noise[i] - noise[j], ddof=1) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found[:2] == (16, 3)
    assert found.deviation == pytest.approx(np.median(pairs))
    assert found.detectable == pytest.approx(2.8 * np.median(pairs) / 4)
    assert found.needed == int(np.ceil((28 * np.median(pairs)) ** 2))
    assert power_of({"m0": levels["m0"]}) is None
    assert power_of({}) is None


def test_the_difference_that_is_stated_is_detected() -> None:
    """A paired t test finds a difference of 2.8 standard errors in about 80% of studies."""
    rng = np.random.default_rng(4)
    n, deviation = 60, 0.3
    size = 2.8 * deviation / np.sqrt(n)
    p = [scipy_stats.ttest_1samp(rng.normal(size, deviation, n), 0).pvalue for _ in range(400)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.8, abs=0.06)
