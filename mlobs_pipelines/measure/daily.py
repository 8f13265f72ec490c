"""Sums per event day, and over any window of days as known on any night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlobs_pipelines.measure.groups import Groups, Ints
from mlobs_pipelines.measure.windows import Cells

CHUNK = 2_000_000
"""Numbers held at once per sum: bounds the memory of a night with many windows."""


@dataclass(frozen=True)
class DailySums:
    """Integer sums by (group, event day, arrival, slot), in that order, each combination once.

    Days are counted from 1970-01-01.
    """

    slots: Ints
    """What each slot stands for, such as a bin's number; the last axis of every result."""
    day: Ints
    arrival: Ints
    slot: Ints
    sums: Mapping[str, Ints]
    starts: Ints
    """Where each group's rows begin, and the end."""

    @staticmethod
    def build(
        groups: Groups,
        group: Ints,
        day: Ints,
        arrival: Ints,
        slot: Ints,
        slots: Ints,
        sums: Mapping[str, Ints],
    ) -> DailySums:
        """Sort rows and add up those that differ in nothing; ``slot`` is an index into ``slots``."""
        if len(group) == 0:
            none = np.zeros(0, np.int64)
            return DailySums(slots, none, none, none, dict.fromkeys(sums, none), np.zeros(len(groups) + 1, np.int64))
        d, a, s = day - day.min(), arrival - arrival.min(), len(slots)
        key = ((group * (int(d.max()) + 1) + d) * (int(a.max()) + 1) + a) * s + slot
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        kept = order[first]
        return DailySums(
            slots,
            day[kept],
            arrival[kept],
            slot[kept],
            {name: np.add.reduceat(x[order], first) for name, x in sums.items()},
            np.searchsorted(group[kept], np.arange(len(groups) + 1)),
        )

    def rows_about(self, cells: Cells, night: int) -> Ints:
        """Places of the rows that may matter to windows, by group."""
        ranges = []
        for g in np.unique(cells.group):
            mine = cells.group == g
            low, high = int(self.starts[g]), int(self.starts[g + 1])
            days = self.day[low:high]
            first = low + int(np.searchsorted(days, cells.start[mine].min(), side="left"))
            last = low + int(np.searchsorted(days, cells.end[mine].max(), side="right"))
            ranges.append(np.arange(first, last))
        rows = np.concatenate(ranges) if ranges else np.zeros(0, np.int64)
        return rows[self.arrival[rows] <= night]

    def over(self, cells: Cells, night: int, names: Sequence[str] | None = None) -> dict[str, Ints]:
        """Each sum over each window, shape (windows, slots), of what had arrived by the end of the night."""
        return self._over(cells, night, names or list(self.sums), None)[1]

    def over_used(self, cells: Cells, night: int, name: str) -> tuple[Ints, Ints]:
        """One sum over each window for the slots that occur in them: what the slots stand for, and the sums."""
        rows = self.rows_about(cells, night)
        used = np.unique(self.slot[rows])
        slots, sums = self._over(cells, night, [name], used, rows)
        return slots, sums[name]

    def _over(
        self, cells: Cells, night: int, names: Sequence[str], used: Ints | None, rows: Ints | None = None
    ) -> tuple[Ints, dict[str, Ints]]:
        rows = self.rows_about(cells, night) if rows is None else rows
        slots = self.slots if used is None else self.slots[used]
        width = len(slots)
        # days between two neighbouring bounds of windows belong to the same windows: they are added up first
        bounds = np.unique(np.concatenate([cells.start, cells.end + 1]))
        present, place = np.unique(cells.group, return_inverse=True)
        group = np.searchsorted(self.starts, rows, side="right") - 1
        local = np.searchsorted(present, group)
        span = np.searchsorted(bounds, self.day[rows], side="right")
        slot = self.slot[rows] if used is None else np.searchsorted(used, self.slot[rows])
        target = (local * (len(bounds) + 1) + span) * width + slot
        first = np.searchsorted(bounds, cells.start)
        last = np.searchsorted(bounds, cells.end + 1)
        found = {}
        for name in names:
            dense = np.zeros(len(present) * (len(bounds) + 1) * width, dtype=np.int64)
            np.add.at(dense, target, self.sums[name][rows])
            upto = dense.reshape(len(present), len(bounds) + 1, width)
            np.cumsum(upto, axis=1, out=upto)
            found[name] = upto[place, last] - upto[place, first]
        return slots, found


def chunks(cells: Cells, width: int) -> list[Ints]:
    """Places of the cells, split by group so that neither sums per day nor sums per window outgrow ``CHUNK``."""
    parts: list[Ints] = []
    open_groups: list[Ints] = []
    size = days = 0
    width = max(width, 1)
    order = np.argsort(cells.group, kind="stable")
    ends = np.flatnonzero(np.diff(cells.group[order])) + 1
    for mine in np.split(order, ends):
        bounds = len(np.unique(np.concatenate([cells.start[mine], cells.end[mine] + 1]))) if len(mine) else 0
        wide = max(days, bounds)
        if open_groups and max(size + len(mine), wide * (len(open_groups) + 1)) * width > CHUNK:
            parts.append(np.concatenate(open_groups))
            open_groups, size, wide = [], 0, bounds
        open_groups.append(mine)
        size += len(mine)
        days = wide
    if open_groups:
        parts.append(np.concatenate(open_groups))
    return parts
