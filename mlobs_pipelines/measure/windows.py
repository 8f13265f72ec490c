"""Which windows of which groups a night states, and of those it states again, which metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.measure.groups import Groups, Ints

ROWS = 1
"""Predictions arrived about the window (or it ends tonight): every family is stated."""
LABELS = 2
"""Labels arrived: what rests on labels is stated."""
FAIR_ROWS = 4
FAIR_LABELS = 8
"""The same of the window of the whole version: its groups are compared again."""
SHARE = 16
"""Predictions arrived about the window of the whole role: shares of it are stated."""
INTAKE = 32
"""Something was delivered about the window, accepted or not."""


@dataclass(frozen=True)
class Cells:
    """Windows of groups: one row each; days count from 1970-01-01, both ends included."""

    group: Ints
    start: Ints
    end: Ints
    flags: Ints

    def __len__(self) -> int:
        return len(self.group)

    def __getitem__(self, places: npt.NDArray[np.bool_] | Ints) -> Cells:
        return Cells(self.group[places], self.start[places], self.end[places], self.flags[places])

    def place(self, others: Cells) -> Ints:
        """For each of the others, the place of the same group's same window, or -1."""
        if not len(self) or not len(others):
            return np.full(len(others), -1)
        low = min(int(self.start.min()), int(others.start.min()))
        span = max(int(self.end.max()), int(others.end.max())) - low + 1

        def key(c: Cells) -> Ints:
            found: Ints = (c.group * span + (c.start - low)) * span + (c.end - low)
            return found

        known, wanted = key(self), key(others)
        order = np.argsort(known, kind="stable")
        found = order[np.minimum(np.searchsorted(known[order], wanted), len(self) - 1)]
        return np.where(known[found] == wanted, found, -1)

    def having(self, flags: int) -> Ints:
        """Places of the cells that have one of the flags."""
        return np.flatnonzero(self.flags & flags)


def merged(parts: Sequence[Cells]) -> Cells:
    """Every distinct window once, with the flags of all; ordered by group, start and end."""
    group, start, end, flags = (
        np.concatenate(x) for x in zip(*((c.group, c.start, c.end, c.flags) for c in parts), strict=True)
    )
    if len(group) == 0:
        return Cells(group, start, end, flags)
    length, low = end - start, end.min()
    key = (group * (int(length.max()) + 1) + length) * (int(end.max() - low) + 1) + (end - low)
    distinct, first, place = np.unique(key, return_index=True, return_inverse=True)
    united = np.zeros(len(distinct), dtype=np.int64)
    np.bitwise_or.at(united, place, flags)
    cells = Cells(group[first], start[first], end[first], united)
    return cells[np.lexsort((cells.end, cells.start, cells.group))]


def trailing(groups: Ints, lengths: Sequence[int], night: int, flags: int) -> Cells:
    """The windows that end on the night."""
    group = np.repeat(groups, len(lengths))
    start = np.tile(night - np.asarray(lengths, dtype=np.int64) + 1, len(groups))
    return Cells(group, start, np.full(len(group), night), np.full(len(group), flags))


def restated(groups: Ints, days: Ints, lengths: Sequence[int], night: int, flags: int) -> Cells:
    """The windows that ended before the night and hold a day about which something arrived, group by group."""
    parts = [(np.zeros(0, np.int64),) * 3]
    for length in lengths:
        end = days[:, None] + np.arange(length)
        row, column = np.nonzero(end < night)
        pairs = np.unique(np.stack([groups[row], end[row, column]], axis=1), axis=0)
        parts.append((pairs[:, 0], pairs[:, 1] - length + 1, pairs[:, 1]))
    group, start, end = (np.concatenate(x) for x in zip(*parts, strict=True))
    return Cells(group, start, end, np.full(len(group), flags))


def crossed(cells: Cells, groups: Ints, flags: int) -> Cells:
    """The same windows for each of the groups."""
    n, k = len(cells), len(groups)
    return Cells(
        np.tile(groups, n), np.repeat(cells.start, k), np.repeat(cells.end, k), np.full(n * k, flags, dtype=np.int64)
    )


def members(
    groups: Groups, attributes: Sequence[str], cuts: Sequence[Sequence[str]]
) -> dict[str, npt.NDArray[np.bool_]]:
    """For each attribute, which segments are its groups: ``sex=F``, but not ``sex=F & device=ios``."""
    found = {}
    for attribute in attributes:
        further = [f" & {cut[1]}=" for cut in cuts if len(cut) > 1 and cut[0] == attribute]
        found[attribute] = np.array(
            [s.startswith(f"{attribute}=") and not any(f in s for f in further) for s in groups.segments],
            dtype=np.bool_,
        )
    return found
