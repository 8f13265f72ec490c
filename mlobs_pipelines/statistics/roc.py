"""Ranking by a score, from counts of positives and negatives per score bin (bins ascending in score)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.statistics.intervals import Estimate, Floats, estimate, logit, share, wilson


def roc_auc(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> Estimate:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    sum_i p_i (N_<i + n_i/2) / PN. Rows of one bin are taken as tied, so the area of the unbinned scores lies
    within half the tied mass, sum_i p_i n_i / 2PN, of it: that is ``bound``. NaN with one class only.

    The interval is on the logit scale, with the larger of two variances: DeLong's, from the same bins (DeLong et al.
    1988; Sun & Xu 2014), which is too small for few rows of a class and areas near 1, and Hanley & McNeil's
    (1982, in Newcombe's form of 2006), which is too small for classes of unlike spread. Where both vanish (perfect
    separation) it is Wilson's at the smaller class.

    Args:
        positives: counts, shape (..., bins).
        negatives: the same.

    >>> a = roc_auc([0, 1, 3], [4, 2, 1])
    >>> round(float(a.value), 4), round(float(a.bound), 4)
    (0.875, 0.0893)
    """
    p = np.asarray(positives, dtype=np.float64)
    n = np.asarray(negatives, dtype=np.float64)
    total_p, total_n = p.sum(axis=-1), n.sum(axis=-1)
    pairs = total_p * total_n
    placed_p = np.cumsum(n, axis=-1)
    placed_p -= 0.5 * n
    weighted = p * placed_p
    value = share(weighted.sum(axis=-1), pairs)
    bound = share(0.5 * (p * n).sum(axis=-1), pairs)
    weighted *= placed_p
    square_p = share(weighted.sum(axis=-1), total_p * total_n**2)
    placed_n = np.cumsum(p, axis=-1)
    placed_n -= 0.5 * p
    np.subtract(total_p[..., None], placed_n, out=placed_n)
    placed_n *= placed_n
    placed_n *= n
    square_n = share(placed_n.sum(axis=-1), total_n * total_p**2)
    variance = share(np.maximum(square_p - value**2, 0), total_p - 1) + share(
        np.maximum(square_n - value**2, 0), total_n - 1
    )
    half = (total_p + total_n) / 2 - 1
    exponential = share(
        value * (1 - value) * (1 + half * (1 - value) / (2 - value) + half * value / (1 + value)), pairs
    )
    small = np.minimum(total_p, total_n)
    lower, upper = logit(value, np.sqrt(np.fmax(variance, exponential)))
    flat = np.isnan(lower) & (small >= 2)
    wide = wilson(np.where(flat, value, 0) * small, small)
    return estimate(value, (np.where(flat, wide[0], lower), np.where(flat, wide[1], upper)), bound)


def average_precision(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> Estimate:
    """Average precision: the mean, over positives, of the precision at their rank from the top.

    Within a bin rows are taken as randomly ordered; ``bound`` reaches from the worst order (negatives first) to
    the best (positives first, tied). The interval is normal on the logit scale with variance
    1 / (P AP (1 - AP)) (Boyd, Eng & Page 2013). NaN without positives.

    Args:
        positives: counts, shape (..., bins).
        negatives: the same.

    >>> a = average_precision([0, 1, 0, 1], [1, 0, 1, 0])
    >>> round(float(a.value), 4)
    0.8333
    """
    p = np.asarray(positives, dtype=np.float64)
    n = np.asarray(negatives, dtype=np.float64)
    shape = np.broadcast_shapes(p.shape, n.shape)
    p, n = np.broadcast_to(p, shape).reshape(-1, shape[-1]), np.broadcast_to(n, shape).reshape(-1, shape[-1])
    rows = len(p)
    held = np.flatnonzero(p)  # only bins with positives count
    cell = held // shape[-1]
    a, b = p.reshape(-1)[held], n.reshape(-1)[held]
    total_p = p.sum(axis=-1)
    tp = total_p[cell] - np.cumsum(p, axis=-1).reshape(-1)[held]
    fp = n.sum(axis=-1)[cell] - np.cumsum(n, axis=-1).reshape(-1)[held]

    # a lone positive of a bin comes after half of the bin's negatives, none or all;
    # positives i = 1..a of a bin come after about i b/(a+1) of its negatives: the sum over i of
    # (tp+i) / (tp+fp+c i) is the integral from 1/2 to a+1/2, exact to the third order
    c = 1 + b / (a + 1)
    before = tp + fp
    log = np.log((before + c * (a + 0.5)) / (before + c * 0.5))
    one = a == 1
    middle = np.where(one, (tp + 1) / (before + b / 2 + 1), a / c + (tp - before / c) / c * log)
    # sum over i of 1/(x+i) is at most log((x+a+1/2)/(x+1/2)), as 1/x is convex
    convex = a - (fp + b) * np.log((before + b + a + 0.5) / (before + b + 0.5))
    worst = np.where(one, (tp + 1) / (before + b + 1), convex)
    best = a * (tp + a) / (before + a)

    def averaged(terms: Floats) -> Floats:
        return share(np.bincount(cell, weights=terms, minlength=rows), total_p).reshape(shape[:-1])

    low, high = averaged(worst), averaged(best)
    value = np.clip(averaged(middle), low, high)
    number = total_p.reshape(shape[:-1])
    spread = np.sqrt(np.maximum(share(value * (1 - value), number), 0))
    lower, upper = logit(value, spread)
    flat = np.isnan(lower) & (number >= 1)
    wide = wilson(np.where(flat, value, 0) * number, number)
    interval = np.where(flat, wide[0], lower), np.where(flat, wide[1], upper)
    return estimate(value, interval, np.maximum(high - value, value - low))
