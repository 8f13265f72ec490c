"""Quantiles, errors of predicted numbers and calibration against NumPy and scikit-learn; their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from mlobs_pipelines.statistics.calibration import calibration_error, expected_calibration_error
from mlobs_pipelines.statistics.quantiles import quantile
from mlobs_pipelines.statistics.regression import r2, root_mean_squared_error


def test_quantiles_from_bins_hold_numpys_within_their_bound() -> None:
    rng = np.random.default_rng(0)
    edges = np.linspace(0, 20, 41)
    for n in (1, 2, 7, 100, 1001):
        x = rng.gamma(2, 2, n).clip(0, 19.99)
        counts = np.histogram(x, edges)[0]
        for p in (0.05, 0.5, 0.95, 0.99):
            q = quantile(counts, edges[:-1], edges[1:], p)
            assert abs(q.value - np.quantile(x, p)) <= q.bound + 1e-12
            values, points = np.unique(x, return_counts=True)
            exact = quantile(points, values, values, p)
            assert exact.value == pytest.approx(np.quantile(x, p)) and exact.bound == 0


def test_the_order_statistic_interval_covers() -> None:
    rng = np.random.default_rng(1)
    edges = np.linspace(0, 30, 3001)
    for n, p in ((60, 0.5), (400, 0.95)):
        x = rng.exponential(1, (1500, n))
        counts = np.stack([np.histogram(row, edges)[0] for row in x])
        q = quantile(counts, edges[:-1], edges[1:], p)
        truth = -np.log(1 - p)
        rate = np.mean((q.lower <= truth) & ~(q.upper < truth))
        print(f"quantile {p} of {n}: {rate:.3f}")
        assert 0.94 < rate < 0.985


def test_a_quantile_of_nothing_is_undefined_and_limits_beyond_the_sample_are_open() -> None:
    assert np.isnan(quantile([0, 0], [0, 1], [1, 2], 0.5).value)
    q = quantile([3, 2], [0, 1], [1, 2], 0.99)
    assert np.isnan(q.upper) and np.isfinite(q.value)


def sums(y: np.ndarray, e: np.ndarray) -> list[np.ndarray]:
    return [(e**i * y**j).sum(axis=-1) for i, j in ((2, 0), (4, 0), (0, 1), (0, 2), (0, 3), (0, 4), (2, 1), (2, 2))]


def test_errors_of_numbers_are_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(3, 2, 500)
    said = y + rng.normal(0.3, 1, 500)
    s = sums(y, said - y)
    assert r2(500, *s).value == pytest.approx(metrics.r2_score(y, said))
    assert root_mean_squared_error(500, s[0], s[1]).value == pytest.approx(metrics.root_mean_squared_error(y, said))
    assert np.isnan(r2(3, *sums(np.full(3, 2.0), np.array([0.1, 0.2, 0.3]))).value)


def test_intervals_of_the_errors_cover() -> None:
    rng = np.random.default_rng(3)
    for n in (80, 500):
        y = rng.normal(0, 2, (4000, n))
        s = sums(y, rng.normal(0.5, 1, (4000, n)))
        explained, size = r2(np.full(4000, n), *s), root_mean_squared_error(np.full(4000, n), s[0], s[1])
        a = np.mean((explained.lower <= 1 - 1.25 / 4) & (explained.upper >= 1 - 1.25 / 4))
        b = np.mean((size.lower <= np.sqrt(1.25)) & (np.sqrt(1.25) <= size.upper))
        print(f"n={n}: r2 {a:.3f} rmse {b:.3f}")
        assert 0.92 < a < 0.97 and 0.92 < b < 0.97


def test_calibration_errors_are_what_their_definitions_say() -> None:
    rng = np.random.default_rng(4)
    score = rng.random((2000, 300))
    y = rng.random((2000, 300)) < score**1.2
    bins = np.minimum((score[0] * 10).astype(int), 9)
    rows, positives, total = (np.bincount(bins, weights=w, minlength=10) for w in (np.ones(300), y[0], score[0]))
    expected = sum(abs(y[0][bins == k].mean() - score[0][bins == k].mean()) * (bins == k).mean() for k in range(10))
    assert expected_calibration_error(rows, positives, total).value == pytest.approx(expected)
    e = calibration_error(np.full(2000, 300), y.sum(axis=1), score.sum(axis=1), ((score - y) ** 2).sum(axis=1))
    truth = 0.5 - 1 / 2.2
    rate = np.mean((e.lower <= truth) & (truth <= e.upper))
    print(f"calibration error of 300: {rate:.3f}")
    assert 0.935 < rate < 0.965
