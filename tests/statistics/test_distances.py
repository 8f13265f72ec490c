"""Distances equal SciPy's and published ones, lie within their bounds, and their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from mlobs_pipelines.statistics import distances as d

A, B = np.array([16, 18, 16, 14, 12, 12]), np.array([16, 16, 16, 16, 16, 8])


def test_published_counts_give_the_published_distances() -> None:
    s = d.shares(B, A)
    assert float(d.hellinger(s).value) == pytest.approx(0.06812, abs=1e-5)
    # a goodness-of-fit test is the homogeneity test against a reference without end
    endless = float(d.chi_squared(d.shares(A * 1e9, B)).value)
    assert stats.chi2.sf(endless, 5) == pytest.approx(0.67309, abs=1e-5)


def test_distances_of_categories_are_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.multinomial(900, [0.1, 0.2, 0.3, 0.4]), rng.multinomial(500, [0.2, 0.2, 0.3, 0.3])
    s = d.shares(a, b)
    p, q = a / a.sum(), b / b.sum()
    assert d.jensen_shannon(s).value == pytest.approx(jensenshannon(p, q, base=2))
    assert d.psi(s).value == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p))
    assert d.total_variation(s).value == pytest.approx(np.abs(p - q).sum() / 2)
    assert d.hellinger(s).value == pytest.approx(np.sqrt(1 - np.sqrt(p * q).sum()))
    chi2 = stats.chi2_contingency(np.stack([a, b]), correction=False)
    assert d.chi_squared(s).value == pytest.approx(chi2.statistic)
    assert d.cramers_v(s).value == pytest.approx(stats.contingency.association(np.stack([a, b]), method="cramer"))


def test_a_share_that_is_zero_on_one_side_counts_as_half_a_row_in_psi() -> None:
    found = float(d.psi(d.shares([0, 10], [5, 15])).value)
    p, q = np.array([0.5 / 10, 1.0]), np.array([0.25, 0.75])
    assert found == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert float(d.psi(d.shares([0, 10, 0], [5, 15, 0])).value) == pytest.approx(found)


def test_distances_without_rows_are_undefined_and_empty_padding_changes_nothing() -> None:
    empty = d.shares([0, 0], [3, 4])
    for distance in (d.psi, d.jensen_shannon, d.hellinger, d.total_variation, d.chi_squared, d.cramers_v):
        assert np.isnan(distance(empty).value)
        plain, padded = distance(d.shares([3, 9], [8, 2])), distance(d.shares([3, 9, 0, 0], [8, 2, 0, 0]))
        assert tuple(map(float, plain[:1])) == pytest.approx(tuple(map(float, padded[:1])))


SETTINGS = [
    (12, 100_000, 500, 0.0),
    (12, 2000, 1000, 0.3),
    (12, 20_000, 20_000, 1.0),
    (4, 3000, 300, 0.1),
    (4, 100_000, 200, 1.0),
    (30, 5000, 3000, 0.3),
    (2, 2000, 2000, 0.05),
]


@pytest.mark.parametrize(("bins", "n", "m", "shift"), SETTINGS)
def test_intervals_of_distances_cover_where_they_are_given(bins: int, n: int, m: int, shift: float) -> None:
    rng = np.random.default_rng(bins + n)
    p = rng.dirichlet(np.full(bins, 5.0))
    q = p * np.exp(shift * np.linspace(-1, 1, bins))
    q /= q.sum()
    s = d.shares(rng.multinomial(n, p, 2000), rng.multinomial(m, q, 2000))
    found = {}
    for distance in (d.psi, d.jensen_shannon, d.hellinger, d.cramers_v):
        weights = (n / (n + m), m / (n + m)) if distance is d.cramers_v else (1, 1)
        truth = float(distance(d.shares(p * 1e13 * weights[0], q * 1e13 * weights[1])).value)
        e = distance(s)
        given = np.isfinite(e.lower)
        if given.mean() > 0.5:
            inside = (e.lower <= truth + 1e-9) & (truth <= e.upper)
            found[distance.__name__] = round(float(inside[given].mean()), 3)
        assert (e.lower[given] <= e.value[given]).all() and (e.value[given] <= e.upper[given]).all()
    print(f"bins={bins} n={n} m={m} shift={shift}: {found}")
    assert "jensen_shannon" in found and "cramers_v" in found
    assert min(found.values()) >= 0.935


def test_intervals_are_withheld_where_they_do_not_cover() -> None:
    sparse = d.shares([5000, 5000, 2], [40, 30, 1])
    assert np.isnan(d.psi(sparse).lower) and np.isnan(d.hellinger(sparse).upper)
    few = d.shares(np.full(20, 1000), np.full(20, 5))
    assert np.isnan(d.jensen_shannon(few).lower) and np.isnan(d.cramers_v(few).lower)


def numbers(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0, 1, 300), rng.normal(rng.choice([0, 0.1, 1]), rng.choice([1, 1.5]), 200)
    if seed % 3 == 0:
        x, y = np.round(x), np.round(y)
    elif seed % 3 == 1:
        x = np.round(x, 1)
    return x, y, np.sort(rng.choice(x, rng.choice([1, 5, 30]), replace=False))


def binned(x: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    bins, size = np.searchsorted(edges, x, side="right"), len(edges) + 1
    left = np.concatenate([[np.nan], edges])
    counts = np.bincount(bins, minlength=size)
    at_left = np.array([counts[k] > 0 and bool((x[bins == k] == left[k]).all()) for k in range(size)])
    return counts, np.bincount(bins, weights=x, minlength=size), at_left


@pytest.mark.parametrize("seed", range(60))
def test_kolmogorov_smirnov_and_wasserstein_lie_within_their_bounds(seed: int) -> None:
    x, y, edges = numbers(seed)
    edges = np.unique(edges)
    (a, sum_a, mark_a), (b, sum_b, mark_b) = binned(x, edges), binned(y, edges)
    ks, w = stats.ks_2samp(x, y).statistic, stats.wasserstein_distance(x, y)
    for marks in ((False, False), (mark_a, mark_b)):
        found_ks = d.kolmogorov_smirnov(a, b, marks)
        found_w = d.wasserstein(edges, a, b, sum_a, sum_b, marks)
        assert found_ks.value - 1e-12 <= ks <= found_ks.value + found_ks.bound + 1e-12
        assert found_w.value - 1e-9 <= w <= found_w.value + found_w.bound + 1e-9


def test_values_on_the_edges_make_both_exact() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.integers(0, 6, 500).astype(float), rng.integers(1, 6, 400).astype(float)
    edges = np.arange(6.0)
    (a, sum_a, mark_a), (b, sum_b, mark_b) = binned(x, edges), binned(y, edges)
    ks = d.kolmogorov_smirnov(a, b, (mark_a, mark_b))
    w = d.wasserstein(edges, a, b, sum_a, sum_b, (mark_a, mark_b))
    assert float(ks.bound) == 0 and float(ks.value) == pytest.approx(stats.ks_2samp(x, y).statistic)
    assert float(w.bound) == pytest.approx(0, abs=1e-12) and float(w.value) == pytest.approx(
        stats.wasserstein_distance(x, y)
    )


def test_wasserstein_is_exact_where_the_difference_keeps_its_sign_in_every_bin() -> None:
    x = np.random.default_rng(1).uniform(0, 2, 400)
    edges = np.array([0.5, 1.0, 2.0])
    (a, sum_a, _), (b, sum_b, _) = binned(x, edges), binned(x + 5, edges)
    w = d.wasserstein(edges, a, b, sum_a, sum_b)
    assert float(w.value) == pytest.approx(5) and float(w.bound) == pytest.approx(0, abs=1e-9)
    repeated = d.wasserstein(
        [0.5, 1.0, 2.0, 2.0], *(np.insert(z, 3, 0) for z in (a, b)), *(np.insert(z, 3, 0.0) for z in (sum_a, sum_b))
    )
    assert float(repeated.value) == pytest.approx(5)


def test_the_interval_of_kolmogorov_smirnov_covers_at_any_sample_size() -> None:
    rng = np.random.default_rng(4)
    edges = np.linspace(-2, 2, 20)
    for n, m, shift in ((50, 30, 0.0), (1000, 200, 0.5)):
        truth = 2 * stats.norm.cdf(shift / 2) - 1
        x, y = rng.normal(0, 1, (800, n)), rng.normal(shift, 1, (800, m))
        offset = 21 * np.arange(800)[:, None]
        a, b = (
            np.bincount((np.searchsorted(edges, z) + offset).ravel(), minlength=21 * 800).reshape(800, 21)
            for z in (x, y)
        )
        e = d.kolmogorov_smirnov(a, b)
        rate = np.mean((e.lower <= truth) & (truth <= e.upper))
        print(f"KS n={n} m={m} shift={shift}: {rate:.3f}")
        assert rate >= 0.95
