"""Errors of predicted numbers, from sums of powers of the error and of the target."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.statistics.intervals import Estimate, Z, estimate, mean, share


def root_mean_squared_error(rows: npt.ArrayLike, error_sq: npt.ArrayLike, error_4: npt.ArrayLike) -> Estimate:
    """sqrt of the mean squared error; the interval by the delta method on the log scale.

    Args:
        rows: counts.
        error_sq, error_4: sums of the error's second and fourth power.

    >>> r = root_mean_squared_error([100], [400.0], [4800.0])
    >>> [round(float(x[0]), 3) for x in r[:3]]
    [2.0, 1.74, 2.299]
    """
    squared = mean(error_sq, error_4, rows)
    half = share((squared.upper - squared.lower) / 4, squared.value)
    value = np.sqrt(squared.value)
    return estimate(value, (value * np.exp(-half), value * np.exp(half)))


def r2(
    rows: npt.ArrayLike,
    error_sq: npt.ArrayLike,
    error_4: npt.ArrayLike,
    target: npt.ArrayLike,
    target_sq: npt.ArrayLike,
    target_3: npt.ArrayLike,
    target_4: npt.ArrayLike,
    error_sq_target: npt.ArrayLike,
    error_sq_target_sq: npt.ArrayLike,
) -> Estimate:
    """1 - mean squared error / variance of the target; NaN where the target is constant.

    With e the error and y the target about its mean, each row's influence is -(e^2 - mse)/v + mse (y^2 - v)/v^2;
    the interval is normal with the mean square of that over n (delta method).

    Args:
        rows: counts.
        error_sq … error_sq_target_sq: sums over rows of e^2, e^4, t, t^2, t^3, t^4, e^2 t and e^2 t^2.

    >>> y, e = np.array([1.0, 2.0, 4.0, 5.0]), np.array([0.1, -0.2, 0.1, 0.3])
    >>> s = [(e**i * y**j).sum() for i, j in ((2, 0), (4, 0), (0, 1), (0, 2), (0, 3), (0, 4), (2, 1), (2, 2))]
    >>> round(float(r2(4, *s).value), 4)
    0.985
    """
    n = np.asarray(rows, dtype=np.float64)
    mse, e4 = share(error_sq, n), share(error_4, n)
    m1, m2, m3, m4 = (share(x, n) for x in (target, target_sq, target_3, target_4))
    cross1, cross2 = share(error_sq_target, n), share(error_sq_target_sq, n)
    v = m2 - m1**2
    v = np.where(v > 1e-12 * np.maximum(m2, 1e-300), v, np.nan)
    centered4 = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    mixed = cross2 - 2 * m1 * cross1 + m1**2 * mse
    ratio = mse / v
    influence = (e4 - mse**2) - 2 * ratio * (mixed - mse * v) + ratio**2 * (centered4 - v**2)
    half = Z * np.sqrt(share(np.maximum(influence, 0), np.maximum(n - 1, 0))) / v
    value = 1 - ratio
    return estimate(value, (value - half, value + half))
