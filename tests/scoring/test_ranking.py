"""Ranks: the rule in its own words, ranges of places, rows without a rank, and the comparisons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats as scipy_stats

from plasticity_bench.scoring.ranking import Group, Place, groups, p_values, significant_ranks
from plasticity_bench.scoring.scores import CAP
from plasticity_bench.stats.bootstrap import Interval
from plasticity_bench.stats.inference import capped_p_values, holm, pairwise_p_values
from plasticity_bench.stats.ratios import Ratio, ratio_interval


@dataclass(frozen=True, eq=False)
class Line:
    """An artificial row of a table."""

    method: str
    columns: tuple[Ratio, ...]
    cap: float = np.inf

    @property
    def score(self) -> Interval:
        return ratio_interval(self.columns, self.cap)

    @property
    def coverage(self) -> tuple[str, ...]:
        return tuple(f"stream-{i}" for i in range(len(self.columns)))


def row(method: str, *columns: np.ndarray, first_seed: int = 0, cap: float = np.inf) -> Line:
    """A row with these contributions; all denominators are 2."""
    ratios = [
        Ratio(tuple(range(first_seed, first_seed + len(c))), 2 * c, np.full(len(c), 2.0)) for c in columns
    ]
    return Line(method, tuple(ratios), cap)


def noisy(mean: float, seed: int, n: int = 8, noise: float = 0.01) -> np.ndarray:
    return mean + noise * np.random.default_rng(seed).normal(size=n)


def only(rows: list[Line], cap: float = np.inf) -> Group[Line]:
    (group,) = groups(rows, cap)
    return group


def test_a_rank_is_one_plus_the_rows_significantly_above() -> None:
    p = np.ones((4, 4))
    for above, below in ((0, 2), (0, 3), (1, 3)):
        p[above, below] = p[below, above] = 0.01
    # Not transitive: the second row differs from the last, but neither from the first nor from the third.
    assert significant_ranks([0.9, 0.8, 0.7, 0.6], p) == [1, 1, 2, 3]
    # Significance counts in one direction only, and a p-value that is not known is not significant.
    assert significant_ranks([0.6, 0.7, 0.8, 0.9], p) == [3, 2, 1, 1]
    assert significant_ranks([0.9, 0.8], np.full((2, 2), np.nan)) == [1, 1]
    assert significant_ranks([0.9, 0.8], np.array([[1, 0.05], [0.05, 1]])) == [1, 2]
    assert significant_ranks([], np.ones((0, 0))) == []


def test_ranks_follow_from_the_corrected_tests_of_all_pairs() -> None:
    drift = np.linspace(0, 0.02, 8)
    # b hardly differs from a; c clearly differs from a, but hardly from b.
    base = np.random.default_rng(0).normal(size=8)
    a, b, c = (base + shift for shift in (drift, drift * np.array([1, -1] * 4), -0.01 - drift))
    rows = [row("a", a), row("b", b), row("c", c), row("none", base - 1), row("reset", base - 2)]
    places = only(rows).places
    single, joint = pairwise_p_values(np.array([each.columns[0].numerator for each in rows]))
    assert joint[0, 1] > 0.05 >= joint[0, 2]
    expected = [1 + sum(joint[i, j] <= 0.05 for j in range(i)) for i in range(3)]
    assert [place.rank for place in places] == [*expected, None, None]
    assert [place.why for place in places] == ["", "", "", "reference", "reference"]
    for reference, name in ((3, "none"), (4, "reset")):
        found = [getattr(place, name) for place in places]
        assert found[reference] is None
        others = [i for i in range(5) if i != reference]
        assert [found[i].p for i in others] == pytest.approx(joint[others, reference])
        assert [found[i].holm for i in others] == holm([single[i, reference] for i in others])
        assert {found[i].other for i in others} == {name}
    assert places[0].none is not None
    assert places[0].none.difference.point == pytest.approx((a - base + 1).mean())
    wins = scipy_stats.mannwhitneyu(a, base - 1).statistic / 64
    assert places[0].none.improvement.point == pytest.approx(wins)


def test_what_has_no_rank_says_why() -> None:
    rows = [
        row("whole", noisy(1, 0), noisy(1, 5)),
        row("few", noisy(0.9, 1, n=8), noisy(0.9, 6, n=5)),
        row("part", noisy(0.8, 2)),
        row("failed", np.full(8, np.nan), np.full(8, np.nan)),
        row("none", noisy(0.7, 3, n=5), noisy(0.7, 4)),
    ]
    places = only(rows, CAP).places
    assert [place.text for place in places] == ["1", "-", "-", "-", "-"]
    assert [place.why for place in places] == [
        "",
        "5 of the 6 seeds that a rank needs",
        "covers 1 of 2 streams",
        "its level is unknown",
        "5 of the 6 seeds that a rank needs",
    ]
    assert all(place.none is None for place in places), "none has too few seeds to be compared"
    assert [place.range_text for place in places] == ["1", "", "", "", ""]
    assert Place(2, 1, 4).range_text == "1-4"


def test_tuned_rows_compete_with_tuned_rows() -> None:
    rows = [row("a (tuned)", noisy(1, 0)), row("b", noisy(0.9, 1)), row("none (tuned)", noisy(0.5, 2))]
    tuned, other = groups([*rows, row("none", noisy(0.4, 3))])
    assert [each.method for each in tuned.rows] == ["a (tuned)", "none (tuned)"]
    assert [each.method for each in other.rows] == ["b", "none"]
    for group in (tuned, other):
        assert [place.text for place in group.places] == ["1", "-"]
        found = group.places[0].none
        assert found is not None
        assert found.other == group.rows[1].method
        assert group.places[0].reset is None


def test_comparisons_take_the_seeds_of_both() -> None:
    a, b = noisy(1, 0, n=10), noisy(0.9, 1, n=10)
    found = only([row("a", a), row("none", b[2:], first_seed=2)]).places[0].none
    assert found is not None
    assert found.seeds == 8
    assert found.difference.point == pytest.approx((a[2:] - b[2:]).mean())


def test_each_stream_has_its_own_seeds() -> None:
    """More seeds on one stream do not take seeds from another, and every stream has the same weight."""
    many, few = noisy(0.9, 0, n=40), noisy(0.5, 1, n=8)
    rows = [row("a", many, few, cap=CAP), row("none", many - 0.1, few - 0.1, cap=CAP)]
    assert rows[0].score.point == pytest.approx((many.mean() + few.mean()) / 2)
    found = only(rows, CAP).places[0].none
    assert found is not None
    assert found.seeds == 8
    assert found.difference.point == pytest.approx(0.1)
    assert found.significant


def test_what_is_above_the_cap_makes_no_difference() -> None:
    """Two methods above 1 on the only stream where they differ are equal."""
    equal = noisy(0.8, 3)
    rows = [row("a", noisy(2, 0), equal, cap=CAP), row("b", noisy(1.5, 1), equal, cap=CAP)]
    assert [each.score.point for each in rows] == pytest.approx([(1 + equal.mean()) / 2] * 2)
    assert p_values([each.columns for each in rows], CAP)[1][0, 1] == 1
    assert [place.rank for place in only(rows, CAP).places] == [1, 1]
    # Without the cap they clearly differ.
    assert p_values([each.columns for each in rows])[1][0, 1] < 0.05


def test_a_stream_on_which_no_method_differs_changes_no_rank() -> None:
    rows = [row(f"m{i}", noisy(0.9 - 0.01 * i, i, n=11)) for i in range(6)]
    level = Ratio(tuple(range(11)), np.linspace(0.9, 1.1, 11), np.ones(11))
    wider = [Line(each.method, (*each.columns, level), CAP) for each in rows]
    before, after = only(rows, CAP), only(wider, CAP)
    p_before, p_after = (capped_p_values([each.columns for each in part], CAP)[1] for part in (rows, wider))
    np.testing.assert_allclose(p_after, p_before, atol=0.035)
    assert [place.rank for place in after.places] == [place.rank for place in before.places]
    gaps = [[each.score.point for each in group.rows] for group in (before, after)]
    np.testing.assert_allclose(np.diff(gaps[1]), np.diff(gaps[0]) / 2)


def test_a_failure_on_one_stream_of_four_counts() -> None:
    """The interquartile mean of all values together does not show it."""
    sound = [noisy(0.99, i) for i in range(4)]
    failing = row("failing", *sound[:3], np.zeros(8), cap=CAP)
    assert failing.score.point < 0.78
    assert row("sound", *sound, cap=CAP).score.point > 0.98


def test_range_of_places() -> None:
    clear = only([row("a", noisy(0.9, 0)), row("b", noisy(0.5, 1)), row("none", noisy(0.1, 2))])
    assert [place.range_text for place in clear.places] == ["1", "2", ""]
    close = only([row("a", noisy(0.9, 0, noise=0.2)), row("b", noisy(0.9, 1, noise=0.2))])
    assert [place.range_text for place in close.places] == ["1-2", "1-2"]
