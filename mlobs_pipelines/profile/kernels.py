"""Numbers -> bins, and exact sums of whole numbers by cell: what the embedded engine does for every value it reads.

``Binner`` gives the same bins, and ``sums_by_cell`` the same sums, as the SQL of ``sums.py``: integers, equal to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]

EXACT = 2.0**53
"""Whole numbers up to here are doubles, and so are all sums that stay below."""
SPLIT = 2.0**26
BUCKETS = 4096
STEPS = 3
"""Edges in one bucket up to which a look-up and that many comparisons are faster than a search."""
HIGH_BITS = 18
"""Sign, exponent and six digits of a double: buckets that are finer where numbers are smaller."""


@dataclass(frozen=True)
class Binner:
    """Counts the edges that are at or below each number: a look-up by bucket, then as many comparisons as a bucket has edges.

    A bucket is a range of numbers that can be told by arithmetic alone: equal steps, or the leading bits of the double.
    Where edges lie too close together for both, a binary search without branches.
    """

    edges: Floats
    _low: npt.NDArray[np.uint16]
    _next: Floats
    _steps: int
    _scale: float | None
    """Buckets per unit above the first edge; None: by leading bits."""

    @staticmethod
    def of(edges: Sequence[float]) -> Binner:
        """A binner for ascending, finite edges, fewer than 65,536."""
        e = np.asarray(edges, dtype=np.float64) + 0.0  # no negative zero, whose bits lie apart
        following = np.append(e, np.nan)  # no number is beyond
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            scale = (BUCKETS - 2) / (e[-1] - e[0]) if len(e) else np.nan
        best = Binner(e, np.zeros(0, np.uint16), following, STEPS + 1, None)
        for way in (scale if np.isfinite(scale) and scale > 0 else None, None):
            trial = Binner(e, np.zeros(0, np.uint16), following, 0, way)
            # Buckets rise with the number: the edges in lower buckets are below, those in its own must be compared.
            held = np.bincount(trial._bucket(e), minlength=BUCKETS if way is not None else 1 << HIGH_BITS)
            steps = int(held.max())
            if steps < best._steps:
                low = np.concatenate([[0], np.cumsum(held)[:-1]]).astype(np.uint16)
                best = Binner(e, low, following, steps, way)
        return best

    def _bucket(self, x: Floats) -> Places:
        if self._scale is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # far away, NaN
                at = (x - self.edges[0]) * self._scale
                np.clip(at, -1.0, BUCKETS - 2.0, out=at)
                bucket: Places = (at + 1.0).astype(np.intp)
            return bucket
        high = x.view(np.uint32)[1::2] >> (32 - HIGH_BITS)
        half = 1 << (HIGH_BITS - 1)
        # The bits of negative numbers rise as they fall.
        signed = high.astype(np.intp)
        place: Places = np.where(signed >= half, 2 * half - 1 - signed, signed + half)
        return place

    def __call__(self, x: Floats) -> Places:
        """Bin of each number, shape of ``x`` (contiguous, one axis, no negative zero); that of NaN is any bin."""
        if not len(self._low):
            return self._search(x)
        number = self._low.take(self._bucket(x), mode="clip").astype(np.intp)
        for _ in range(self._steps):
            number += x >= self._next.take(number, mode="clip")
        return number

    def _search(self, x: Floats) -> Places:
        number = np.zeros(len(x), np.intp)
        for power in reversed(range(len(self.edges).bit_length())):
            step = 1 << power
            probe = np.append(self._next, np.full(2 * step, np.nan))
            number += step * (x >= probe.take(number + (step - 1), mode="clip"))
        return number


def sums_by_cell(cell: Places, cells: int, weights: Floats, largest: float | None = None) -> Ints:
    """Sum whole numbers by cell, exactly, shape (cells,).

    Args:
        cell: number of each row's cell, below ``cells``.
        weights: whole numbers of at most 2**53, shape of ``cell``.
        largest: the largest absolute weight, where the caller knows it.
    """
    if largest is None:
        largest = float(np.abs(weights).max(initial=0.0))
    if largest * len(weights) < EXACT:
        return np.bincount(cell, weights, cells).astype(np.int64)
    high = np.floor(weights / SPLIT)
    upper = np.bincount(cell, high, cells).astype(np.int64)
    return upper * int(SPLIT) + np.bincount(cell, weights - high * SPLIT, cells).astype(np.int64)


def standardised(x: Floats, center: float, unit: float, limit: float) -> Floats:
    """(x - center) / unit, clipped to +-limit; NaN stays. The same operations in the same order as the SQL of that name."""
    z = x - center
    z /= unit
    return np.clip(z, -limit, limit, out=z)


def fixed_point(x: Floats, bits: int) -> Floats:
    """x as a whole count of 2**-bits, rounded half up; 0 for NaN."""
    count = x * 2.0**bits
    count += 0.5
    np.floor(count, out=count)
    count[np.isnan(count)] = 0.0
    return count
