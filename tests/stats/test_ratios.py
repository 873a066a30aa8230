"""Ratios of sums: point estimates by hand, intervals against loops, and ranges of places."""

from __future__ import annotations

import numpy as np
import pytest

from plasticity_bench.stats.ratios import (
    Ratio,
    is_above_zero,
    mean_of_ratios,
    place_ranges,
    ratio_band,
    ratio_difference,
    ratio_interval,
)


def made(seed: int, n: int = 12, mean: float = 1.0) -> Ratio:
    rng = np.random.default_rng(seed)
    below = rng.normal(5, 1, n)
    return Ratio(tuple(range(n)), below * mean + rng.normal(0, 0.5, n), below)


def resampled(columns: list[Ratio], cap: float, reps: int, rng: np.random.Generator) -> np.ndarray:
    """The capped mean of every resample, drawn stream by stream in a loop."""
    values = []
    for _ in range(reps):
        ratios = []
        for column in columns:
            drawn = rng.integers(len(column.seeds), size=len(column.seeds))
            ratios.append(column.numerator[drawn].sum() / column.denominator[drawn].sum())
        values.append(np.minimum(ratios, cap).mean())
    return np.array(values)


def test_by_hand() -> None:
    ratio = Ratio((3, 5), np.array([1.0, 3.0]), np.array([2.0, 3.0]))
    assert ratio.point == 4 / 5
    np.testing.assert_allclose(ratio.contributions, [1 / 2.5, 3 / 2.5])
    assert ratio.contributions.mean() == pytest.approx(ratio.point)
    assert ratio.of([5]).point == 1
    assert mean_of_ratios([ratio, ratio.of([5])]) == pytest.approx(0.9)
    assert mean_of_ratios([ratio, Ratio((0,), np.array([4.0]), np.array([2.0]))], cap=1) == 0.9
    # Two seeds: resamples hold the first twice, the second twice, or both.
    assert ratio_interval([ratio]) == (4 / 5, 1 / 2, 1)
    assert np.isnan(ratio_interval([ratio.of([5])])[1:]).all()
    nothing = Ratio((), np.zeros(0), np.zeros(0))
    assert np.isnan(ratio_interval([nothing])).all()
    assert np.isnan(ratio_interval([])).all()
    failed = Ratio((0, 1), np.array([np.nan, 1]), np.ones(2))
    assert np.isnan(ratio_interval([failed])).all()


def test_interval_resamples_numerator_and_denominator_together() -> None:
    columns = [made(0), made(1, n=7, mean=1.1)]
    for cap in (np.inf, 1.0):
        found = ratio_interval(columns, cap, reps=20_000)
        values = resampled(columns, cap, 4000, np.random.default_rng(9))
        np.testing.assert_allclose(found[1:], np.percentile(values, [2.5, 97.5]), atol=0.01)
    # A numerator in proportion to its denominator: the ratio never changes, whatever the spread of both.
    below = np.random.default_rng(2).uniform(1, 9, 10)
    assert ratio_interval([Ratio(tuple(range(10)), 0.7 * below, below)]) == pytest.approx((0.7, 0.7, 0.7))


def test_differences_are_paired_and_use_common_seeds() -> None:
    rng = np.random.default_rng(3)
    noise, below = rng.normal(0, 5, 20), np.full(20, 10.0)
    a = Ratio(tuple(range(20)), 8 + noise, below)
    b = Ratio(tuple(range(2, 22)), 7 + np.append(noise[2:], [50, -50]), below)
    found = ratio_difference([a], [b])
    assert found.point == pytest.approx(0.1)
    np.testing.assert_allclose(found[1:], [0.1, 0.1, 1])
    assert ratio_difference([a], [a]) == (0, 0, 0, 0.5)
    # Above the cap on one stream, a method is as good as any other above it.
    high, higher = (Ratio((0, 1, 2), np.full(3, value), np.ones(3)) for value in (1.5, 3.0))
    assert ratio_difference([high, a], [higher, a], cap=1).point == 0
    assert np.isnan(ratio_difference([a.of([1])], [b])).all()
    assert np.isnan(ratio_difference([a.of([5])], [b]).low)
    with pytest.raises(ValueError, match="shorter"):
        ratio_difference([a, a], [b])


def test_above_zero() -> None:
    assert is_above_zero(np.array([0.1]))
    assert not is_above_zero(np.array([0.0]))
    assert not is_above_zero(np.zeros(0))
    assert is_above_zero(np.array([0.2, 0.3, 0.1]))
    assert not is_above_zero(np.array([0.2, -0.1, 0.1]))


def test_band_is_the_interval_of_every_point() -> None:
    rng = np.random.default_rng(5)
    below = rng.normal(5, 1, (9, 4))
    above = below * 0.3 + rng.normal(0, 0.5, (9, 4))
    below[:, 2] = rng.normal(0, 1, 9)  # twins at chance
    point, low, high = ratio_band(above, below, reps=2000)
    for i in (0, 1, 3):
        wanted = ratio_interval([Ratio(tuple(range(9)), above[:, i], below[:, i])])
        assert (point[i], low[i], high[i]) == pytest.approx(wanted)
    assert np.isnan([point[2], low[2], high[2]]).all()
    assert np.isnan(ratio_band(above[:1], below[:1])[1]).all()


def test_ranges_of_places_are_those_of_a_loop() -> None:
    rows = [[made(i, n=10, mean=mean), made(i + 9, n=6, mean=mean)] for i, mean in enumerate((1, 0.98, 0.5))]
    rng, places = np.random.default_rng(1), []
    for _ in range(2000):
        drawn = [rng.integers(n, size=n) for n in (10, 6)]
        values = [
            np.mean([c.numerator[d].sum() / c.denominator[d].sum() for c, d in zip(row, drawn, strict=True)])
            for row in rows
        ]
        places.append([1 + sum(other > value for other in values) for value in values])
    low, high = np.percentile(places, [2.5, 97.5], axis=0, method="nearest")
    assert place_ranges(rows) == [(int(a), int(b)) for a, b in zip(low, high, strict=True)]
    assert place_ranges([]) == []
    # Rows with different seeds: a draw that holds none of a row's seeds takes all of them.
    lone = Ratio((99,), np.array([2.0]), np.array([1.0]))
    assert place_ranges([[lone], [made(0, mean=0.5)]]) == [(1, 1), (2, 2)]
