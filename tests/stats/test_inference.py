"""Tests, corrections and profiles against scipy, published numbers, and loops written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from plasticity_bench.stats.inference import (
    capped_p_values,
    holm,
    paired_test,
    pairwise_p_values,
    performance_profile,
    probability_of_improvement,
    sign_flip_p,
)
from plasticity_bench.stats.ratios import Ratio


def simultaneous(values: np.ndarray) -> np.ndarray:
    return pairwise_p_values(values)[1]


def pair(n: int, shift: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    return x + shift, x + rng.normal(size=n) / 2


@pytest.mark.parametrize("n", [3, 8, 13])
def test_paired_test_is_scipys(n: int) -> None:
    a, b = pair(n)
    scipys = scipy_stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.abs(scipy_stats.ttest_rel(x, y, axis=axis).statistic),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
        vectorized=True,
    )
    assert paired_test(a, b) == pytest.approx(scipys.pvalue)


def test_paired_test_by_hand() -> None:
    # Three seeds, all higher by about one: 2 of the 8 patterns are as extreme.
    a = np.array([2.0, 3.1, 4.0])
    assert paired_test(a, np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert paired_test(a, a) == 1
    assert np.isnan(paired_test(np.array([np.nan, 1.0]), np.array([0.0, 1.0])))
    assert np.isnan(paired_test(a[:1], a[:1] + 1))
    with pytest.raises(ValueError, match="same seeds"):
        paired_test(a, a[:2])


def test_random_sign_patterns_are_near_the_exact_ones() -> None:
    a, b = pair(12, 0.2)
    exact = paired_test(a, b)
    assert 0.01 < exact < 0.9
    values = np.array([a, b])
    assert pairwise_p_values(values, permutations=3000)[0][0, 1] == pytest.approx(exact, abs=0.03)
    np.testing.assert_array_equal(pairwise_p_values(values)[0], pairwise_p_values(values)[0])


def test_level_is_kept_under_the_null() -> None:
    """Of 300 comparisons without a difference, about 5% have p below 0.05, and no more."""
    rng = np.random.default_rng(2)
    p = [paired_test(rng.normal(size=8), rng.normal(size=8)) for _ in range(300)]
    assert 0.01 < np.mean(np.array(p) <= 0.05) < 0.085


def test_holm_is_rs() -> None:
    # R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") and p.adjust(c(0.04, 0.001, 0.6), "holm")
    np.testing.assert_allclose(holm([0.01, 0.02, 0.03, 0.04, 0.05]), [0.05, 0.08, 0.09, 0.09, 0.09])
    np.testing.assert_allclose(holm([0.04, 0.001, 0.6]), [0.08, 0.003, 0.6])
    assert holm([0.9, 0.8]) == [1, 1]
    adjusted = holm([0.02, float("nan"), 0.03])
    assert adjusted[0] == 0.04
    assert np.isnan(adjusted[1])
    assert holm([]) == []


def test_probability_of_improvement_is_mann_whitneys() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 6, size=(9, 2)).astype(float), rng.integers(0, 5, size=(7, 2)).astype(float)
    expected = np.mean([scipy_stats.mannwhitneyu(a[:, s], b[:, s]).statistic / (9 * 7) for s in range(2)])
    found = probability_of_improvement(a, b)
    assert found.point == pytest.approx(expected)
    assert found.low < found.point < found.high
    mirrored = probability_of_improvement(b, a)
    assert mirrored.point == pytest.approx(1 - expected)
    assert probability_of_improvement(a + 10, b) == pytest.approx((1, 1, 1))
    assert np.isnan(probability_of_improvement(a[:1], b).low)
    assert np.isnan(probability_of_improvement([np.array([np.nan])], [np.array([1.0])]).point)
    with pytest.raises(ValueError, match="same streams"):
        probability_of_improvement(a, b[:, :1])


def test_probability_of_improvement_resamples_as_a_loop_does() -> None:
    a, b = pair(10, 0.3)
    rng, values = np.random.default_rng(8), []
    for _ in range(4000):
        x, y = rng.choice(a, 10), rng.choice(b, 10)
        values.append(np.mean([(u > v) + (u == v) / 2 for u in x for v in y]))
    low, high = np.percentile(values, [2.5, 97.5])
    found = probability_of_improvement([a], [b], reps=4000)
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)


def test_performance_profile_by_hand() -> None:
    thresholds = np.array([0.0, 0.5, 1.0, 2.0])
    first, second = np.array([0.2, 0.8, 1.5, 1.0]), np.array([0.6, 3.0])
    shares, low, high = performance_profile([first, second], thresholds)
    # Streams weigh the same, whatever their seeds; a run at the threshold is not above it.
    np.testing.assert_allclose(shares, [1, (0.75 + 1) / 2, (0.25 + 0.5) / 2, (0 + 0.5) / 2])
    assert (low <= shares).all()
    assert (shares <= high).all()
    assert low[0] == high[0] == 1
    assert np.isnan(performance_profile([np.array([1.0])], thresholds)[1]).all()


def test_simultaneous_p_values_of_one_pair_are_the_sign_test_on_t() -> None:
    """Two methods: scipy's permutation test on the paired t statistic."""
    a, b = pair(9, 0.3)
    scipys = scipy_stats.permutation_test(
        (a - b,),
        lambda d, axis: np.abs(d.mean(axis) / d.std(axis, ddof=1)),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
        vectorized=True,
    )
    found = simultaneous(np.array([a, b]))
    assert found[0, 1] == found[1, 0] == pytest.approx(scipys.pvalue)
    assert found[0, 0] == found[1, 1] == 1


def test_simultaneous_p_values_written_out() -> None:
    values = np.random.default_rng(0).normal([[0.0], [0.4], [2.0]], 1, size=(3, 6))
    pairs = [(0, 1), (0, 2), (1, 2)]

    def t(d: np.ndarray) -> float:
        return float(abs(scipy_stats.ttest_1samp(d, 0).statistic))

    own = [t(values[i] - values[j]) for i, j in pairs]
    largest = [
        max(t(np.array(signs) * (values[i] - values[j])) for i, j in pairs)
        for signs in itertools.product([1, -1], repeat=6)
    ]
    found = simultaneous(values)
    for (i, j), statistic in zip(pairs, own, strict=True):
        assert found[i, j] == pytest.approx(np.mean(np.array(largest) >= statistic * (1 - 1e-9)))
    # Adjusted values are never below those of the pair alone.
    single = pairwise_p_values(values)[0]
    assert single[0, 2] == simultaneous(values[[0, 2]])[0, 1]
    assert (found >= single).all()


def test_eight_seeds_can_tell_many_methods_apart() -> None:
    """Holm's least value for 24 methods and 8 seeds is 276 * 2 / 256: it can reject nothing."""
    rng = np.random.default_rng(1)
    values = 0.1 * rng.normal(size=(24, 8)) + np.arange(24)[:, None]
    assert simultaneous(values)[0, 23] <= 0.05
    assert simultaneous(values[:, :4]).min() >= 2 / 2**4


def test_simultaneous_level_is_kept() -> None:
    """Ten methods without differences: some pair is found to differ in about 5% of tables."""
    rng = np.random.default_rng(3)
    tables = [simultaneous(rng.normal(size=(10, 8))) for _ in range(200)]
    assert np.mean([table.min() <= 0.05 for table in tables]) < 0.1


def test_lacking_seeds_and_equal_methods() -> None:
    values = np.random.default_rng(5).normal(size=(4, 6))
    values[1] = values[0]
    values[2, 1:] = np.nan
    found = simultaneous(values)
    assert found[0, 1] == 1
    assert np.isnan(found[2, [0, 1, 3]]).all()
    assert found[2, 2] == 1
    partly = np.array([[1.0, 2, 3, 4, np.nan], [0, 1.1, 2, 3, 9]])
    assert simultaneous(partly)[0, 1] == 2 / 16
    many = np.random.default_rng(6).normal(size=(2, 20))
    many[0] += 3
    assert simultaneous(many)[0, 1] == 1 / 2**11


def columns(values: np.ndarray, *sizes: int) -> list[list[Ratio]]:
    """The rows of ``values`` (methods, all seeds) as ratios on streams with so many seeds each."""
    ends = np.cumsum(sizes)[:-1]
    rng = np.random.default_rng(0)
    below = [rng.uniform(1, 2, size) for size in sizes]
    return [
        [
            Ratio(tuple(range(len(part))), part * scale, scale)
            for part, scale in zip(np.split(row, ends), below, strict=True)
        ]
        for row in values
    ]


def brute_force(rows: list[list[Ratio]], cap: float) -> tuple[np.ndarray, np.ndarray]:
    """p-values of capped means, with every exchange of the two methods' numerators written out."""
    lengths = [len(column.seeds) for column in rows[0]]
    pairs = list(itertools.combinations(range(len(rows)), 2))
    sizes = []
    for flat in itertools.product([False, True], repeat=sum(lengths)):
        swapped = np.split(np.array(flat), np.cumsum(lengths)[:-1])
        line = []
        for i, j in pairs:
            scores = []
            for one, other in ((i, j), (j, i)):
                levels = [
                    np.where(swap, b.numerator, a.numerator).sum() / a.denominator.sum()
                    for a, b, swap in zip(rows[one], rows[other], swapped, strict=True)
                ]
                scores.append(np.minimum(levels, cap).mean())
            line.append(abs(scores[0] - scores[1]))
        sizes.append(line)
    table = np.array(sizes)
    spread = np.sqrt((table**2).mean(axis=0))
    table = table / np.maximum(spread, np.median(spread))
    single, joint = np.ones((2, len(rows), len(rows)))
    for k, (i, j) in enumerate(pairs):
        observed = table[0, k] * (1 - 1e-9)
        single[i, j] = single[j, i] = np.mean(table[:, k] >= observed)
        joint[i, j] = joint[j, i] = np.mean(table.max(axis=1) >= observed)
    return single, joint


@pytest.mark.parametrize("cap", [1.0, np.inf])
def test_capped_p_values_are_those_of_brute_force(cap: float) -> None:
    values = np.random.default_rng(7).normal([[0.8], [1.0], [1.3]], 0.2, size=(3, 9))
    rows = columns(values, 5, 4)
    found = capped_p_values(rows, cap)
    for one, other in zip(found, brute_force(rows, cap), strict=True):
        np.testing.assert_allclose(one, other)


def test_capped_p_values_take_the_seeds_of_both_on_each_stream() -> None:
    rows = columns(np.random.default_rng(8).normal([[0.7], [0.9], [0.6]], 0.1, size=(3, 9)), 5, 4)
    # The second method lacks a seed of the first stream.
    rows[1][0] = rows[1][0].of([0, 2, 3, 4])
    found = capped_p_values(rows, 1.0)[0]
    alone = capped_p_values([[rows[0][0].of([0, 2, 3, 4]), rows[0][1]], rows[1]], 1.0)[0]
    assert found[0, 1] == alone[0, 1]
    assert found[0, 2] == capped_p_values([rows[0], rows[2]], 1.0)[0][0, 1]
    rows[1][0] = rows[1][0].of([3])
    assert np.isnan(capped_p_values(rows, 1.0)[1][1, [0, 2]]).all()
    assert capped_p_values(rows, 1.0)[1][0, 2] <= 1
    assert capped_p_values([], 1.0)[0].shape == (0, 0)


def test_rare_differences_above_the_cap_hide_no_others() -> None:
    """Two methods that hardly ever come below the cap do not decide what is significant elsewhere."""
    rng = np.random.default_rng(5)
    low, middle = rng.normal(0.5, 0.05, 14), rng.normal(0.8, 0.05, 14)
    above = [rng.normal(mean, 0.12, 14) for mean in (1.25, 1.15, 1.2, 1.22)]
    joint = capped_p_values(columns(np.array([low, middle, *above]), 8, 6), 1.0)[1]
    assert joint[0, 1] < 0.05
    assert joint[0, 2] < 0.05
    assert joint[2, 3] > 0.5


def test_capped_level_is_kept() -> None:
    """Six methods without differences, near the cap, on two streams: some pair differs in about 5%."""
    rng = np.random.default_rng(3)
    smallest = [
        np.nanmin(capped_p_values(columns(rng.normal(1, 0.2, size=(6, 14)), 8, 6), 1.0)[1])
        for _ in range(200)
    ]
    assert np.mean(np.array(smallest) <= 0.05) < 0.09


def test_sign_flips_of_several_streams_by_hand() -> None:
    # All patterns of five signs; only all plus and all minus reach the observed mean.
    assert sign_flip_p([np.array([1.0, 2.0, 1.5]), np.array([0.5, 0.7])]) == 2 / 32
    assert sign_flip_p([np.array([1.0, -1.0])]) == 1
    assert np.isnan(sign_flip_p([np.array([1.0, 2.0]), np.array([1.0])]))
    assert np.isnan(sign_flip_p([np.array([1.0, np.nan])]))
    assert np.isnan(sign_flip_p([]))
    assert np.isnan(sign_flip_p([np.zeros(0)]))
    d = np.random.default_rng(1).normal(0.3, 1, 12)
    assert sign_flip_p([d]) == pytest.approx(paired_test(d, np.zeros(12)))
