"""Intervals equal the published ones and cover what they say, in simulations with fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mlobs_pipelines.statistics import gaps
from mlobs_pipelines.statistics.intervals import (
    Estimate,
    bonferroni_z,
    delta_deviation,
    log_ratio,
    logit,
    mean,
    newcombe_difference,
    wilson,
)

DRAWS = 4000


def covered(interval: tuple[np.ndarray, np.ndarray], truth: float) -> float:
    return float(np.mean((interval[0] <= truth) & (truth <= interval[1])))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_newcombes_published_ones(k: int, n: int, low: float, high: float) -> None:
    assert np.round(wilson(k, n), 4).tolist() == [low, high]


def test_wilson_is_scipys_and_knows_no_interval_without_trials() -> None:
    for k, n in ((0, 5), (3, 7), (40, 40), (17, 1000)):
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert np.isnan(wilson(0, 0)).all()


def test_newcombe_differences_are_the_published_ones() -> None:
    published = {(56, 70, 48, 80): (0.0524, 0.3339), (9, 10, 3, 10): (0.1705, 0.8090), (10, 10, 0, 20): (0.6791, 1.0)}
    for counts, expected in published.items():
        assert np.round(newcombe_difference(*counts), 4) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(
    ("p1", "p2", "n1", "n2"), [(0.05, 0.1, 60, 90), (0.5, 0.5, 40, 40), (0.02, 0.02, 400, 300), (0.9, 0.97, 80, 50)]
)
def test_intervals_of_one_and_two_proportions_cover(p1: float, p2: float, n1: int, n2: int) -> None:
    rng = np.random.default_rng(11)
    a, b = rng.binomial(n1, p1, DRAWS), rng.binomial(n2, p2, DRAWS)
    one = covered(wilson(a, n1), p1)
    two = covered(newcombe_difference(a, n1, b, n2), p1 - p2)
    some = b > 0
    ratio = covered(log_ratio(a[some], n1, b[some], n2), p1 / p2)
    print(f"p={p1},{p2} n={n1},{n2}: wilson {one:.3f} newcombe {two:.3f} log ratio {ratio:.3f}")
    assert 0.92 < one < 0.985
    assert 0.935 < two < 0.99
    assert 0.925 < ratio < 0.99


def test_a_mean_of_skewed_values_is_covered() -> None:
    rng = np.random.default_rng(3)
    x = rng.exponential(2.0, (DRAWS, 200))
    m = mean(x.sum(axis=1), (x**2).sum(axis=1), np.full(DRAWS, 200))
    rate = covered((m.lower, m.upper), 2.0)
    print(f"mean of 200 exponentials: {rate:.3f}")
    assert 0.93 < rate < 0.96


def test_the_logit_scale_has_no_interval_where_it_ends() -> None:
    lower, upper = logit(np.array([0.0, 1.0, 0.5]), np.array([0.1, 0.1, 0.1]))
    assert np.isnan(lower[:2]).all() and np.isnan(upper[:2]).all()
    assert 0 < lower[2] < 0.5 < upper[2] < 1


def test_the_delta_method_gives_the_deviation_of_a_share() -> None:
    counts, n = np.array([30.0, 70.0]), 100.0
    gradient = np.array([1 / n - 0.3 / n, -0.3 / n])
    assert delta_deviation(counts, gradient) == pytest.approx(np.sqrt(0.3 * 0.7 / n))


def test_gaps_between_groups_are_covered_whichever_groups_are_farthest_apart() -> None:
    rng = np.random.default_rng(5)
    n = np.array([200, 90, 150, 60])
    for rates in ([0.3, 0.3, 0.3, 0.3], [0.2, 0.35, 0.3, 0.5]):
        k = rng.binomial(n, rates, (DRAWS, 4))
        gap, ratio = gaps.largest_difference(k, n), gaps.smallest_ratio(k, n)
        d = covered((gap.lower, gap.upper), max(rates) - min(rates))
        r = covered((ratio.lower, ratio.upper), min(rates) / max(rates))
        print(f"rates {rates}: gap {d:.3f} ratio {r:.3f}")
        assert d >= 0.945 and r >= 0.945
        assert ((gap.lower <= gap.value) & (gap.value <= gap.upper)).all()
        assert ((ratio.lower <= ratio.value) & (ratio.value <= ratio.upper)).all()


def test_gaps_leave_out_groups_without_rows_and_need_two() -> None:
    two = gaps.largest_difference([5, 30, 0], [50, 60, 0])
    assert float(two.value) == pytest.approx(0.4)
    assert np.isnan(gaps.largest_difference([5, 0], [50, 0]).value)
    assert np.isnan(gaps.smallest_ratio([0, 0], [50, 40]).value)


def test_a_group_is_held_against_its_reference_group() -> None:
    ratio = gaps.ratio_to(20, 100, 40, 100)
    difference = gaps.difference_to(20, 100, 40, 100)
    assert float(ratio.value) == 0.5 and float(difference.value) == pytest.approx(-0.2)
    wider = gaps.ratio_to(20, 100, 40, 100, comparisons=5)
    assert wider.lower < ratio.lower < 0.5 < ratio.upper < wider.upper
    assert isinstance(ratio, Estimate) and bonferroni_z(5) > bonferroni_z(1)
