"""Ranks: sharing them, methods without a rank, and comparisons checked against direct computations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats as scipy_stats

from plasticity_bench.scoring.ranking import Group, groups
from plasticity_bench.stats.bootstrap import Interval, MeanOfStreams, interquartile_mean, stratified_bootstrap
from plasticity_bench.stats.inference import holm, pairwise_p_values


@dataclass(frozen=True, eq=False)
class Line:
    """An artificial row of a table."""

    method: str
    columns: tuple[np.ndarray, ...]
    first_seed: int = 0

    @property
    def score(self) -> Interval:
        return stratified_bootstrap(self.columns, MeanOfStreams(len(self.columns)))

    @property
    def runs(self) -> tuple[tuple[int, ...], tuple[np.ndarray, ...]]:
        return tuple(range(self.first_seed, self.first_seed + len(self.columns[0]))), self.columns

    @property
    def coverage(self) -> tuple[str, ...]:
        return tuple(f"stream-{i}" for i in range(len(self.columns)))


def noisy(mean: float, seed: int, streams: int = 1, n: int = 8) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(mean + 0.01 * rng.normal(size=n) for _ in range(streams))


def only(rows: list[Line]) -> Group[Line]:
    (group,) = groups(rows)
    return group


def test_ranks_are_shared_with_what_does_not_differ_from_the_first() -> None:
    drift = np.linspace(0, 0.02, 8)
    # b hardly differs from a; c clearly differs from a, but hardly from b: c starts a new rank.
    base = np.random.default_rng(0).normal(size=8)
    a, b, c = (base + shift for shift in (drift, drift * np.array([1, -1] * 4), -0.01 - drift))
    rows = [Line("a", (a,)), Line("b", (b,)), Line("c", (c,)), Line("none", (base - 1,))]
    places = only(rows).places
    single, joint = pairwise_p_values(np.array([row.columns[0] for row in rows]))
    assert joint[0, 1] > 0.05 >= joint[0, 2]
    assert [place.text for place in places] == ["1=", "1=", "3", "4"]
    none = [place.none for place in places]
    assert none[3] is None
    corrected = holm([single[i, 3] for i in range(3)])
    assert [found.holm for found in none if found] == corrected
    assert [found.p for found in none if found] == pytest.approx(joint[:3, 3])
    above = [place.above for place in places]
    assert [found.p for found in above if found] == pytest.approx([joint[i, i - 1] for i in range(1, 4)])
    assert above[0] is None
    assert [found.other for found in above if found] == ["a", "b", "c"]
    assert above[1] is not None
    assert above[1].difference.point == pytest.approx(interquartile_mean(b) - interquartile_mean(a))
    wins = scipy_stats.mannwhitneyu(b, a).statistic / 64
    assert above[1].improvement.point == pytest.approx(wins)


def test_what_has_no_rank_says_why() -> None:
    rows = [
        Line("whole", noisy(1, 0, streams=2)),
        Line("few", noisy(0.9, 1, streams=2, n=5)),
        Line("part", noisy(0.8, 2)),
        Line("failed", tuple(np.full(8, np.nan) for _ in range(2))),
    ]
    places = only(rows).places
    assert [place.text for place in places] == ["1", "-", "-", "-"]
    assert [place.why for place in places] == [
        "",
        "5 of the 6 seeds that a rank needs",
        "covers 1 of 2 streams",
        "its score is unknown",
    ]
    assert all(place.above is None for place in places)


def test_tuned_rows_compete_with_tuned_rows() -> None:
    rows = [Line("a (tuned)", noisy(1, 0)), Line("b", noisy(0.9, 1)), Line("none (tuned)", noisy(0.5, 2))]
    tuned, other = groups([*rows, Line("none", noisy(0.4, 3))])
    assert [row.method for row in tuned.rows] == ["a (tuned)", "none (tuned)"]
    assert [row.method for row in other.rows] == ["b", "none"]
    for group in (tuned, other):
        assert [place.text for place in group.places] == ["1", "2"]
        found = group.places[0].none
        assert found is not None
        assert found.other == group.rows[1].method


def test_comparisons_take_the_seeds_of_both() -> None:
    a, b = noisy(1, 0, n=10)[0], noisy(0.9, 1, n=10)[0]
    found = only([Line("a", (a,)), Line("none", (b[2:],), first_seed=2)]).places[0].none
    assert found is not None
    assert found.seeds == 8
    assert found.difference.point == pytest.approx(interquartile_mean(a[2:]) - interquartile_mean(b[2:]))


def test_a_stream_on_which_no_method_differs_changes_no_rank_and_no_p() -> None:
    rows = [Line(f"m{i}", noisy(1 - 0.01 * i, i)) for i in range(6)]
    wider = [Line(row.method, (*row.columns, np.linspace(0.9, 1.1, 8))) for row in rows]
    before, after = only(rows), only(wider)
    assert [place.text for place in after.places] == [place.text for place in before.places]
    for one, two in zip(before.places, after.places, strict=True):
        for before_it, after_it in ((one.above, two.above), (one.none, two.none)):
            assert (before_it is None) == (after_it is None)
            if before_it and after_it:
                assert after_it.p == pytest.approx(before_it.p)
    gaps = [[row.score.point for row in group.rows] for group in (before, after)]
    np.testing.assert_allclose(np.diff(gaps[1]), np.diff(gaps[0]) / 2)


def test_a_failure_on_one_stream_of_four_counts() -> None:
    """The interquartile mean of all values together does not show it."""
    sound, failing = noisy(1, 0, streams=4), (*noisy(1, 0, streams=4)[:3], np.zeros(8))
    assert stratified_bootstrap(failing).point > 0.98
    assert Line("failing", failing).score.point < 0.78
    assert Line("sound", sound).score.point > 0.98


def test_mean_of_one_stream_is_the_interquartile_mean() -> None:
    values = np.random.default_rng(0).normal(size=(3, 11))
    np.testing.assert_array_equal(MeanOfStreams(1)(values), interquartile_mean(values))


def test_resampled_means_of_streams_are_those_of_independent_draws() -> None:
    """Checked against a loop that draws the seeds separately for every stream and resample."""
    rng = np.random.default_rng(4)
    columns = [rng.normal(size=12) * scale for scale in (1.0, 3.0)]
    values = [np.mean([interquartile_mean(rng.choice(column, (20_000, 12))) for column in columns], axis=0)]
    found = stratified_bootstrap(columns, MeanOfStreams(2), reps=20_000)
    low, high = np.percentile(values, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.05)
    assert found.high == pytest.approx(high, abs=0.05)
