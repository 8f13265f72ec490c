"""Metrics written down plainly, one number at a time, to hold the fast ones against; what a bootstrap resamples."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats


def area(y: np.ndarray, s: np.ndarray) -> float:
    p, n = y.sum(), (~y).sum()
    return float((stats.rankdata(s)[y].sum() - p * (p + 1) / 2) / (p * n))


def precision_at_ranks(y: np.ndarray, s: np.ndarray) -> float:
    falling = np.argsort(-s, kind="stable")
    hits = np.cumsum(y[falling])
    last = np.flatnonzero(np.append(np.diff(s[falling]) != 0, True))
    gained = np.diff(hits[last], prepend=0)
    return float((gained * hits[last] / (last + 1)).sum() / y.sum())


def two_by_two(y: np.ndarray, d: np.ndarray) -> dict[str, float]:
    tp, fp, fn, tn = (float(x.sum()) for x in (y & d, ~y & d, y & ~d, ~y & ~d))
    recall, specificity = tp / (tp + fn), tn / (tn + fp)
    return {
        "accuracy": (tp + tn) / len(y),
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": tp / (tp + fp),
        "recall": recall,
        "specificity": specificity,
        "f1": 2 * tp / (2 * tp + fp + fn),
        "matthews_corrcoef": (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
        "false_positive_rate": fp / (fp + tn),
        "false_negative_rate": fn / (fn + tp),
        "selection_rate": (tp + fp) / len(y),
    }


def of_binary(y: np.ndarray, s: np.ndarray) -> dict[str, float]:
    chance = np.where(y, s, 1 - s)
    return two_by_two(y, s >= 0.4) | {
        "roc_auc": area(y, s),
        "average_precision": precision_at_ranks(y, s),
        "log_loss": float(-np.log(np.clip(chance, 2.0**-52, 1)).mean()),
        "brier_score": float(((1 - chance) ** 2).mean()),
    }


def of_classes(y: np.ndarray, s: np.ndarray) -> dict[str, float]:
    said = s.argmax(axis=1)
    size = s.shape[1]
    table = np.bincount(size * y + said, minlength=size * size).reshape(size, size)
    hit = table.diagonal()
    f1 = 2 * hit / (table.sum(axis=0) + table.sum(axis=1))
    weights = table.sum(axis=1) / len(y)
    return {
        "accuracy": hit.sum() / len(y),
        "f1_micro": hit.sum() / len(y),
        "precision_macro": float((hit / table.sum(axis=0)).mean()),
        "recall_macro": float((hit / table.sum(axis=1)).mean()),
        "f1_macro": float(f1.mean()),
        "f1_weighted": float((weights * f1).sum()),
        "log_loss": float(-np.log(s[np.arange(len(y)), y]).mean()),
        "roc_auc_ovr": float(np.mean([area(y == k, s[:, k]) for k in range(size)])),
    }


def of_numbers(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    e = p - y
    return {
        "mean_absolute_error": float(np.abs(e).mean()),
        "mean_error": float(e.mean()),
        "root_mean_squared_error": math.sqrt((e**2).mean()),
        "median_absolute_error": float(np.median(np.abs(e))),
        "r2": float(1 - (e**2).mean() / y.var()),
    }


def of_groups(y: np.ndarray, d: np.ndarray, group: np.ndarray) -> dict[str, float]:
    def gap(among: np.ndarray) -> float:
        rates = [d[among & (group == g)].mean() for g in np.unique(group)]
        return float(max(rates) - min(rates))

    recall, false_alarms = gap(y), gap(~y)
    return {
        "demographic_parity_difference": gap(np.ones_like(y)),
        "equal_opportunity_difference": recall,
        "equalized_odds_difference": max(recall, false_alarms),
    }


def delong(y: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Difference of the areas and its deviation, from every pair of a positive and a negative (DeLong et al. 1988)."""
    wins = []
    for s in (first, second):
        p, n = s[y][:, None], s[~y][None, :]
        wins.append((p > n) + 0.5 * (p == n))
    positives = np.cov([w.mean(axis=1) for w in wins])
    negatives = np.cov([w.mean(axis=0) for w in wins])
    contrast = np.array([-1, 1])
    variance = contrast @ (positives / y.sum() + negatives / (~y).sum()) @ contrast
    return float(wins[1].mean() - wins[0].mean()), math.sqrt(variance)
