"""Facts, batch by batch -> sums per cell and bin, in arrays; rows of a profile only at the end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlobs_pipelines.profile.bins import INVALID, MISSING, UNSEEN
from mlobs_pipelines.profile.cells import Cell, Coded, Grouping, by_cut, compact, groupings
from mlobs_pipelines.profile.kernels import Bins, Ints, Places, folded, occurring
from mlobs_pipelines.store.tables import day_number

MOST_BYTES = 256 * 2**20
"""Of a counter's arrays; beyond, what was counted is put aside as rows and counting begins anew."""
SPECIAL = (MISSING, INVALID, UNSEEN)
"""Bins that every feature has after its own, in this order."""


@dataclass(frozen=True)
class Item:
    """What is counted by bin: a feature or an output of one of the profile tables. ``numbers`` are the bins' numbers there.

    ``coarse`` gives the place of each bin's coarse bin, for segments, and ``coarse_numbers`` those bins' numbers.
    """

    table: str
    name: str
    numbers: Ints
    sums: tuple[str, ...]
    coarse: Bins | None = None
    coarse_numbers: Ints | None = None

    @staticmethod
    def of_feature(table: str, name: str, own: int, sums: Sequence[str], coarse: Bins | None = None) -> Item:
        """A feature of so many bins of its own; ``coarse`` for those."""
        numbers = np.array([*range(own), *SPECIAL])
        if coarse is None:
            return Item(table, name, numbers, tuple(sums))
        most = int(coarse.max()) + 1
        all_coarse = np.concatenate([coarse, most + np.arange(len(SPECIAL))]).astype(np.int32)
        return Item(table, name, numbers, tuple(sums), all_coarse, np.array([*range(most), *SPECIAL]))

    def bins(self, cut: Sequence[str]) -> Ints:
        """Numbers of the bins in which a cut is counted."""
        return self.numbers if not cut or self.coarse_numbers is None else self.coarse_numbers


@dataclass(frozen=True)
class Rows:
    """Rows of a profile: sums, shape (sums, rows), of one item and cut; a cell and a bin's number each."""

    item: Item
    cut: tuple[str, ...]
    cells: list[Cell]
    place: Places
    bins: Ints
    sums: Ints


def by_arrival(found: Sequence[Rows]) -> Callable[[dt.date], list[Rows]]:
    """What gives of the rows those of one night."""
    arrival: dict[int, Ints] = {}  # by cells: items that were counted together share theirs
    for rows in found:
        if id(rows.cells) not in arrival:
            arrival[id(rows.cells)] = np.array([cell[0] for cell in rows.cells], np.int64)

    def on(night: dt.date) -> list[Rows]:
        day, some = day_number(night), []
        for rows in found:
            mine = arrival[id(rows.cells)] == day
            if mine.all():
                some.append(rows)
            elif mine.any():
                at = np.flatnonzero(mine[rows.place])
                some.append(Rows(rows.item, rows.cut, rows.cells, rows.place[at], rows.bins[at], rows.sums[:, at]))
        return some

    return on


Add = Callable[[Ints, Places, Bins], None]
"""Adds rows to sums, shape (cells, bins, sums), at each row's cell and bin: ``add_rows`` or another, with their weights."""


@dataclass(frozen=True)
class Placed:
    """Some rows' cells, grouping by grouping: what ``Counter.place`` found; ``dense`` says how they are to be counted."""

    dense: bool
    groups: tuple[tuple[Grouping, list[Cell], Places], ...]

    def __getitem__(self, rows: Places) -> Placed:
        return Placed(self.dense, tuple((g, cells, place[rows]) for g, cells, place in self.groups))


@dataclass
class Counter:
    """Sums of one worker. Where the same cells come again and again they are added up in arrays, else put aside as rows."""

    cuts: Sequence[Sequence[str]]
    values: Mapping[str, Sequence[str]]
    items: Sequence[Item]
    found: list[Rows] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._width = sum(len(item.numbers) * len(item.sums) for item in self.items)
        self._bins = sum(len(item.numbers) for item in self.items) / max(len(self.items), 1)
        self._begin()

    def _begin(self) -> None:
        self._groups = groupings(self.cuts, self.values)
        self._sums: dict[tuple[int, str, str], Ints] = {}

    def place(self, keys: Sequence[Coded], fields: Mapping[str, Coded]) -> Placed:
        """The cells of some rows, from their keys (arrival, event, version, role) and segment fields."""
        rows = len(keys[0].codes)
        placed = [(g, *g.combined(keys, fields)) for g in self._groups]
        if all(len(cells) * self._bins <= 4 * rows for _, cells, _ in placed):
            if self._bytes(placed) > MOST_BYTES:
                self._put_aside()
                placed = [(g, cells, place) for g, (_, cells, place) in zip(self._groups, placed, strict=True)]
            if self._bytes(placed) <= MOST_BYTES:
                numbered = ((g, cells, g.numbers(cells)[place]) for g, cells, place in placed)
                return Placed(True, tuple(numbered))
        return Placed(False, tuple((g, *g.combined(keys, fields)) for g in by_cut(self.cuts)))

    def _bytes(self, placed: Sequence[tuple[Grouping, list[Cell], Places]]) -> int:
        return sum((len(g.cells) + g.unknown(cells)) * self._width * 8 for g, cells, _ in placed)

    def add(self, item: Item, bins: Bins, placed: Placed, add: Add) -> None:
        """Add rows to an item: each row's bin (its place in ``item.numbers``), shape (rows,), its cell, and what ``add`` adds."""
        for i, (grouping, cells, place) in enumerate(placed.groups):
            numbers, of = item.numbers, bins
            if item.coarse is not None and item.coarse_numbers is not None and () not in grouping.cuts:
                numbers, of = item.coarse_numbers, item.coarse[bins]
            if placed.dense:
                add(self._total(item, i, len(grouping.cells), len(numbers)), place, of)
                continue
            code = place * len(numbers)
            code += of
            distinct, where = compact(code)
            sums = np.zeros((len(distinct), 1, len(item.sums)), np.int64)
            add(sums, where, np.zeros(len(where), np.int32))
            self.found.append(
                Rows(
                    item,
                    grouping.cuts[0],
                    cells,
                    distinct // len(numbers),
                    numbers[distinct % len(numbers)],
                    sums[:, 0].T,
                )
            )

    def _total(self, item: Item, i: int, cells: int, width: int) -> Ints:
        """An item's sums in one of the groupings, shape (at least ``cells``, width, sums)."""
        total = self._sums.get((i, item.table, item.name))
        if total is None or len(total) < cells:
            grown = np.zeros((max(8, 1 << (cells - 1).bit_length()), width, len(item.sums)), np.int64)
            if total is not None:
                grown[: len(total)] = total
            self._sums[i, item.table, item.name] = total = grown
        return total

    def _put_aside(self) -> None:
        """Turn the arrays into rows, cut by cut, and forget them."""
        for i, grouping in enumerate(self._groups):
            cells = list(grouping.cells)
            cuts = [(cut, *grouping.of_cut(cut, cells)) for cut in grouping.cuts]
            for item in self.items:
                total = self._sums.get((i, item.table, item.name))
                if total is None:
                    continue
                for cut, distinct, place in cuts:
                    numbers = item.bins(cut)
                    of = np.arange(len(numbers), dtype=np.int32)
                    if len(numbers) < total.shape[1] and item.coarse is not None:
                        of = item.coarse
                    at, number, sums = occurring(folded(total, place, of, len(distinct), len(numbers)))
                    if len(at):
                        self.found.append(Rows(item, cut, distinct, at, numbers[number], sums))
        self._begin()

    def rows(self) -> list[Rows]:
        """All that was counted; the same cell and bin may come several times. Counting may go on after."""
        self._put_aside()
        found, self.found = self.found, []
        return found
