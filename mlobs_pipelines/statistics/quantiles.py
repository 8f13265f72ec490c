"""Quantiles from counts in bins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.statistics.intervals import Estimate, Floats, Z, estimate


def quantile(counts: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, p: float) -> Estimate:
    """The p-quantile (NumPy's linear definition) of values of which only the bin is known.

    ``value`` is the middle of what the bins allow and ``bound`` its half-width. The interval reaches from the
    lower edge of the bin of rank np - z sqrt(np(1-p)) to the upper edge of that of rank np + z sqrt(np(1-p)) + 1
    (order statistics; Conover 1999); a limit beyond the sample is NaN.

    Args:
        counts: shape (..., bins), bins ascending.
        low, high: edges of the bins in the unit of the values, shape (bins,); equal where a bin is one value.
        p: in (0, 1).

    >>> q = quantile([2, 1, 2], [1, 2, 3], [1, 2, 3], 0.5)
    >>> float(q.value), float(q.bound)
    (2.0, 0.0)
    """
    c = np.asarray(counts, dtype=np.int64)
    below, above = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if c.shape[-1] == 0:
        return estimate(np.full(c.shape[:-1], np.nan))
    upto = np.cumsum(c, axis=-1)
    n = upto[..., -1]

    def bin_of(rank: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The bin of the value with so many values (0 and more) below it in order."""
        place: npt.NDArray[np.int64] = np.minimum((upto <= rank[..., None]).sum(axis=-1), c.shape[-1] - 1)
        return place

    at = p * np.maximum(n - 1, 0)
    first = np.floor(at).astype(np.int64)
    second = np.minimum(first + 1, np.maximum(n - 1, 0))
    part = at - first
    i, j = bin_of(first), bin_of(second)

    def between(edges: Floats) -> Floats:
        return edges[i] + part * (edges[j] - edges[i])

    lowest, highest = between(below), between(above)
    half = Z * np.sqrt(n * p * (1 - p))
    left = np.floor(n * p - half).astype(np.int64)
    right = np.ceil(n * p + half).astype(np.int64)
    lower = np.where(left >= 1, below[bin_of(np.maximum(left - 1, 0))], np.nan)
    upper = np.where(right + 1 <= n, above[bin_of(right)], np.nan)
    known = n > 0
    return estimate(
        np.where(known, (lowest + highest) / 2, np.nan),
        (np.where(known, lower, np.nan), np.where(known, upper, np.nan)),
        np.where(known, (highest - lowest) / 2, np.nan),
    )
