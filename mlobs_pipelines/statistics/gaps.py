"""How far apart groups are: the largest difference or ratio of a rate, with an interval that holds for every pair."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.statistics.intervals import (
    Estimate,
    Floats,
    bonferroni_z,
    estimate,
    log_ratio,
    newcombe_difference,
    share,
)


def _pairs(groups: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    first, second = np.triu_indices(groups, k=1)
    return first.astype(np.int64), second.astype(np.int64)


def _outermost(values: Floats) -> Floats:
    """The largest of the last axis, NaN left out; NaN where nothing is left."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    largest = np.where(np.isnan(values), -np.inf, values).max(axis=-1)
    return np.where(np.isneginf(largest), np.nan, largest)


def largest_difference(successes: npt.ArrayLike, trials: npt.ArrayLike, families: int = 1) -> Estimate:
    """The largest minus the smallest rate among groups (Fairlearn's ``between_groups``).

    Every pair has a Newcombe interval, widened (Bonferroni) so that all hold together; the true gap, the largest of
    the pairs' distances, then lies between the largest lower and the largest upper limit.

    Args:
        successes, trials: counts, shape (..., groups); a group with 0 trials is left out.
        families: how many such gaps are looked at together.

    >>> g = largest_difference([20, 35, 30], [100, 100, 100])
    >>> round(float(g.value), 3), float(g.lower) > 0
    (0.15, False)
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    rates = share(k, n)
    known = (n > 0).sum(axis=-1)
    value = np.where(known >= 2, _outermost(rates) + _outermost(-rates), np.nan)
    i, j = _pairs(k.shape[-1])
    z = bonferroni_z(families * known * (known - 1) // 2)[..., None]
    low, high = newcombe_difference(k[..., i], n[..., i], k[..., j], n[..., j], z)
    lower = _outermost(np.maximum(np.maximum(low, -high), 0.0))
    upper = _outermost(np.maximum(np.abs(low), np.abs(high)))
    return estimate(value, (lower, np.minimum(upper, 1.0)))


def smallest_ratio(successes: npt.ArrayLike, trials: npt.ArrayLike) -> Estimate:
    """The smallest over the largest rate among groups; NaN where all rates are 0.

    The interval is as in ``largest_difference``, with log-ratio intervals for the pairs.

    Args:
        successes, trials: counts, shape (..., groups); a group with 0 trials is left out.

    >>> round(float(smallest_ratio([20, 35, 30], [100, 100, 100]).value), 4)
    0.5714
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    rates = share(k, n)
    known = (n > 0).sum(axis=-1)
    value = np.where(known >= 2, share(-_outermost(-rates), _outermost(rates)), np.nan)
    i, j = _pairs(k.shape[-1])
    z = bonferroni_z(known * (known - 1) // 2)[..., None]
    low, high = _ratio_below_one(k[..., i], n[..., i], k[..., j], n[..., j], z)
    return estimate(value, (-_outermost(-low), -_outermost(-high)))


def _ratio_below_one(k1: Floats, n1: Floats, k2: Floats, n2: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Interval of min(p1/p2, p2/p1)."""
    swap = share(k1, n1) > share(k2, n2)
    a, m, b, n = (np.where(swap, x, y) for x, y in ((k2, k1), (n2, n1), (k1, k2), (n1, n2)))
    low, high = log_ratio(a, m, b, n, z)
    beyond = high > 1
    low = np.where(beyond, np.minimum(low, share(1.0, np.where(beyond, high, 1.0))), low)
    return low, np.minimum(high, 1.0)


def ratio_to(
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    reference_successes: npt.ArrayLike,
    reference_trials: npt.ArrayLike,
    comparisons: npt.ArrayLike = 1,
) -> Estimate:
    """A group's rate over the reference group's, with its log-ratio interval; NaN where the latter is 0.

    >>> round(float(ratio_to(20, 100, 40, 100).value), 3)
    0.5
    """
    value = share(share(successes, trials), share(reference_successes, reference_trials))
    z = bonferroni_z(comparisons)
    return estimate(value, log_ratio(successes, trials, reference_successes, reference_trials, z))


def difference_to(
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    reference_successes: npt.ArrayLike,
    reference_trials: npt.ArrayLike,
    comparisons: npt.ArrayLike = 1,
) -> Estimate:
    """A group's rate minus the reference group's, with its Newcombe interval.

    >>> round(float(difference_to(20, 100, 40, 100).value), 3)
    -0.2
    """
    value = share(successes, trials) - share(reference_successes, reference_trials)
    z = bonferroni_z(comparisons)
    return estimate(value, newcombe_difference(successes, trials, reference_successes, reference_trials, z))
