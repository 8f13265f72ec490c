"""Metrics of decisions, from counts of the confusion table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.statistics.intervals import (
    Estimate,
    Floats,
    Z,
    delta_deviation,
    estimate,
    logit,
    proportion,
    share,
    wilson,
)


def binary_metrics(tp: npt.ArrayLike, fp: npt.ArrayLike, fn: npt.ArrayLike, tn: npt.ArrayLike) -> dict[str, Estimate]:
    """Every metric of a two-by-two table, under scikit-learn's name; NaN where a denominator is 0.

    Rates have Wilson intervals; f1 has Wilson's for tp/(tp+fp+fn), of which it is a monotone function;
    balanced accuracy combines those of recall and specificity (Zou & Donner 2008).

    Args:
        tp, fp, fn, tn: counts of any one shape.

    >>> m = binary_metrics(6, 2, 4, 8)
    >>> [round(float(m[k].value), 4) for k in ("accuracy", "f1", "matthews_corrcoef")]
    [0.7, 0.6667, 0.4082]
    """
    a, b, c, d = (np.asarray(x, dtype=np.float64) for x in (tp, fp, fn, tn))
    return {
        "accuracy": proportion(a + d, a + b + c + d),
        "balanced_accuracy": balanced_accuracy(a, b, c, d),
        "precision": proportion(a, a + b),
        "recall": proportion(a, a + c),
        "specificity": proportion(d, b + d),
        "f1": f1(a, b, c),
        "matthews_corrcoef": matthews_corrcoef(a, b, c, d),
        "false_positive_rate": proportion(b, b + d),
        "false_negative_rate": proportion(c, a + c),
    }


def f1(tp: Floats, fp: Floats, fn: Floats) -> Estimate:
    """2 tp / (2 tp + fp + fn) = 2j/(1+j) with j = tp/(tp+fp+fn), so j's Wilson interval is carried over.

    >>> [round(float(x), 3) for x in f1(np.array(6.0), np.array(2.0), np.array(4.0))[:3]]
    [0.667, 0.405, 0.855]
    """
    lower, upper = wilson(tp, tp + fp + fn)
    return estimate(share(2 * tp, 2 * tp + fp + fn), (2 * lower / (1 + lower), 2 * upper / (1 + upper)))


def balanced_accuracy(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Estimate:
    """The mean of recall and specificity; the interval squares and adds the distances to Wilson's limits."""
    recall, specificity = proportion(tp, tp + fn), proportion(tn, tn + fp)
    value = (recall.value + specificity.value) / 2
    below = np.hypot(recall.value - recall.lower, specificity.value - specificity.lower) / 2
    above = np.hypot(recall.upper - recall.value, specificity.upper - specificity.value) / 2
    return estimate(value, (value - below, value + above))


def matthews_corrcoef(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Estimate:
    """(tp tn - fp fn) / sqrt of the product of the four margins; delta method on Fisher's z scale.

    NaN where a margin is 0 (scikit-learn says 0 there); no interval at -1 and 1.
    """
    r1, r2, c1, c2 = tp + fp, tn + fn, tp + fn, tn + fp
    root = np.sqrt(r1 * r2) * np.sqrt(c1 * c2)
    value = share(tp * tn - fp * fn, root)
    i1, i2, j1, j2, scale = share(1.0, r1), share(1.0, r2), share(1.0, c1), share(1.0, c2), share(1.0, root)
    gradient = np.stack(
        [
            tn * scale - value / 2 * (i1 + j1),
            -fn * scale - value / 2 * (i1 + j2),
            -fp * scale - value / 2 * (i2 + j1),
            tp * scale - value / 2 * (i2 + j2),
        ],
        axis=-1,
    )
    deviation = delta_deviation(np.stack([tp, fp, fn, tn], axis=-1), gradient)
    inside = np.abs(value) < 1
    v = np.where(inside, value, 0.0)
    half = np.where(inside, Z * deviation / (1 - v**2), np.nan)
    return estimate(value, (np.tanh(np.arctanh(v) - half), np.tanh(np.arctanh(v) + half)))


def multiclass_metrics(table: npt.ArrayLike) -> dict[str, Estimate]:
    """Averages over classes of a confusion table, under scikit-learn's names.

    A class counts in an average where it occurs as a label or as a prediction; its precision is 0 if it was never
    predicted, its recall 0 if it never occurred, as in scikit-learn. Intervals by the delta method on the logit scale
    (Takahashi et al. 2022), Wilson's for accuracy, which f1_micro equals.

    Args:
        table: counts, shape (..., classes, classes), true class by predicted class.

    >>> m = multiclass_metrics([[3, 1], [0, 4]])
    >>> [round(float(m[k].value), 4) for k in ("accuracy", "precision_macro", "f1_macro")]
    [0.875, 0.9, 0.873]
    """
    n = np.asarray(table, dtype=np.float64)
    size = n.shape[-1]
    total = n.sum(axis=(-2, -1))
    hit = np.diagonal(n, axis1=-2, axis2=-1)
    true, said = n.sum(axis=-1), n.sum(axis=-2)
    both = true + said
    present = both > 0
    k = present.sum(axis=-1).astype(np.float64)
    precision, recall, f = (np.nan_to_num(share(x, y)) for x, y in ((hit, said), (hit, true), (2 * hit, both)))
    i_said, i_true, i_both = (np.nan_to_num(share(1.0, x)) for x in (said, true, both))
    eye = np.eye(size)

    def averaged(value: Floats, gradient: Floats) -> Estimate:
        flat = (*n.shape[:-2], size * size)
        deviation = delta_deviation(n.reshape(flat), gradient.reshape(flat))
        return estimate(value, logit(value, deviation))

    rows = np.nan_to_num(share(1.0, k))[..., None, None]
    weight = np.nan_to_num(share(true, total[..., None]))
    weighted = np.where(total > 0, (weight * f).sum(axis=-1), np.nan)
    accuracy = proportion(hit.sum(axis=-1), total)
    lost = f * i_both
    lost_weighted = weight * lost
    return {
        "accuracy": accuracy,
        "precision_macro": averaged(
            share(precision.sum(axis=-1), k), rows * ((eye - precision[..., None, :]) * i_said[..., None, :])
        ),
        "recall_macro": averaged(
            share(recall.sum(axis=-1), k), rows * ((eye - recall[..., :, None]) * i_true[..., :, None])
        ),
        "f1_macro": averaged(
            share(f.sum(axis=-1), k),
            rows * (eye * 2 * i_both[..., None, :] - lost[..., :, None] - lost[..., None, :]),
        ),
        "f1_micro": accuracy,
        "f1_weighted": averaged(
            weighted,
            np.nan_to_num(share(f - weighted[..., None], total[..., None]))[..., :, None]
            + eye * (2 * weight * i_both)[..., None, :]
            - lost_weighted[..., :, None]
            - lost_weighted[..., None, :],
        ),
    }


def class_metrics(table: npt.ArrayLike) -> dict[str, Estimate]:
    """Precision, recall, f1, base rate and selection rate of each class; the last axis is the class.

    Args:
        table: counts, shape (..., classes, classes), true class by predicted class.

    >>> class_metrics([[3, 1], [0, 4]])["precision"].value
    array([1. , 0.8])
    """
    n = np.asarray(table, dtype=np.float64)
    hit = np.diagonal(n, axis1=-2, axis2=-1)
    true, said = n.sum(axis=-1), n.sum(axis=-2)
    total = n.sum(axis=(-2, -1))[..., None]
    return {
        "precision": proportion(hit, said),
        "recall": proportion(hit, true),
        "f1": f1(hit, said - hit, true - hit),
        "base_rate": proportion(true, total),
    }
