"""Facts, batch by batch -> sums per cell and bin, in arrays; rows of a profile only at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.profile.bins import INVALID, MISSING, UNSEEN
from mlobs_pipelines.profile.cells import Cell, Coded, Grouping, by_cut, compact, groupings
from mlobs_pipelines.profile.kernels import Floats, Ints, Places, sums_by_cell

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
    coarse: Places | None = None
    coarse_numbers: Ints | None = None

    @staticmethod
    def of_feature(table: str, name: str, own: int, sums: Sequence[str], coarse: Places | None = None) -> Item:
        """A feature of so many bins of its own; ``coarse`` for those."""
        numbers = np.array([*range(own), *SPECIAL])
        if coarse is None:
            return Item(table, name, numbers, tuple(sums))
        most = int(coarse.max()) + 1
        all_coarse = np.concatenate([coarse, most + np.arange(len(SPECIAL))]).astype(np.intp)
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


@dataclass(frozen=True)
class Weights:
    """Whole numbers of rows, and the largest of them in absolute value; None stands for one a row."""

    values: Floats | None
    largest: float = 1.0

    @staticmethod
    def of(values: npt.NDArray[Any]) -> Weights:
        numbers = values.astype(np.float64, copy=False)
        return Weights(numbers, float(np.abs(numbers).max(initial=0.0)))

    def __getitem__(self, rows: npt.NDArray[Any]) -> Weights:
        return self if self.values is None else Weights(self.values[rows], self.largest)

    def by_cell(self, cell: Places, cells: int) -> Ints:
        if self.values is None:
            return np.bincount(cell, minlength=cells).astype(np.int64, copy=False)
        return sums_by_cell(cell, cells, self.values, self.largest)


ONE = Weights(None)


@dataclass(frozen=True)
class Placed:
    """Some rows' cells, grouping by grouping: what ``Counter.place`` found; ``dense`` says how they are to be counted."""

    dense: bool
    groups: tuple[tuple[Grouping, list[Cell], Places], ...]

    def __getitem__(self, rows: npt.NDArray[Any]) -> Placed:
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

    def add(self, item: Item, bins: npt.NDArray[Any], placed: Placed, weights: Mapping[str, Weights]) -> None:
        """Add rows to an item: each row's bin (its place in ``item.numbers``), cell, and weights by the name of the sum."""
        for i, (grouping, cells, place) in enumerate(placed.groups):
            numbers, of = item.numbers, bins
            if item.coarse is not None and item.coarse_numbers is not None and () not in grouping.cuts:
                numbers, of = item.coarse_numbers, item.coarse[bins]
            code = place * len(numbers)
            code += of
            if placed.dense:
                self._add_dense(item, i, grouping, len(numbers), code, weights)
                continue
            distinct, where = compact(code)
            sums = np.zeros((len(item.sums), len(distinct)), np.int64)
            for name, weight in weights.items():
                sums[item.sums.index(name)] = weight.by_cell(where, len(distinct))
            self.found.append(
                Rows(item, grouping.cuts[0], cells, distinct // len(numbers), numbers[distinct % len(numbers)], sums)
            )

    def _add_dense(
        self, item: Item, i: int, grouping: Grouping, width: int, code: Places, weights: Mapping[str, Weights]
    ) -> None:
        cells = len(grouping.cells)
        total = self._sums.get((i, item.table, item.name))
        if total is None or total.shape[1] < cells:
            grown = np.zeros((len(item.sums), max(8, 1 << (cells - 1).bit_length()), width), np.int64)
            if total is not None:
                grown[:, : total.shape[1]] = total
            self._sums[i, item.table, item.name] = total = grown
        for name, weight in weights.items():
            flat = total[item.sums.index(name)].reshape(-1)[: cells * width]
            flat += weight.by_cell(code, cells * width)

    def _put_aside(self) -> None:
        """Turn the arrays into rows, cut by cut, and forget them."""
        for i, grouping in enumerate(self._groups):
            for cut in grouping.cuts:
                cells = list(grouping.cells)
                own = grouping.of_cut(cut, cells)
                distinct = list(dict.fromkeys(own))
                number = {cell: k for k, cell in enumerate(distinct)}
                place = np.array([number[cell] for cell in own], dtype=np.intp)
                for item in self.items:
                    total = self._sums.get((i, item.table, item.name))
                    if total is not None:
                        self._emit(item, cut, distinct, place, total[:, : len(cells)], fine=() in grouping.cuts)
        self._begin()

    def _emit(
        self, item: Item, cut: tuple[str, ...], cells: list[Cell], place: Places, total: Ints, *, fine: bool
    ) -> None:
        if cut and fine and item.coarse is not None:
            first = np.searchsorted(item.coarse, np.arange(int(item.coarse[-1]) + 1))
            total = np.add.reduceat(total, first, axis=2)
        sums = np.zeros((total.shape[0], len(cells), total.shape[2]), np.int64)
        np.add.at(sums.swapaxes(0, 1), place, total.swapaxes(0, 1))
        at, number = np.nonzero(sums.any(axis=0))
        if len(at):
            self.found.append(Rows(item, cut, cells, at, item.bins(cut)[number], sums[:, at, number]))

    def rows(self) -> Iterator[Rows]:
        """All that was counted; the same cell and bin may come several times. Counting may go on after."""
        self._put_aside()
        yield from self.found
        self.found = []
