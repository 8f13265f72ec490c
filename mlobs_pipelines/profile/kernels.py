"""Numbers -> bins, and sums of whole numbers by cell and bin: what the embedded engine does for every value it reads.

The loops are compiled: one pass over a column places its values, one adds all its sums, in integers, and neither holds
the interpreter's lock. They give the same integers as the SQL of ``sums.py``.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
Bins = npt.NDArray[np.int32]
"""Places of values among the bins of a feature or an output."""

BUCKETS = 16_384
HIGH_BITS = 18
"""Sign, exponent and six digits of a double: buckets that are finer where numbers are smaller."""
STEPS = 4
"""Edges up to which a number is compared with all of them: that has no branches, which could not be foretold."""

NEGATIVE_ZERO = -(1 << 63)
"""Its bits."""

_Loop = TypeVar("_Loop", bound=Callable[..., Any])


def _compiled(loop: _Loop) -> _Loop:
    """The loop as machine code from its first call on, kept beside this file or in the user's cache, if one can be written."""

    @functools.cache
    def machine_code() -> Callable[..., Any]:
        import numba

        try:
            return cast("Callable[..., Any]", numba.njit(nogil=True, cache=True)(loop))
        except RuntimeError:  # nowhere to keep it: compiled anew in each process
            return cast("Callable[..., Any]", numba.njit(nogil=True)(loop))

    @functools.wraps(loop)
    def call(*arguments: Any) -> Any:
        return machine_code()(*arguments)

    return cast("_Loop", call)


@functools.cache
def start() -> threading.Thread:
    """Load the loops in the background: a second of work, for which a process that waits for another has time."""
    thread = threading.Thread(target=_use_all, name="kernels")
    thread.start()
    return thread


def _use_all() -> None:
    """Each loop once, with the types that it has later: for others it would be loaded again."""
    one, cell = np.zeros(1), np.zeros(1, np.intp)
    for edges in ([0.0], [0.0, 1.0]):
        bins = Binner.of(edges)(one, 0)
    for sums in (3, 4):
        add_rows(
            np.zeros((1, 2, sums), np.int64), cell, bins, by_row(np.zeros((sums, 1), np.int64), np.zeros(1, np.int64))
        )
    add_values(np.zeros((1, 2, 4), np.int64), cell, bins, np.zeros((1, 2), np.int64), one, 0.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Binner:
    """Counts the edges that are at or below each number: a look-up by bucket, then comparisons with the edges in it.

    A bucket is a range of numbers that can be told by arithmetic alone: equal steps, or, where edges lie too unevenly
    for those, the leading bits of the double.
    """

    edges: Floats
    """With a NaN at the end, which no number reaches."""
    _below: npt.NDArray[np.int32]
    """Edges in the buckets below each bucket; the last is of all."""
    _scale: float
    """Buckets per unit above the first edge; 0: by leading bits."""
    _steps: int

    @staticmethod
    def of(edges: Sequence[float]) -> Binner:
        """A binner for ascending, finite edges."""
        e = np.asarray(edges, dtype=np.float64) + 0.0  # no negative zero, whose bits lie apart
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            scale = float((BUCKETS - 2) / (e[-1] - e[0])) if len(e) else 0.0
        ways = (scale, 0.0) if np.isfinite(scale) and scale > 0 else (0.0,)
        # Buckets rise with the number: the edges in lower buckets are below, those in its own must be compared.
        held = {
            way: np.bincount(_buckets(_read_only(e), e[:1], way), minlength=BUCKETS if way else 1 << HIGH_BITS)
            for way in ways
        }
        # Rows lie where edges do.
        way = min(ways, key=lambda way: int(np.square(held[way]).sum()))
        below = np.concatenate([[0], np.cumsum(held[way])]).astype(np.int32)
        return Binner(np.append(e, np.nan), below, way, min(int(held[way].max()), STEPS))

    def __call__(self, x: Floats, missing: int) -> Bins:
        """Bin of each number, shape of ``x`` (one axis); ``missing`` for NaN."""
        x = _read_only(x)
        bucket = _buckets(x, self.edges, self._scale)
        return _compared(x, bucket, self._below, self.edges, self._steps, missing)


def _buckets(x: Floats, edges: Floats, scale: float) -> npt.NDArray[np.uint32]:
    return _buckets_by_steps(x, edges[0], scale) if scale else _buckets_by_bits(x)


# Indices are unsigned in these loops: for signed ones each access would first ask whether it counts from the end.


@_compiled
def _buckets_by_steps(x: Floats, first: float, scale: float) -> npt.NDArray[np.uint32]:
    bucket = np.empty(len(x), np.uint32)
    for i in range(len(x)):
        at = min(max((x[i] - first) * scale + 1.0, 0.0), BUCKETS - 1.0)
        bucket[i] = np.uint32(0) if np.isnan(at) else np.uint32(at)
    return bucket


@_compiled
def _buckets_by_bits(x: Floats) -> npt.NDArray[np.uint32]:
    bits = x.view(np.int64)
    half = 1 << (HIGH_BITS - 1)
    bucket = np.empty(len(x), np.uint32)
    for i in range(len(x)):
        high = bits[i] >> (64 - HIGH_BITS)
        # The bits of negative numbers rise as they fall; those of negative zero lie apart.
        high = 0 if bits[i] == NEGATIVE_ZERO else high ^ ((high >> 63) & (half - 1))
        bucket[i] = np.uint32(high + half)
    return bucket


@_compiled
def _compared(
    x: Floats, bucket: npt.NDArray[np.uint32], below: npt.NDArray[np.int32], edges: Floats, steps: int, missing: int
) -> Bins:
    found = np.empty(len(x), np.int32)
    for i in range(len(x)):
        low, high = below[np.uint64(bucket[i])], below[np.uint64(bucket[i]) + np.uint64(1)]
        while high - low > STEPS:
            middle = (low + high) >> 1
            if x[i] >= edges[np.uint64(middle)]:
                low = middle + 1
            else:
                high = middle
        for _ in range(steps):
            low += np.int32(x[i] >= edges[np.uint64(low)])
        found[i] = missing if np.isnan(x[i]) else low
    return found


def add_rows(total: Ints, cell: Places, bins: Bins, weights: Ints) -> None:
    """Add each row's weights to the sums of its cell and bin.

    Args:
        total: sums, shape (cells, bins, sums), contiguous; changed.
        cell: number of each row's cell, shape (rows,).
        bins: number of each row's bin, shape (rows,).
        weights: whole numbers, shape (rows, at least sums): of further columns nothing is added.

    Raises:
        IndexError: a row's bin is beyond the sums.
    """
    _check(total, bins)
    (_add_four if total.shape[2] == 4 else _add_any)(total, cell, bins, weights)


@_compiled
def _add_any(total: Ints, cell: Places, bins: Bins, weights: Ints) -> None:
    sums = total.shape[2]
    for i in range(len(cell)):
        into = total[np.uint64(cell[i]), np.uint64(bins[i])]
        for k in range(sums):
            into[k] += weights[i, k]


# The commonest number of sums, written out: all are read before one is written, so that the machine adds them at once.


@_compiled
def _add_four(total: Ints, cell: Places, bins: Bins, weights: Ints) -> None:
    width, flat = np.uint64(total.shape[1]), total.reshape(-1)
    for i in range(len(cell)):
        at = (np.uint64(cell[i]) * width + np.uint64(bins[i])) * np.uint64(4)
        a = flat[at] + weights[i, 0]
        b = flat[at + np.uint64(1)] + weights[i, 1]
        c = flat[at + np.uint64(2)] + weights[i, 2]
        d = flat[at + np.uint64(3)] + weights[i, 3]
        flat[at], flat[at + np.uint64(1)], flat[at + np.uint64(2)], flat[at + np.uint64(3)] = a, b, c, d


def add_values(
    total: Ints,
    cell: Places,
    bins: Bins,
    weights: Ints,
    x: Floats,
    center: float,
    unit: float,
    limit: float,
    parts: float,
) -> None:
    """Add each row's two weights to the sums of its cell and bin, then (x - center) / unit, within +-limit, and its square.

    Both are added as whole counts of 1/parts, rounded half up; 0 for NaN: the same operations in the same order as the
    SQL of ``standardised`` and ``fixed_point``.

    Args:
        total: sums, shape (cells, bins, 4), contiguous; changed.
        cell: number of each row's cell, shape (rows,).
        bins: number of each row's bin, shape (rows,).
        weights: whole numbers, shape (rows, 2).
        x: shape (rows,).

    Raises:
        IndexError: a row's bin is beyond the sums.
    """
    _check(total, bins)
    _add_values(total, cell, bins, weights, _read_only(x), center, unit, limit, parts)


@_compiled
def _add_values(
    total: Ints,
    cell: Places,
    bins: Bins,
    weights: Ints,
    x: Floats,
    center: float,
    unit: float,
    limit: float,
    parts: float,
) -> None:
    width, flat = np.uint64(total.shape[1]), total.reshape(-1)
    for i in range(len(cell)):
        at = (np.uint64(cell[i]) * width + np.uint64(bins[i])) * np.uint64(4)
        z = 0.0 if np.isnan(x[i]) else min(max((x[i] - center) / unit, -limit), limit)
        a = flat[at] + weights[i, 0]
        b = flat[at + np.uint64(1)] + weights[i, 1]
        c = flat[at + np.uint64(2)] + np.int64(np.floor(z * parts + 0.5))
        d = flat[at + np.uint64(3)] + np.int64(np.floor(z * z * parts + 0.5))
        flat[at], flat[at + np.uint64(1)], flat[at + np.uint64(2)], flat[at + np.uint64(3)] = a, b, c, d


@_compiled
def by_row(columns: Ints, sign: Ints) -> Ints:
    """Columns, shape (columns, rows), row by row and times each row's sign, shape (rows, columns)."""
    weights = np.empty((columns.shape[1], columns.shape[0]), np.int64)
    for i in range(columns.shape[1]):
        for j in range(columns.shape[0]):
            weights[i, j] = columns[j, i] * sign[i]
    return weights


@_compiled
def folded(total: Ints, cell: Places, bins: Bins, cells: int, width: int) -> Ints:
    """Sums by fewer cells and bins.

    Args:
        total: sums, shape (at least as many cells as ``cell`` has, bins, sums).
        cell: place of each cell among the fewer ones, shape (its cells,).
        bins: place of each bin among the fewer ones, shape (bins,).
        cells: how many cells are left.
        width: how many bins are left.

    Returns:
        Sums, shape (cells, width, sums).
    """
    sums = np.zeros((cells, width, total.shape[2]), np.int64)
    for i in range(len(cell)):
        for j in range(total.shape[1]):
            into = sums[np.uint64(cell[i]), np.uint64(bins[j])]
            for k in range(total.shape[2]):
                into[k] += total[i, j, k]
    return sums


@_compiled
def occurring(total: Ints) -> tuple[Places, Places, Ints]:
    """Cells and bins with a sum that is not 0: their places, shape (found,) each, and the sums, shape (sums, found)."""
    found = 0
    for i in range(total.shape[0]):
        for j in range(total.shape[1]):
            if np.any(total[i, j] != 0):
                found += 1
    cell, bins, sums = np.empty(found, np.intp), np.empty(found, np.intp), np.empty((total.shape[2], found), np.int64)
    at = 0
    for i in range(total.shape[0]):
        for j in range(total.shape[1]):
            if np.any(total[i, j] != 0):
                cell[at], bins[at], sums[:, at] = i, j, total[i, j]
                at += 1
    return cell, bins, sums


def _read_only(x: Floats) -> Floats:
    """Contiguous, and not to be written: as columns are that were read without a copy. Loops are compiled for each type."""
    x = np.ascontiguousarray(x).view()
    x.flags.writeable = False
    return x


def _check(total: Ints, bins: Bins) -> None:
    """The loops ask nothing of their indices, and would write to any place in memory."""
    if len(bins) and bins.view(np.uint32).max() >= total.shape[1]:
        raise IndexError("a row's bin is beyond the sums")
