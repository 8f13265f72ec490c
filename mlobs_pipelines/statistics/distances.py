"""Distances between two distributions, from counts in the same bins."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.statistics.intervals import LEVEL, Estimate, Floats, Z, estimate, share

ROWS_PER_BIN = 10
"""Fewer rows per used bin than this and no interval of a distance is given."""


class Shares(NamedTuple):
    """Two distributions over the same bins, ready for distances.

    ``p``, ``q``: shares of the reference and of the current rows, shape (..., bins); NaN without rows.
    ``n``, ``m``: their rows, shape (...). ``degrees``: bins that either uses, less one. ``fewest``: the rows of
    the emptiest of these bins, in either sample.
    """

    p: Floats
    q: Floats
    n: Floats
    m: Floats
    degrees: Floats
    fewest: Floats


def shares(reference: npt.ArrayLike, current: npt.ArrayLike) -> Shares:
    """Counts of the reference and of the current rows, shape (..., bins) each, as shares."""
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    n, m = a.sum(axis=-1), b.sum(axis=-1)
    n, m = np.broadcast_arrays(n, m)
    used = (a > 0) | (b > 0)
    degrees = np.maximum(used.sum(axis=-1) - 1.0, 0.0)
    fewest = np.where(used, np.minimum(a, b), np.inf).min(axis=-1, initial=np.inf)
    return Shares(share(a, n[..., None]), share(b, m[..., None]), n, m, degrees, fewest)


def psi(s: Shares) -> Estimate:
    """Population stability index: sum (q - p) ln(q / p).

    A share that is zero on one side only is taken as half a row there, 0.5/n. Under no change its mean is about
    ``degrees`` (1/n + 1/m) (Yurdakul & Naranjo 2020).

    >>> round(float(psi(shares([10, 20, 30], [20, 20, 20])).value), 4)
    0.1831
    """
    used = (s.p > 0) | (s.q > 0)
    p = np.where(used, np.maximum(s.p, 0.5 / np.maximum(s.n, 1)[..., None]), 1.0)
    q = np.where(used, np.maximum(s.q, 0.5 / np.maximum(s.m, 1)[..., None]), 1.0)
    log = np.log(q / p)
    value = ((q - p) * log).sum(axis=-1)
    slope_p, slope_q = -log - q / p + 1, log + 1 - p / q
    interval = _interval(s, value, 1.0, slope_p, slope_q, fewest=3)
    return estimate(_known(s, value), interval)


def jensen_shannon(s: Shares) -> Estimate:
    """Jensen-Shannon distance, base 2, in [0, 1]: sqrt of the mean divergence of both from their middle (Lin 1991).

    >>> round(float(jensen_shannon(shares([10, 0], [0, 10])).value), 4)
    1.0
    """
    middle = (s.p + s.q) / 2
    log_p = np.log2(np.where(s.p > 0, s.p, 1.0) / np.where(s.p > 0, middle, 1.0))
    log_q = np.log2(np.where(s.q > 0, s.q, 1.0) / np.where(s.q > 0, middle, 1.0))
    squared = np.maximum(((s.p * log_p) + (s.q * log_q)).sum(axis=-1) / 2, 0)
    lower, upper = _interval(s, squared, 1 / (8 * np.log(2)), log_p / 2, log_q / 2)
    return estimate(_known(s, np.sqrt(squared)), (np.sqrt(lower), np.sqrt(np.minimum(upper, 1))))


def hellinger(s: Shares) -> Estimate:
    """Hellinger distance, in [0, 1]: sqrt(1/2 sum (sqrt p - sqrt q)^2).

    >>> round(float(hellinger(shares([16, 18, 16, 14, 12, 12], [16, 16, 16, 16, 16, 8])).value), 5)
    0.06813
    """
    root_p, root_q = np.sqrt(s.p), np.sqrt(s.q)
    squared = ((root_p - root_q) ** 2).sum(axis=-1) / 2
    slope_p = -np.divide(root_q, root_p, out=np.zeros_like(root_p), where=root_p > 0) / 2
    slope_q = -np.divide(root_p, root_q, out=np.zeros_like(root_q), where=root_q > 0) / 2
    lower, upper = _interval(s, squared, 1 / 8, slope_p, slope_q, fewest=3)
    return estimate(_known(s, np.sqrt(squared)), (np.sqrt(lower), np.sqrt(np.minimum(upper, 1))))


def total_variation(s: Shares) -> Estimate:
    """Total variation distance, in [0, 1]: 1/2 sum |p - q|. No interval.

    >>> float(total_variation(shares([1, 1, 2], [2, 1, 1])).value)
    0.25
    """
    return estimate(np.abs(s.p - s.q).sum(axis=-1) / 2)


def chi_squared(s: Shares) -> Estimate:
    """Pearson's statistic of the two-sample homogeneity test, without correction. No interval: it grows with n.

    >>> round(float(chi_squared(shares([10, 20], [20, 10])).value), 4)
    6.6667
    """
    return estimate(_known(s, _pearson(s)))


def cramers_v(s: Shares) -> Estimate:
    """Cramér's V of sample by bin, in [0, 1]: sqrt(chi^2 / (n + m)) (Cramér 1946).

    >>> round(float(cramers_v(shares([10, 20], [20, 10])).value), 4)
    0.3333
    """
    weight = share(s.n * s.m, s.n + s.m)
    squared = share(_pearson(s), s.n + s.m)
    pooled = s.p * share(s.n, s.n + s.m)[..., None] + s.q * share(s.m, s.n + s.m)[..., None]
    ratio = share(s.p - s.q, np.where(pooled > 0, pooled, np.nan))
    part = share(weight, s.n + s.m)[..., None]
    slope = np.nan_to_num(2 * ratio), np.nan_to_num(ratio**2)
    slope_p = part * (slope[0] - slope[1] * share(s.n, s.n + s.m)[..., None])
    slope_q = part * (-slope[0] - slope[1] * share(s.m, s.n + s.m)[..., None])
    lower, upper = _interval(s, squared, share(weight, s.n + s.m), slope_p, slope_q)
    return estimate(_known(s, np.sqrt(squared)), (np.sqrt(lower), np.sqrt(np.minimum(upper, 1))))


def _known(s: Shares, value: Floats) -> Floats:
    return np.where((s.n > 0) & (s.m > 0), value, np.nan)


def _pearson(s: Shares) -> Floats:
    total = (s.n + s.m)[..., None]
    pooled = share(s.p * s.n[..., None] + s.q * s.m[..., None], total)
    terms = np.divide((s.p - s.q) ** 2, pooled, out=np.zeros_like(pooled), where=pooled > 0)
    statistic: Floats = terms.sum(axis=-1) * share(s.n * s.m, s.n + s.m)
    return statistic


def _interval(
    s: Shares, value: Floats, scale: npt.ArrayLike, slope_p: Floats, slope_q: Floats, fewest: int = 0
) -> tuple[Floats, Floats]:
    """Interval of a divergence that is locally ``scale`` times the chi-squared one.

    Near no change, value / (scale (1/n + 1/m)) is noncentral chi-squared with ``degrees`` degrees of freedom, and
    sqrt(x - (d-1)/2) is about normal around sqrt(noncentrality + (d-1)/2) with variance 1 (Sankaran 1963), which
    inverts in closed form. Far from it the delta method gives the spread, about the value less its bias,
    ``degrees`` scale (1/n + 1/m). The interval is the hull of both, and always contains the value.

    It is given where it was seen to cover: with ten rows per used bin in either sample and, where sparse bins
    weigh more (psi, Hellinger), ``fewest`` rows in every used bin of both. Else NaN.
    """
    unit = np.asarray(scale, dtype=np.float64) * (share(1.0, s.n) + share(1.0, s.m))
    half_degrees = np.maximum(s.degrees - 1, 0) / 2
    root = np.sqrt(np.maximum(share(value, unit) - half_degrees, 0))
    near_lower = np.where(root > Z, np.maximum((np.maximum(root - Z, 0)) ** 2 - half_degrees, 0), 0)
    near_upper = np.maximum((root + Z) ** 2 - half_degrees, 0)
    spread = np.sqrt(share(_variance(s.p, slope_p), s.n) + share(_variance(s.q, slope_q), s.m))
    center = np.maximum(value - s.degrees * unit, 0)
    lower = np.maximum(np.minimum(near_lower * unit, center - Z * spread), 0)
    upper = np.maximum(np.maximum(near_upper * unit, center + Z * spread), value)
    covers = (np.minimum(s.n, s.m) >= ROWS_PER_BIN * (s.degrees + 1)) & (s.fewest >= fewest)
    return np.where(covers, np.minimum(lower, value), np.nan), np.where(covers, upper, np.nan)


def _variance(p: Floats, slope: Floats) -> Floats:
    """Variance of slope over a draw from p."""
    first = (p * slope).sum(axis=-1)
    variance: Floats = np.maximum((p * slope**2).sum(axis=-1) - first**2, 0)
    return variance


def _within(
    reference: Floats, current: Floats, at_left: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """F - G at each bin's left and right end, and the mass of F and of G that lies somewhere inside the bin.

    Mass known to sit on the left edge belongs to the left end.
    """
    n, m = reference.sum(axis=-1), current.sum(axis=-1)
    f, g = share(reference, n[..., None]), share(current, m[..., None])
    right = np.cumsum(f, axis=-1) - np.cumsum(g, axis=-1)
    left = right - f + g + np.where(at_left[0], f, 0) - np.where(at_left[1], g, 0)
    f, g = np.where(at_left[0], 0, f), np.where(at_left[1], 0, g)
    return left, right, f, g, n, m


def kolmogorov_smirnov(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    at_left: tuple[npt.ArrayLike, npt.ArrayLike] = (False, False),
) -> Estimate:
    """The largest difference of the two distribution functions, in [0, 1], as seen at the edges of the bins.

    Inside a bin, which holds f of the reference and g of the current rows, the difference can reach at most d + f and
    g - d, with d the difference at its left edge: ``bound`` is how far that goes beyond the value, which is a lower
    bound. The interval adds to both the bands of Dvoretzky-Kiefer-Wolfowitz with Massart's constant,
    sqrt(ln(4/alpha) / 2n) per sample: at least the stated coverage at any sample size.

    Args:
        reference, current: counts, shape (..., bins), bins ascending.
        at_left: for each sample, where all values of a bin are known to equal its left edge.

    >>> k = kolmogorov_smirnov([10, 10, 10], [5, 10, 15])
    >>> round(float(k.value), 4), round(float(k.bound), 4)
    (0.1667, 0.3333)
    """
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    a, b = np.broadcast_arrays(a, b)
    marks = np.broadcast_to(at_left[0], a.shape), np.broadcast_to(at_left[1], a.shape)
    left, right, f, g, n, m = _within(a, b, marks)
    value = np.abs(right).max(axis=-1, initial=0)
    # an edge's difference with the mass known to sit on it is a difference seen
    value = np.maximum(value, np.where(marks[0] & marks[1], np.abs(left), 0).max(axis=-1, initial=0))
    highest = np.maximum(np.maximum(left + f, g - left).max(axis=-1, initial=0), value)
    alpha = 1 - LEVEL
    band = np.sqrt(share(np.log(4 / alpha) / 2, n)) + np.sqrt(share(np.log(4 / alpha) / 2, m))
    known = (n > 0) & (m > 0)
    value, highest = np.where(known, value, np.nan), np.where(known, np.minimum(highest, 1), np.nan)
    return estimate(value, (np.maximum(value - band, 0), np.minimum(highest + band, 1)), highest - value)


def wasserstein(
    edges: npt.ArrayLike,
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    reference_sum: npt.ArrayLike,
    current_sum: npt.ArrayLike,
    at_left: tuple[npt.ArrayLike, npt.ArrayLike] = (False, False),
) -> Estimate:
    """Earth mover's distance of one-dimensional values, the integral of |F - G|, in their unit. No interval.

    The sums of the values give the integral of F - G over each bin, open tails included: the sum of those integrals'
    sizes is a lower bound and is exact for every bin in which F - G keeps its sign. ``bound`` is how much more
    the bins in which it may change sign could hold (the chord above a convex function of the mass).

    Args:
        edges: ascending, shape (..., bins - 1); repeated edges make empty bins.
        reference, current: counts, shape (..., bins).
        reference_sum, current_sum: sums of the values, same shape.
        at_left: for each sample, where all values of a bin are known to equal its left edge.

    >>> w = wasserstein([1.0], [2, 0], [0, 2], [1.0, 0.0], [0.0, 5.0])
    >>> float(w.value), float(w.bound)
    (2.0, 0.0)
    """
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    a, b = np.broadcast_arrays(a, b)
    marks = tuple(np.array(np.broadcast_to(x, a.shape)) for x in at_left)
    for mark in marks:
        mark[..., 0] = False
    left, right, f, g, n, m = _within(a, b, (marks[0], marks[1]))
    e = np.asarray(edges, dtype=np.float64)
    low = np.concatenate([e[..., :1], e], axis=-1)
    high = np.concatenate([e, e[..., -1:]], axis=-1)

    def areas(counts: Floats, sums: npt.ArrayLike, total: Floats, mark: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """The area below the mass gathered since the left end, and above it up to the right end."""
        s = np.asarray(sums, dtype=np.float64)
        below = np.where(mark, 0, np.maximum(share(high * counts - s, total[..., None]), 0))
        above = np.where(mark, 0, np.maximum(share(s - low * counts, total[..., None]), 0))
        below[..., -1] = 0  # up to infinity: only the part above is finite
        above[..., 0] = 0
        return below, above

    f_below, f_above = areas(a, reference_sum, n, marks[0])
    g_below, g_above = areas(b, current_sum, m, marks[1])
    width = high - low
    integral = left * width + f_below - g_below
    integral[..., 0] = f_below[..., 0] - g_below[..., 0]
    integral[..., -1] = g_above[..., -1] - f_above[..., -1]

    def dip(start: Floats, falls: Floats, end: Floats, rises: Floats, fallen: Floats, unrisen: Floats) -> Floats:
        """At most how much area the difference can have below zero, given its sign at the ends.

        It starts at ``start`` and ends at ``end``; ``falls`` is the mass that lowers it, with area ``fallen`` behind it,
        ``rises`` the mass that raises it, with area ``unrisen`` ahead of it.
        """
        from_start = np.where(
            start >= 0, fallen * share(np.maximum(falls - start, 0), np.where(falls > 0, falls, 1)), np.inf
        )
        from_end = np.where(
            end >= 0, unrisen * share(np.maximum(rises - end, 0), np.where(rises > 0, rises, 1)), np.inf
        )
        return np.minimum(from_start, from_end)

    negative = dip(left, g, right, f, g_below, f_above)
    positive = dip(-left, f, -right, g, f_below, g_above)
    # the open tails have one end only
    negative[..., 0], positive[..., 0] = g_below[..., 0], f_below[..., 0]
    negative[..., -1], positive[..., -1] = f_above[..., -1], g_above[..., -1]
    highest = np.minimum(integral + 2 * negative, -integral + 2 * positive)
    size = np.abs(integral)
    known = (n > 0) & (m > 0)
    value = np.where(known, size.sum(axis=-1), np.nan)
    return estimate(value, bound=np.where(known, np.maximum(highest - size, 0).sum(axis=-1), np.nan))
