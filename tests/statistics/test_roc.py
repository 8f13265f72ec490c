"""Ranking from bins: exact where each score is a bin, within the bound elsewhere, and covered."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mlobs_pipelines.statistics.roc import average_precision, roc_auc
from mlobs_pipelines.tasks.base import SCORE_EDGES


def binned(scores: np.ndarray, labels: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bins = np.searchsorted(edges, scores, side="right")
    size = len(edges) + 1
    return np.bincount(bins[labels == 1], minlength=size), np.bincount(bins[labels == 0], minlength=size)


def drawn(seed: int, n: int = 400, shift: float = 1.0, rate: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < rate).astype(int)
    return 1 / (1 + np.exp(-rng.normal(shift * labels, 1))), labels


def test_the_area_is_scikit_learns_where_every_score_is_a_bin() -> None:
    scores, labels = drawn(1)
    scores = np.round(scores, 1)
    found = roc_auc(*binned(scores, labels, np.unique(scores)))
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("bins", [4, 16, 64, 512])
def test_the_exact_area_and_precision_lie_within_their_bounds(bins: int) -> None:
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    for seed in range(15):
        for ties in (None, 2):
            scores, labels = drawn(seed, rate=0.05 if seed % 2 else 0.4)
            scores = scores if ties is None else np.round(scores, ties)
            counts = binned(scores, labels, edges)
            area, precision = roc_auc(*counts), average_precision(*counts)
            assert abs(area.value - roc_auc_score(labels, scores)) <= area.bound + 1e-12
            assert abs(precision.value - average_precision_score(labels, scores)) <= precision.bound + 1e-12


def test_the_bins_of_scores_hold_the_area_far_within_a_thousandth() -> None:
    for shift, rate in ((1.0, 0.3), (2.0, 0.02), (0.2, 0.5)):
        scores, labels = drawn(1, n=20_000, shift=shift, rate=rate)
        area = roc_auc(*binned(scores, labels, np.asarray(SCORE_EDGES)))
        distance = abs(area.value - roc_auc_score(labels, scores))
        assert distance <= area.bound < 0.0015 and distance < 0.0001


def test_bounds_are_reached_by_the_worst_and_the_best_order_within_bins() -> None:
    positives, negatives = np.array([2, 3]), np.array([4, 1])
    area, precision = roc_auc(positives, negatives), average_precision(positives, negatives)
    worst = np.array([0.11, 0.12] + [0.2] * 4 + [0.61, 0.62, 0.63] + [0.7])
    best = np.array([0.2] * 2 + [0.1] * 4 + [0.9] * 3 + [0.6])
    labels = np.array([1] * 2 + [0] * 4 + [1] * 3 + [0])
    assert roc_auc_score(labels, worst) == pytest.approx(area.value - area.bound)
    assert roc_auc_score(labels, best) == pytest.approx(area.value + area.bound)
    low, high = average_precision_score(labels, worst), average_precision_score(labels, best)
    assert precision.value - precision.bound <= low and high <= precision.value + precision.bound + 1e-12


def test_the_interval_of_the_area_has_delongs_variance_where_that_is_the_larger() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(120) < 0.2).astype(int)
    scores = rng.normal(2 * labels, np.where(labels == 1, 3, 1))
    counts = binned(scores, labels, np.unique(scores))
    found = roc_auc(*counts)
    p, n = scores[labels == 1], scores[labels == 0]
    wins = (p[:, None] > n).astype(float) + 0.5 * (p[:, None] == n)
    variance = wins.mean(axis=1).var(ddof=1) / len(p) + wins.mean(axis=0).var(ddof=1) / len(n)
    a = float(found.value)
    half = (np.log(found.upper / (1 - found.upper)) - np.log(found.lower / (1 - found.lower))) / 2
    assert half * a * (1 - a) / 1.959963985 == pytest.approx(np.sqrt(variance), rel=1e-9)


@pytest.mark.parametrize(
    ("n", "rate", "shift"), [(200, 0.3, 1.0), (400, 0.05, 1.5), (100, 0.5, 0.0), (300, 0.1, 2.5), (300, 0.05, 3.0)]
)
def test_intervals_of_the_area_and_of_precision_cover(n: int, rate: float, shift: float) -> None:
    rng = np.random.default_rng(17)
    draws, edges = 1500, 1 / (1 + np.exp(-np.linspace(-5, 8, 400)))
    labels = rng.random((draws, n)) < rate
    scores = 1 / (1 + np.exp(-rng.normal(shift * labels, 1)))
    bins = np.searchsorted(edges, scores) + 401 * np.arange(draws)[:, None]
    positives, negatives = (np.bincount(bins[x], minlength=401 * draws).reshape(draws, 401) for x in (labels, ~labels))
    area, precision = roc_auc(positives, negatives), average_precision(positives, negatives)
    big_labels = rng.random(400_000) < rate
    big_scores = rng.normal(shift * big_labels, 1)
    true_area, true_precision = roc_auc_score(big_labels, big_scores), average_precision_score(big_labels, big_scores)
    a = np.mean((area.lower <= true_area) & (true_area <= area.upper))
    p = np.mean((precision.lower <= true_precision) & (true_precision <= precision.upper))
    print(f"n={n} rate={rate} shift={shift}: area {a:.3f} average precision {p:.3f}")
    assert 0.94 <= a <= 0.99
    assert 0.88 <= p <= 1.0


def test_one_class_has_no_area_and_perfect_separation_keeps_a_width() -> None:
    assert np.isnan(roc_auc([0, 0], [3, 4]).value)
    assert np.isnan(average_precision([0, 0], [3, 4]).value)
    perfect = roc_auc([0, 10], [10, 0])
    assert float(perfect.value) == 1.0 and 0.6 < perfect.lower < 0.9
    many = roc_auc(np.array([[0, 3], [2, 1]]), np.array([[3, 0], [1, 2]]))
    assert many.value.shape == (2,)
