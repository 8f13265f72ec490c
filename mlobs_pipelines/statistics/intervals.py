"""Intervals of proportions, means and smooth functions of counts. All work over leading axes."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
"""Confidence of every interval, unless a function is given another z."""
Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)


class Estimate(NamedTuple):
    """A statistic over some leading axes; NaN where it, or its interval, is undefined.

    ``bound`` is the largest distance from ``value`` to the statistic of the unbinned rows; 0 means exact.
    """

    value: Floats
    lower: Floats
    upper: Floats
    bound: Floats


def estimate(value: Floats, interval: tuple[Floats, Floats] | None = None, bound: npt.ArrayLike = 0.0) -> Estimate:
    """Put a value, its interval (none: NaN) and its bound together."""
    nothing = np.full_like(value, np.nan)
    lower, upper = interval if interval is not None else (nothing, nothing)
    return Estimate(value, lower, upper, np.broadcast_to(np.asarray(bound, dtype=np.float64), value.shape))


def bonferroni_z(comparisons: npt.ArrayLike) -> Floats:
    """The normal quantile at which so many intervals hold together with probability ``LEVEL``.

    >>> [round(float(z), 4) for z in bonferroni_z([1, 3])]
    [1.96, 2.394]
    """
    numbers = np.asarray(comparisons, dtype=np.int64)
    distinct, place = np.unique(numbers, return_inverse=True)
    quantiles = [NormalDist().inv_cdf(1 - (1 - LEVEL) / 2 / max(int(c), 1)) for c in distinct]
    found: Floats = np.asarray(quantiles, dtype=np.float64)[place].reshape(numbers.shape)
    return found


def share(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """part / whole; NaN where there is no whole.

    >>> share([1, 0], [4, 0])
    array([0.25,  nan])
    """
    above = np.asarray(part, dtype=np.float64)
    below = np.asarray(whole, dtype=np.float64)
    above, below = np.broadcast_arrays(above, below)
    found: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return found


def wilson(successes: npt.ArrayLike, trials: npt.ArrayLike, z: npt.ArrayLike = Z) -> tuple[Floats, Floats]:
    """Score interval of a proportion; NaN without trials (Wilson 1927; Newcombe 1998, method 3).

    (2np + z^2 -+ z sqrt(z^2 + 4np(1-p))) / 2(n + z^2).

    >>> [round(float(x), 4) for x in wilson(81, 263)]
    [0.2553, 0.3662]
    """
    k = np.asarray(successes, dtype=np.float64)
    n = np.asarray(trials, dtype=np.float64)
    p = share(k, n)
    squared = np.asarray(z, dtype=np.float64) ** 2
    center = 2 * k + squared
    half = np.sqrt(np.maximum(squared * (squared + 4 * k * (1 - p)), 0))
    lower = np.where(k <= 0, 0.0, (center - half) / (2 * (n + squared)))
    upper = np.where(k >= n, 1.0, (center + half) / (2 * (n + squared)))
    undefined = np.isnan(p)
    return np.where(undefined, np.nan, lower), np.where(undefined, np.nan, upper)


def proportion(successes: npt.ArrayLike, trials: npt.ArrayLike) -> Estimate:
    """A proportion with its Wilson interval."""
    return estimate(share(successes, trials), wilson(successes, trials))


def newcombe_difference(
    k1: npt.ArrayLike, n1: npt.ArrayLike, k2: npt.ArrayLike, n2: npt.ArrayLike, z: npt.ArrayLike = Z
) -> tuple[Floats, Floats]:
    """Interval of k1/n1 - k2/n2 from both Wilson intervals (Newcombe 1998, hybrid score, method 10).

    >>> [round(float(x), 4) for x in newcombe_difference(56, 70, 48, 80)]
    [0.0524, 0.3339]
    """
    p1, p2 = share(k1, n1), share(k2, n2)
    (l1, u1), (l2, u2) = wilson(k1, n1, z), wilson(k2, n2, z)
    lower = p1 - p2 - np.sqrt((p1 - l1) ** 2 + (u2 - p2) ** 2)
    upper = p1 - p2 + np.sqrt((u1 - p1) ** 2 + (p2 - l2) ** 2)
    return lower, upper


def log_ratio(
    k1: npt.ArrayLike, n1: npt.ArrayLike, k2: npt.ArrayLike, n2: npt.ArrayLike, z: npt.ArrayLike = Z
) -> tuple[Floats, Floats]:
    """Interval of (k1/n1) / (k2/n2), on the log scale from both Wilson intervals (Zou & Donner 2008, MOVER).

    Unlike the plain log-ratio interval it keeps a width where a proportion is 1. Where k1 is 0 it is
    [0, u1/l2]; where k2 is 0 the ratio is undefined.

    >>> [round(float(x), 3) for x in log_ratio(30, 100, 40, 100)]
    [0.511, 1.094]
    """
    p1, p2 = share(k1, n1), share(k2, n2)
    (l1, u1), (l2, u2) = wilson(k1, n1, z), wilson(k2, n2, z)
    defined = (p1 > 0) & (p2 > 0)

    def log(x: Floats) -> Floats:
        return np.log(np.where(defined, x, 1.0))

    distance = log(p1) - log(p2)
    lower = np.exp(distance - np.sqrt((log(p1) - log(l1)) ** 2 + (log(u2) - log(p2)) ** 2))
    upper = np.exp(distance + np.sqrt((log(u1) - log(p1)) ** 2 + (log(p2) - log(l2)) ** 2))
    none = (p1 == 0) & (p2 > 0)
    lower = np.where(defined, lower, np.where(none, 0.0, np.nan))
    upper = np.where(defined, upper, np.where(none, share(u1, l2), np.nan))
    return lower, upper


def mean(total: npt.ArrayLike, total_sq: npt.ArrayLike, n: npt.ArrayLike) -> Estimate:
    """A mean with its normal interval, from the sums of x and x^2; no interval for fewer than two rows.

    >>> m = mean([10.0], [30.0], [4])
    >>> [round(float(x[0]), 3) for x in m[:3]]
    [2.5, 1.235, 3.765]
    """
    count = np.asarray(n, dtype=np.float64)
    value = share(total, count)
    spread = np.sqrt(np.maximum(share(total_sq, count) - value**2, 0) * share(count, count - 1))
    half = Z * share(spread, np.sqrt(count))
    return estimate(value, (value - half, value + half))


def logit(value: Floats, deviation: Floats, z: npt.ArrayLike = Z) -> tuple[Floats, Floats]:
    """Interval of a value in (0, 1) with a standard deviation, on the logit scale, so that it stays inside.

    NaN at 0 and 1, where the scale ends, and where the deviation is 0 or undefined.

    >>> [round(float(x[0]), 3) for x in logit(np.array([0.9]), np.array([0.04]))]
    [0.79, 0.956]
    """
    inside = (value > 0) & (value < 1) & (deviation > 0)
    v = np.where(inside, value, 0.5)
    half = np.asarray(z) * np.where(inside, deviation, 0.0) / (v * (1 - v))
    center = np.log(v / (1 - v))
    lower = 1 / (1 + np.exp(np.minimum(half - center, 700)))
    upper = 1 / (1 + np.exp(np.minimum(-half - center, 700)))
    return np.where(inside, lower, np.nan), np.where(inside, upper, np.nan)


def delta_deviation(counts: Floats, gradient: Floats) -> Floats:
    """Standard deviation of a smooth function of a table of counts that depends on its shares alone.

    For f of multinomial counts with f(cn) = f(n): var f = sum_i n_i (df/dn_i)^2 (the delta method, where the
    mean of the gradient is 0). The table is the last axis.
    """
    deviation: Floats = np.sqrt((counts * gradient**2).sum(axis=-1))
    return deviation
