"""Where each feature's bins stand in one long row of slots, so that all features are measured at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlobs_pipelines.measure.groups import Ints
from mlobs_pipelines.statistics.intervals import Floats
from mlobs_pipelines.tasks.base import bins_from

MISSING, INVALID, UNSEEN = -1, -2, -3
SPECIAL = 3
"""Slots kept at the end of each feature's: unseen, invalid, missing."""


@dataclass(frozen=True)
class Stack:
    """Features whose coarse bins fit the same number of slots: ``slots[first : first + len(features) * width]``."""

    features: Ints
    width: int
    first: int


@dataclass(frozen=True)
class FeatureLayout:
    """Slots of every feature.

    A feature has ``width`` coarse slots, a power of two: its bins from 0, the open upper tail of a number just before
    the special bins, and empty ones between. Numbers also have ``fine_width`` fine slots each: all bins, the tail last.
    """

    names: tuple[str, ...]
    numeric: Ints
    """Features that are numbers (or norms of embeddings)."""
    categorical: Ints
    stacks: tuple[Stack, ...]
    coarse_slots: int
    fine_width: int
    center: Floats
    unit: Floats
    coarse_edges: dict[int, Floats]
    fine_edges: Floats
    """Standardised edges of the numbers' fine bins, shape (numbers, fine_width - 1), the last one repeated."""
    _lookup: Ints
    """Coarse slot of (feature, overall, bin + SPECIAL), or -1."""
    _tails: Ints
    _place: Ints

    @property
    def fine_slots(self) -> int:
        return len(self.numeric) * self.fine_width

    @staticmethod
    def of(bins: Mapping[str, Any] | None) -> FeatureLayout:
        """The layout of frozen bins; empty before features are frozen."""
        frozen = dict(sorted((bins or {}).get("features", {}).items()))
        names = tuple(frozen)
        numbers = [i for i, n in enumerate(names) if frozen[n]["kind"] != "categorical"]
        sizes = [
            len(f["coarse"]) + 1 if f["kind"] != "categorical" else len(f["vocabulary"]) + 1 for f in frozen.values()
        ]
        widths = [1 << (size + SPECIAL - 1).bit_length() for size in sizes]
        widths = [max(w, 8) for w in widths]
        stacks, first, starts = [], 0, np.zeros(len(names), np.int64)
        for width in sorted(set(widths)):
            mine = np.flatnonzero(np.asarray(widths) == width)
            stacks.append(Stack(mine, width, first))
            starts[mine] = first + width * np.arange(len(mine))
            first += width * len(mine)
        most = max([len(frozen[names[i]]["edges"]) for i in numbers], default=0)
        center = np.array([frozen[n].get("center", 0.0) for n in names], dtype=np.float64)
        unit = np.array([frozen[n].get("unit", 1.0) for n in names], dtype=np.float64)
        deepest = max([most, *(len(f.get("vocabulary", [])) for f in frozen.values())], default=0) + 1
        lookup = np.full((len(names), 2, deepest + SPECIAL), -1, dtype=np.int64)
        tails = np.zeros(len(names), np.int64)
        coarse_edges: dict[int, Floats] = {}
        fine_edges = np.zeros((len(numbers), most), np.float64)
        for i, name in enumerate(names):
            f, width, start = frozen[name], widths[i], starts[i]
            lookup[i, :, :SPECIAL] = start + width - SPECIAL + np.arange(SPECIAL)  # unseen, invalid, missing
            if i in numbers:
                tail = len(f["coarse"])
                of_fine, of_coarse = bins_from(f["edges"], f["coarse"]), np.arange(tail + 1)
                for overall, of in ((1, of_fine), (0, of_coarse)):
                    slot = np.where(of == tail, width - SPECIAL - 1, of)
                    lookup[i, overall, SPECIAL : SPECIAL + len(of)] = start + slot
                tails[i] = len(f["edges"])
                coarse_edges[i] = _padded(
                    (np.asarray(f["coarse"], np.float64) - center[i]) / unit[i], width - SPECIAL - 1
                )
                fine_edges[numbers.index(i)] = _padded((np.asarray(f["edges"], np.float64) - center[i]) / unit[i], most)
            else:
                bins_of = np.arange(len(f["vocabulary"]) + 1)
                lookup[i, :, SPECIAL : SPECIAL + len(bins_of)] = start + bins_of
        place = np.full(len(names), -1, np.int64)
        place[numbers] = np.arange(len(numbers))
        return FeatureLayout(
            names,
            np.array(numbers, np.int64),
            np.array([i for i in range(len(names)) if i not in numbers], np.int64),
            tuple(stacks),
            first,
            most + 1,
            center,
            unit,
            coarse_edges,
            fine_edges,
            lookup,
            tails,
            place,
        )

    def coarse_slot(self, feature: Ints, number: Ints, overall: np.typing.NDArray[np.bool_]) -> Ints:
        """Coarse slots of bins (fine ones where ``overall``); -1 for a feature or bin that is not frozen."""
        if not self.names:
            return np.full(len(feature), -1, np.int64)
        inside = (number >= -SPECIAL) & (number + SPECIAL < self._lookup.shape[2]) & (feature >= 0)
        slot = self._lookup[np.maximum(feature, 0), overall.astype(np.int64), np.where(inside, number + SPECIAL, 0)]
        return np.where(inside, slot, -1)

    def fine_slot(self, feature: Ints, number: Ints) -> Ints:
        """Fine slots of bins; -1 for special bins and for what is no number."""
        if not len(self.numeric):
            return np.full(len(feature), -1, np.int64)
        known = np.maximum(feature, 0)
        place, tail = self._place[known], self._tails[known]
        slot = place * self.fine_width + np.where(number >= tail, self.fine_width - 1, number)
        return np.where((feature >= 0) & (place >= 0) & (number >= 0), slot, -1)


def _padded(edges: Floats, size: int) -> Floats:
    """Edges with the last one repeated."""
    return np.concatenate([edges, np.full(size - len(edges), edges[-1] if len(edges) else 0.0)])
