"""Sums per event day, and over any window of days as known on any night."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlobs_pipelines.measure.groups import Ints
from mlobs_pipelines.measure.windows import Cells

CHUNK = 2_000_000
"""Numbers held at once per sum: bounds the memory of a night with many windows."""
SPAN = 10_000_000
"""More days than any calendar holds."""


SPARSE = 4
"""Places per row up to which rows are added up in a table of all places that there may be, and not by sorting them."""


def summed(key: Ints, size: int, columns: Mapping[str, Ints], rows: Ints | None = None) -> tuple[Ints, dict[str, Ints]]:
    """The distinct keys, ascending, and for each the sums of the columns over its rows.

    Args:
        key: of each row, from 0 to ``size - 1``.
        size: keys that there may be.
        columns: what is summed.
        rows: each row's place in the columns; default: they run over the rows.
    """
    found, total = adding_up(key, size)
    return found, {name: total(x if rows is None else x[rows]) for name, x in columns.items()}


def adding_up(key: Ints, size: int) -> tuple[Ints, Callable[[Ints], Ints]]:
    """The distinct keys, ascending, and what gives for each the sum of a column over its rows; as for ``summed``."""
    if size > SPARSE * len(key):
        order = np.argsort(key)  # equal keys are added up: their order does not matter
        ascending = key[order]
        first = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
        return ascending[first], lambda x: np.add.reduceat(x[order], first)
    there = np.zeros(size, np.bool_)
    there[key] = True
    found = np.flatnonzero(there)

    def total(x: Ints) -> Ints:
        table = np.zeros(size, np.int64)
        np.add.at(table, key, x)
        return table[found]

    return found, total


@dataclass(frozen=True)
class DailySums:
    """Integer sums by (group, event day, arrival, slot), in that order, each combination once.

    Days are counted from 1970-01-01.
    """

    slots: Ints
    """What each slot stands for, such as a bin's number; the last axis of every result."""
    group: Ints
    day: Ints
    arrival: Ints
    slot: Ints
    sums: Mapping[str, Ints]
    order: Ints
    """group * SPAN + day, ascending."""

    @staticmethod
    def build(
        group: Ints,
        day: Ints,
        arrival: Ints,
        slot: Ints,
        slots: Ints,
        rows: Ints,
        columns: Mapping[str, Ints],
    ) -> DailySums:
        """Sort rows and add up those that differ in nothing.

        Args:
            group, day, arrival, slot: of each row; ``slot`` is an index into ``slots``.
            rows: each row's place in the ``columns`` that are summed.
        """
        if len(group) == 0:
            none = np.zeros(0, np.int64)
            return DailySums(slots, none, none, none, none, dict.fromkeys(columns, none), none)
        low, early = int(day.min()), int(arrival.min())
        days, nights, width = int(day.max()) - low + 1, int(arrival.max()) - early + 1, len(slots)
        key = ((group * days + (day - low)) * nights + (arrival - early)) * width + slot
        found, sums = summed(key, (int(group.max()) + 1) * days * nights * width, columns, rows)
        rest, slot = np.divmod(found, width)
        rest, arrival = np.divmod(rest, nights)
        group, day = np.divmod(rest, days)
        day, arrival = day + low, arrival + early
        return DailySums(slots, group, day, arrival, slot, sums, group * SPAN + day)

    def rows_about(self, cells: Cells, night: int) -> Ints:
        """Places of the rows that may matter to windows, by group."""
        if not len(cells) or not len(self.day):
            return np.zeros(0, np.int64)
        present, place = np.unique(cells.group, return_inverse=True)
        low, high = np.full(len(present), SPAN), np.zeros(len(present), np.int64)
        np.minimum.at(low, place, cells.start)
        np.maximum.at(high, place, cells.end)
        first = np.searchsorted(self.order, present * SPAN + low)
        size = np.searchsorted(self.order, present * SPAN + high, side="right") - first
        offset = np.repeat(first - np.cumsum(size) + size, size)
        rows = offset + np.arange(len(offset))
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
        slot = self.slot[rows] if used is None else np.searchsorted(used, self.slot[rows])
        if len(rows):
            local = np.zeros(int(present[-1]) + 1, np.int64)
            local[present] = np.arange(len(present))
            day, low = self.day[rows], int(bounds[0])
            span = np.searchsorted(bounds, np.arange(low, int(bounds[-1]) + 1), side="right")
            target = (local[self.group[rows]] * (len(bounds) + 1) + span[day - low]) * width + slot
        else:
            target = rows
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
