"""What each row adds to a metric: a metric is its value and a number per row, whose mean square tells how sure it is.

A metric that is a smooth function of means is, near its true value, that value plus the mean over rows of its
influence (the delta method; Hampel 1974; van der Vaart 1998, ch. 20). The influence of a difference of two metrics on the
same rows is the difference of their influences, so whatever both versions get wrong together drops out.

Functions of decisions take ``real``: rows after so many are imagined. They do not change the value, but have an influence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

CLIP = 2.0**-52
"""Probabilities are clipped here before the logarithm, as scikit-learn's log_loss does for doubles."""


class Influence(NamedTuple):
    """A metric of some rows and the influence of each on it, whose mean over the rows is 0; NaN where undefined."""

    value: float
    rows: Floats


def undefined(rows: int) -> Influence:
    """A metric that these rows do not define."""
    return Influence(math.nan, np.full(rows, math.nan))


def mean(values: npt.ArrayLike, real: int | None = None) -> Influence:
    """The mean of a number per row.

    >>> mean([1.0, 3.0])
    Influence(value=2.0, rows=array([-1.,  1.]))
    """
    x = np.asarray(values, dtype=np.float64)
    if not len(x[:real]):
        return undefined(len(x))
    value = float(x[:real].mean())
    return Influence(value, x - value)


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike, real: int | None = None) -> Influence:
    """sum(part) / sum(whole), such as precision: hits over what was said; undefined where the whole is 0.

    >>> ratio([1, 0, 0], [1, 1, 0])
    Influence(value=0.5, rows=array([ 0.75, -0.75,  0.  ]))
    """
    above, below = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    total = below[:real].sum()
    if total == 0:
        return undefined(len(above))
    value = float(above[:real].sum() / total)
    return Influence(value, (above - value * below) * (len(above[:real]) / total))


def average(parts: list[Influence]) -> Influence:
    """The mean of some metrics of the same rows."""
    return Influence(float(np.mean([p.value for p in parts])), np.mean([p.rows for p in parts], axis=0))


def decisions(positive: Bools, said: Bools, real: int | None = None) -> dict[str, Influence]:
    """Every metric of a two-by-two table, and the rate of being selected.

    Args:
        positive: whether each row is positive, shape (rows,).
        said: whether it was said to be.
        real: rows beyond so many are imagined.
    """
    hit, right = positive & said, positive == said
    recall, specificity = ratio(hit, positive, real), ratio(~positive & ~said, ~positive, real)
    return {
        "accuracy": mean(right, real),
        "balanced_accuracy": average([recall, specificity]),
        "precision": ratio(hit, said, real),
        "recall": recall,
        "specificity": specificity,
        "f1": ratio(2.0 * hit, positive.astype(np.float64) + said, real),
        "matthews_corrcoef": matthews_corrcoef(positive, said, real),
        "false_positive_rate": ratio(~positive & said, ~positive, real),
        "false_negative_rate": ratio(positive & ~said, positive, real),
        "selection_rate": mean(said, real),
    }


def matthews_corrcoef(positive: Bools, said: Bools, real: int | None = None) -> Influence:
    """(tp tn - fp fn) / sqrt of the product of the four margins; undefined where one is 0."""
    cell = 2 * positive.astype(np.int64) + said
    tn, fp, fn, tp = (float(c) for c in np.bincount(cell[:real], minlength=4))
    margins = tp + fp, tn + fn, tp + fn, tn + fp
    if min(margins) == 0:
        return undefined(len(cell))
    root = math.sqrt(margins[0]) * math.sqrt(margins[1]) * math.sqrt(margins[2]) * math.sqrt(margins[3])
    value = (tp * tn - fp * fn) / root
    said_1, said_0, true_1, true_0 = (1 / m for m in margins)
    gradient = np.array(
        [
            tp / root - value / 2 * (said_0 + true_0),
            -fn / root - value / 2 * (said_1 + true_0),
            -fp / root - value / 2 * (said_0 + true_1),
            tn / root - value / 2 * (said_1 + true_1),
        ]
    )
    return Influence(value, (tn + fp + fn + tp) * gradient[cell])


def classes(true: Ints, said: Ints, size: int, real: int | None = None) -> dict[str, Influence]:
    """Averages over classes, as scikit-learn has them: a class counts where it is a label or was said.

    Args:
        true, said: the class of each row, 0 … size - 1, shape (rows,).
        size: number of classes.
        real: rows beyond so many are imagined.
    """
    if not len(true[:real]):
        return {
            name: undefined(len(true))
            for name in ("accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_micro", "f1_weighted")
        }
    precision, recall, f1, weighted = [], [], [], []
    for k in range(size):
        is_k, said_k = true == k, said == k
        if not is_k[:real].any() and not said_k[:real].any():
            continue
        hit = is_k & said_k
        precision.append(_or_zero(ratio(hit, said_k, real)))
        recall.append(_or_zero(ratio(hit, is_k, real)))
        f1.append(ratio(2.0 * hit, is_k.astype(np.float64) + said_k, real))
        weight = mean(is_k, real)
        weighted.append(Influence(weight.value * f1[-1].value, weight.value * f1[-1].rows + f1[-1].value * weight.rows))
    accuracy = mean(true == said, real)
    return {
        "accuracy": accuracy,
        "precision_macro": average(precision),
        "recall_macro": average(recall),
        "f1_macro": average(f1),
        "f1_micro": accuracy,
        "f1_weighted": Influence(sum(w.value for w in weighted), np.sum([w.rows for w in weighted], axis=0)),
    }


def _or_zero(metric: Influence) -> Influence:
    """A class that was never said has precision 0, one that never occurred recall 0, whatever a row does."""
    return Influence(0.0, np.zeros(len(metric.rows))) if math.isnan(metric.value) else metric


def roc_auc(positive: Bools, score: Floats) -> Influence:
    """Area under the ROC curve, ties counting half; a row's influence is its placement among the other class.

    These are the structural components of DeLong et al. (1988), by midranks in O(n log n) (Sun & Xu 2014).

    >>> roc_auc(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1])).value
    0.875
    """
    rows, p = len(score), int(positive.sum())
    n = rows - p
    if not p or not n:
        return undefined(rows)
    place, all_in, positives_in = _ranked(positive, score)
    negatives_in = all_in - positives_in
    below = np.cumsum(negatives_in) - negatives_in / 2
    above = p - np.cumsum(positives_in) + positives_in / 2
    placement = np.where(positive, below[place] / n, above[place] / p)
    value = float(placement[positive].mean())
    return Influence(value, (placement - value) * np.where(positive, rows / p, rows / n))


def average_precision(positive: Bools, score: Floats) -> Influence:
    """The mean, over positives, of the precision among rows that score as high or higher (scikit-learn's).

    With A(s) the positives and B(s) the rows that score s or more, AP is the mean over positives of A/B. A row adds its
    own A/B, and changes A and B of every positive at or below it: the functional's derivative has these three terms.

    >>> average_precision(np.array([False, True, False, True]), np.array([0.1, 0.2, 0.3, 0.4])).value
    0.8333333333333333
    """
    rows, p = len(score), int(positive.sum())
    if not p:
        return undefined(rows)
    place, all_in, positives_in = _ranked(positive, score)
    above = p - np.cumsum(positives_in) + positives_in
    reached = rows - np.cumsum(all_in) + all_in
    precision = above / reached
    value = float((positives_in * precision).sum() / p)
    gained, lost = np.cumsum(positives_in / reached), np.cumsum(positives_in * precision / reached)
    own = np.where(positive, precision[place] - value + gained[place], 0.0)
    return Influence(value, (own - lost[place]) * (rows / p))


def _ranked(positive: Bools, score: Floats) -> tuple[Ints, Floats, Floats]:
    """Each row's place among the distinct scores, ascending, and how many rows and positives each score has."""
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    within = np.bincount(place[positive], minlength=len(count))
    return place.astype(np.int64), count.astype(np.float64), within.astype(np.float64)


def log_loss(chance: Floats) -> Influence:
    """The mean of minus the logarithm of the probability that was given to what came."""
    return mean(-np.log(np.clip(chance, CLIP, 1 - CLIP)))


def errors(target: Floats, predicted: Floats) -> dict[str, Influence]:
    """Every metric of predicted numbers; an error is prediction minus target. Needs a row.

    R² is undefined for a constant target.
    """
    error = predicted - target
    squared = mean(error**2)
    root = math.sqrt(squared.value)
    spread = mean((target - target.mean()) ** 2)
    level = 1e-12 * max(float((target**2).mean()), 1e-300)
    explained = undefined(len(error))
    if spread.value > level:
        share = squared.value / spread.value
        explained = Influence(1 - share, (share * spread.rows - squared.rows) / spread.value)
    return {
        "mean_absolute_error": mean(np.abs(error)),
        "mean_error": mean(error),
        "root_mean_squared_error": Influence(root, squared.rows / (2 * root) if root else np.zeros(len(error))),
        "median_absolute_error": median(np.abs(error)),
        "r2": explained,
    }


def median(values: Floats) -> Influence:
    """The median; the density at it from the quantiles around it (Siddiqui 1960), as far as Hall & Sheather (1988) say."""
    value = float(np.median(values))
    wide = NormalDist().inv_cdf(0.975) ** (2 / 3) * (1.5 / (2 * math.pi)) ** (1 / 3) * len(values) ** (-1 / 3)
    wide = min(wide, 0.45)
    low, high = np.quantile(values, [0.5 - wide, 0.5 + wide])
    above = np.where(values > value, 0.5, np.where(values < value, -0.5, 0.0))
    return Influence(value, (above - above.mean()) * (high - low) / (2 * wide))


def extremes(rates: Mapping[int, Influence]) -> tuple[int, int]:
    """The keys of the highest and the lowest of some rates."""
    return max(rates, key=lambda g: rates[g].value), min(rates, key=lambda g: rates[g].value)
