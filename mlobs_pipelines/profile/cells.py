"""Which cell each row belongs to: its nights, version and role, and the segment fields that a profile is cut by."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.profile.kernels import Ints, Places

MOST_JOINT = 64
"""Combinations of all segment fields' values up to which every row is counted once, and the cuts are sums of that."""
OTHERS = ("(missing)", "(other)")
SPARSE_RANGE = 1 << 21

Cell = tuple[int, ...]
"""Arrival and event day since 1970-01-01, numbers of version and role, and of the value of each field of a grouping."""


@dataclass
class Names:
    """Numbers of names, in the order in which they came; for several threads."""

    known: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, names: Iterable[str]) -> Ints:
        with self._lock:
            return np.array([self.known.setdefault(name, len(self.known)) for name in names], dtype=np.int64)

    @property
    def listed(self) -> list[str]:
        return list(self.known)


@dataclass(frozen=True)
class Coded:
    """A column as numbers: ``codes`` below ``size``, and what each number stands for."""

    codes: npt.NDArray[np.integer]
    meaning: Ints

    def __getitem__(self, rows: Places) -> Coded:
        return Coded(self.codes[rows], self.meaning)

    @staticmethod
    def of(values: npt.NDArray[np.integer]) -> Coded:
        """Whole numbers as codes, each standing for itself."""
        meaning, codes = compact(values.astype(np.int64))
        return Coded(codes, meaning)

    @staticmethod
    def constant(value: int, rows: int) -> Coded:
        return Coded(np.zeros(rows, np.int8), np.array([value]))


def compact(values: Ints) -> tuple[Ints, Places]:
    """The distinct values, ascending, and the place of each value among them; no sorting where the range is small."""
    if not len(values):
        return values, values.astype(np.intp)
    low, high = int(values.min()), int(values.max())
    if high - low >= max(SPARSE_RANGE, 4 * len(values)):
        distinct, inverse = np.unique(values, return_inverse=True)
        return distinct, inverse
    if low == high:
        return values[:1], np.zeros(len(values), np.intp)
    shifted = values - low
    present = np.flatnonzero(np.bincount(shifted))
    place = np.zeros(high - low + 1, np.intp)
    place[present] = np.arange(len(present))
    return present + low, place[shifted]


@dataclass
class Grouping:
    """Cells by key and some segment fields, and which cuts their sums serve (each a tuple of fields; () is all rows)."""

    fields: tuple[str, ...]
    cuts: tuple[tuple[str, ...], ...]
    cells: dict[Cell, int] = field(default_factory=dict)

    def combined(self, keys: Sequence[Coded], fields: Mapping[str, Coded]) -> tuple[list[Cell], Places]:
        """The distinct cells of some rows, and each row's place among them."""
        columns = [*keys, *(fields[name] for name in self.fields)]
        code = np.zeros(len(columns[0].codes), np.int64)
        for column in columns:
            if len(column.meaning) > 1:
                code *= len(column.meaning)
                code += column.codes
        found, place = compact(code)
        parts = []
        for column in reversed(columns):
            parts.append(column.meaning[found % len(column.meaning)])
            found = found // len(column.meaning)
        return list(zip(*(part.tolist() for part in reversed(parts)), strict=True)), place

    def numbers(self, cells: Sequence[Cell]) -> Places:
        """The numbers of cells, which the unknown ones are given now."""
        return np.array([self.cells.setdefault(cell, len(self.cells)) for cell in cells], dtype=np.intp)

    def unknown(self, cells: Iterable[Cell]) -> int:
        """How many of the cells have no number yet."""
        return sum(cell not in self.cells for cell in cells)

    def of_cut(self, cut: tuple[str, ...], cells: Sequence[Cell]) -> tuple[list[Cell], Places]:
        """The cells of one of the cuts it serves, without the fields that are not the cut's, and each cell's place among them."""
        kept = [4 + self.fields.index(name) for name in cut]
        number: dict[Cell, int] = {}
        place = [number.setdefault((*cell[:4], *(cell[i] for i in kept)), len(number)) for cell in cells]
        return list(number), np.array(place, dtype=np.intp)


def groupings(cuts: Sequence[Sequence[str]], values: Mapping[str, Sequence[str]]) -> list[Grouping]:
    """How rows are grouped so that every cut is served: together where the fields' values are few, else one by one."""
    wanted = [(), *dict.fromkeys(tuple(cut) for cut in cuts)]
    fields = tuple(dict.fromkeys(name for cut in wanted for name in cut))
    if np.prod([len(values[name]) for name in fields], dtype=np.float64) <= MOST_JOINT:
        return [Grouping(fields, tuple(wanted))]
    return by_cut(cuts)


def by_cut(cuts: Sequence[Sequence[str]]) -> list[Grouping]:
    """A grouping for each cut."""
    return [Grouping(cut, (cut,)) for cut in [(), *dict.fromkeys(tuple(cut) for cut in cuts)]]


def segment(cut: Sequence[str], values: Sequence[str]) -> str:
    """The name of a segment."""
    return " & ".join(f"{name}={value}" for name, value in zip(cut, values, strict=True))
