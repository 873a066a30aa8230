"""The statistics against hand-computed numbers, scipy, and the bootstrap written out as a loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from plasticity_bench.figures.scatter import spearman
from plasticity_bench.stats.bootstrap import (
    average_ranks,
    interquartile_mean,
    mean_band,
    paired_bootstrap,
    stratified_bootstrap,
    theil_sen,
)
from plasticity_bench.stats.resampling import bounds_of, draws_of, places_of, resampled_means

ONE_TO_EIGHT = np.arange(1.0, 9.0)


def test_interquartile_mean_by_hand() -> None:
    # 8 values: two fall at each end. An outlier there must not matter.
    assert interquartile_mean(np.array([1, 2, 3, 4, 5, 6, 7, 1000.0])) == (3 + 4 + 5 + 6) / 4
    # 5 values: one falls at each end. 3 values: none does.
    assert interquartile_mean(np.array([9, 0, 1, 5, 100.0])) == (1 + 5 + 9) / 3
    assert interquartile_mean(np.array([1, 2, 6.0])) == 3
    assert interquartile_mean(np.array([7.0])) == 7


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 16, 30])
def test_interquartile_mean_is_scipys_trim_mean(n: int) -> None:
    x = np.random.default_rng(n).normal(size=(5, n))
    np.testing.assert_allclose(interquartile_mean(x), scipy_stats.trim_mean(x, 0.25, axis=1))
    np.testing.assert_allclose(interquartile_mean(x, axis=0), scipy_stats.trim_mean(x, 0.25, axis=0))
    np.testing.assert_allclose(interquartile_mean(x, axis=None), scipy_stats.trim_mean(x, 0.25, axis=None))


def test_nan_and_nothing_are_not_dropped() -> None:
    # Sorted last, the nan would be among the values that the trimming drops.
    assert np.isnan(interquartile_mean(np.array([1, 2, 3, np.nan])))
    assert np.isnan(interquartile_mean(np.array([])))
    assert np.isnan(stratified_bootstrap([np.array([1, 2, 3, np.nan])])).all()
    assert np.isnan(paired_bootstrap([ONE_TO_EIGHT], [np.full(8, np.nan)])).all()


def test_constants_have_zero_width() -> None:
    assert stratified_bootstrap([np.full(6, 0.25), np.full(3, 0.25)]) == (0.25, 0.25, 0.25)


def test_two_seeds_exactly() -> None:
    # The means of two draws from {0, 1} are 0, 1/2, 1 with shares 1/4, 1/2, 1/4: both bounds are extreme.
    assert stratified_bootstrap([np.array([0.0, 1.0])]) == (0.5, 0.0, 1.0)


def test_one_seed_has_no_interval() -> None:
    point, low, high = stratified_bootstrap([np.array([0.7])])
    assert point == 0.7
    assert np.isnan([low, high]).all()
    # One stream with a single seed is enough to not know the spread.
    assert np.isnan(stratified_bootstrap([np.array([0.7]), ONE_TO_EIGHT]).low)
    assert np.isnan(stratified_bootstrap([ONE_TO_EIGHT, np.array([0.7])]).low)
    found = paired_bootstrap([np.array([0.7])], [np.array([0.5])])
    assert found.point == pytest.approx(0.2)
    assert np.isnan(found[1:]).all()


def test_no_streams() -> None:
    assert np.isnan(stratified_bootstrap([])).all()
    assert np.isnan(paired_bootstrap([], [])).all()


def test_strata_are_resampled_apart() -> None:
    # Each stream is constant, so that resampling within streams changes nothing; pooled, it would.
    low_and_high = [np.zeros(4), np.ones(4)]
    assert stratified_bootstrap(low_and_high, lambda x: x.mean(axis=-1)) == (0.5, 0.5, 0.5)


def test_strata_may_differ_in_length() -> None:
    # Two seeds that add nothing to a sum: it is spread as the eight seeds of the other stream are.
    found = stratified_bootstrap([np.zeros(2), ONE_TO_EIGHT], lambda x: x.sum(axis=-1))
    alone = stratified_bootstrap([ONE_TO_EIGHT], lambda x: x.sum(axis=-1))
    assert found.point == alone.point == 36
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_aggregate_is_rliables() -> None:
    """rliable: trim_mean over all of a (seeds x streams) matrix, seeds resampled within every stream."""
    matrix = np.random.default_rng(7).normal([0, 1, 3], [1, 0.5, 2], size=(10, 3))
    rng, resampled = np.random.default_rng(99), []
    for _ in range(4000):
        columns = [rng.choice(matrix[:, stream], size=10) for stream in range(3)]
        resampled.append(scipy_stats.trim_mean(np.stack(columns, axis=1), 0.25, axis=None))
    low, high = np.percentile(resampled, [2.5, 97.5])
    found = stratified_bootstrap(matrix, reps=4000)
    assert found.point == pytest.approx(scipy_stats.trim_mean(matrix, 0.25, axis=None))
    assert found.low == pytest.approx(low, abs=0.05 * (high - low))
    assert found.high == pytest.approx(high, abs=0.05 * (high - low))


def test_interval_covers() -> None:
    # Nominally 95%; with 16 seeds a percentile bootstrap covers somewhat less.
    draws = np.random.default_rng(1).normal(size=(400, 16))
    intervals = [stratified_bootstrap([seeds], reps=500) for seeds in draws]
    covered = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert 0.88 < covered < 0.98


def test_deterministic_and_seeded() -> None:
    x = [np.random.default_rng(3).normal(size=9)]
    assert stratified_bootstrap(x) == stratified_bootstrap(x)
    assert stratified_bootstrap(x, rng_seed=1) != stratified_bootstrap(x, rng_seed=2)


def test_pairing_cancels_what_seeds_share() -> None:
    seeds = 100 * np.random.default_rng(0).normal(size=12)
    found = paired_bootstrap([seeds + 1], [seeds])
    np.testing.assert_allclose(found, (1, 1, 1, 1))
    # Unpaired (the other order of seeds) the spread of the seeds drowns the difference.
    unpaired = paired_bootstrap([seeds + 1], [seeds[::-1]])
    assert unpaired.low < 0 < unpaired.high


def test_paired_by_hand() -> None:
    # Two seeds with differences 0 and 1: resampled means 0, 1/2, 1 with shares 1/4, 1/2, 1/4.
    found = paired_bootstrap([np.array([3.0, 6.0])], [np.array([3.0, 5.0])])
    assert found[:3] == (0.5, 0.0, 1.0)
    # Positive three times in four, zero once in four, which counts half.
    assert found.probability == pytest.approx(0.75 + 0.125, abs=0.02)
    same = paired_bootstrap([ONE_TO_EIGHT], [ONE_TO_EIGHT])
    assert same == (0, 0, 0, 0.5)


def test_paired_needs_the_same_seeds() -> None:
    with pytest.raises(ValueError, match="same seeds"):
        paired_bootstrap([ONE_TO_EIGHT], [ONE_TO_EIGHT[:-1]])


def test_theil_sen_by_hand() -> None:
    # Slopes: 1, 9, 5 -> the median is 5. One outlier among many points does not move it.
    assert theil_sen(np.array([0.0, 1.0, 10.0])) == 5
    line = 2.0 * np.arange(20)
    line[7] = -1000
    assert theil_sen(line) == 2
    assert np.isnan(theil_sen(np.array([1.0])))
    assert np.isnan(theil_sen(np.array([1.0, np.nan, 2.0])))


@pytest.mark.parametrize("n", [2, 5, 40, 301])
def test_theil_sen_is_scipys(n: int) -> None:
    y = np.random.default_rng(n).normal(size=n).cumsum()
    assert theil_sen(y) == pytest.approx(scipy_stats.theilslopes(y).slope)


def test_mean_band() -> None:
    values = np.random.default_rng(5).normal([0.0, 10.0], [1.0, 3.0], size=(40, 2))
    mean, low, high = mean_band(values, reps=4000)
    np.testing.assert_allclose(mean, values.mean(axis=0))
    # For 40 normal values the bootstrap agrees with the normal approximation.
    half = 1.96 * values.std(axis=0) / np.sqrt(40)
    np.testing.assert_allclose(high - low, 2 * half, rtol=0.08)
    assert ((low < mean) & (mean < high)).all()
    assert np.isnan(mean_band(values[:1])[1]).all()


@pytest.mark.parametrize("lengths", [(2,), (3,), (16,), (50,), (8, 8), (4, 50, 7)])
def test_resampling_by_rank_gives_the_same_bits(lengths: tuple[int, ...]) -> None:
    """Recorded scores hold these numbers: with the same values and draws, results must be bit-identical."""
    rng = np.random.default_rng(sum(lengths))
    strata = [rng.normal(size=n).round(1 if n == 16 else 9) for n in lengths]
    other = [column + rng.normal(0, 0.1, len(column)) for column in strata]
    draws = draws_of(lengths, 2000, 0)

    def plainly(columns: list[np.ndarray]) -> np.ndarray:
        parts = [column[draw] for column, draw in zip(columns, draws, strict=True)]
        return interquartile_mean(np.concatenate(parts, axis=1))

    assert stratified_bootstrap(strata)[1:] == tuple(np.percentile(plainly(strata), [2.5, 97.5]))
    difference = plainly(strata) - plainly(other)
    found = paired_bootstrap(strata, other)
    assert found[1:3] == tuple(np.percentile(difference, [2.5, 97.5]))
    assert found.probability == np.mean(difference > 0) + np.mean(difference == 0) / 2


@pytest.mark.parametrize("n", [2, 3, 4, 30, 31, 300])
@pytest.mark.parametrize("kind", ["noise", "line", "steps", "constant", "outlier"])
def test_theil_sen_is_the_median_of_all_slopes(n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    y = {
        "noise": rng.normal(size=n),
        "line": np.linspace(0, 1, n),
        "steps": rng.integers(3, size=n).astype(float),
        "constant": np.full(n, 0.1),
        "outlier": np.where(np.arange(n) == 1, 1e300, rng.normal(size=n)),
    }[kind]
    slopes = [(y[j] - y[i]) / (j - i) for i in range(n) for j in range(i + 1, n)]
    assert theil_sen(y) == np.median(slopes)


def test_mean_band_is_numpys_percentiles() -> None:
    values = np.random.default_rng(2).normal(size=(9, 30))
    values[0, 3] = np.nan
    (draws,) = draws_of([len(values)], 1000, 0)
    resampled = values[draws].mean(axis=1)
    expected = np.percentile(resampled, [2.5, 97.5], axis=0)
    np.testing.assert_allclose(mean_band(values)[1:], expected, rtol=1e-12)
    assert np.isnan(mean_band(values)[1][3])


@pytest.mark.parametrize("lengths", [(2,), (5,), (50,), (300,), (3, 4), (20, 20, 20)])
def test_resampled_means_are_those_of_plain_sorting_bit_for_bit(lengths: tuple[int, ...]) -> None:
    """For equal values, values that rounding almost merges, the largest and smallest floats, inf and nan."""
    rng = np.random.default_rng(sum(lengths))
    n = sum(lengths)
    cut = n // 4
    places = places_of(lengths, 2000, 0)
    for values in (
        *rng.normal(size=(20, n)),
        rng.normal(size=n).round(1),
        np.full(n, 0.1),
        np.where(np.arange(n) % 3, 0.0, 1e-17),
        1e8 + 1e-8 * rng.normal(size=n),
        rng.normal(size=n) * 1e299,
        rng.normal(size=n) * 1e-310,
        np.append(rng.normal(size=n - 1), np.inf),
        np.append(rng.normal(size=n - 1), np.nan),
    ):
        with np.errstate(invalid="ignore", over="ignore"):
            plain = np.sort(values[places], axis=-1)[:, cut : n - cut].mean(axis=-1)
            means = resampled_means(values, lengths, 2000, 0)
            found = bounds_of(means)
            np.testing.assert_allclose(found, np.percentile(means, [2.5, 97.5]), rtol=1e-12)
        assert means.tobytes() == plain.tobytes()
        if np.isfinite(values).all():
            assert stratified_bootstrap(np.split(values, np.cumsum(lengths)[:-1]))[1:] == found


def test_ranks_and_their_correlation_are_scipys() -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(0, 6, size=(12, 9)).astype(float)
    values[[0, 3, 7], [2, 2, 5]] = np.nan
    wanted = scipy_stats.rankdata(values, axis=0, nan_policy="omit")
    np.testing.assert_array_equal(average_ranks(values), wanted)
    x, y = rng.integers(0, 5, 20).tolist(), rng.normal(size=20).tolist()
    assert spearman(x, y) == pytest.approx(scipy_stats.spearmanr(x, y).statistic, abs=1e-12)
