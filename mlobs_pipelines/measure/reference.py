"""The reference's profiles as sums per segment, beside which every window is put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mlobs_pipelines.measure.groups import Groups, Ints, codes_of
from mlobs_pipelines.measure.history import QUALITY, column
from mlobs_pipelines.measure.layout import FeatureLayout
from mlobs_pipelines.measure.profiles import Profiles
from mlobs_pipelines.tasks import Task
from mlobs_pipelines.tasks.base import Metric, Seen, View

Sums = Mapping[str, Ints]


@dataclass(frozen=True)
class Reference:
    """Sums of the reference, shape (segments, slots), for the segments that are measured; zeros where it has none."""

    coarse: Sums
    fine: Sums
    moments: Sums
    quality: Sums
    seen: Mapping[str, Seen]
    task: Task
    bins: Mapping[str, Any] | None

    @staticmethod
    def build(
        profiles: Profiles,
        groups: Groups,
        task: Task,
        views: Mapping[str, View],
        features: Sequence[str],
        layout: FeatureLayout,
        bins: Mapping[str, Any] | None,
    ) -> Reference:
        """Sum the reference's profiles by segment."""

        def summed(
            frame: pl.DataFrame, slot: Ints, slots: int, names: Sequence[str], kept: npt.NDArray[np.bool_]
        ) -> dict[str, Ints]:
            row = codes_of(frame, "segment", groups.segments)
            mine = kept & (row >= 0)
            found = {}
            for name in names:
                total = np.zeros((len(groups.segments), slots), np.int64)
                np.add.at(total, (row[mine], slot[mine]), column(frame, name)[mine])
                found[name] = total
            return found

        f, q, o = profiles.reference_features, profiles.reference_quality, profiles.reference_outputs
        of_feature, numbers = codes_of(f, "feature", layout.names), column(f, "bin")
        overall = (f["segment"] == "").to_numpy() if f.height else np.zeros(0, np.bool_)
        coarse, fine = layout.coarse_slot(of_feature, numbers, overall), layout.fine_slot(of_feature, numbers)
        of_quality = codes_of(q, "feature", features)
        seen = {}
        for name, view in views.items():
            mine = o.filter(pl.col("output") == view.output) if o.height else o
            bin_ = column(mine, "bin")
            if view.slot is None:
                slots = np.unique(bin_)
                slot = np.searchsorted(slots, bin_)
            else:
                slots, slot = np.arange(view.slots), view.slot(bin_)
            seen[name] = Seen(summed(mine, slot, len(slots), view.sums, np.ones(len(bin_), np.bool_)), slots)
        return Reference(
            coarse=summed(f, coarse, max(layout.coarse_slots, 1), ("rows", "value"), coarse >= 0),
            fine=summed(f, fine, max(layout.fine_slots, 1), ("rows", "value"), overall & (fine >= 0)),
            moments=summed(
                f,
                np.maximum(of_feature, 0),
                max(len(layout.names), 1),
                ("rows", "value", "value_sq"),
                (of_feature >= 0) & (numbers >= 0),
            ),
            quality=summed(q, np.maximum(of_quality, 0), max(len(features), 1), QUALITY, of_quality >= 0),
            seen=seen,
            task=task,
            bins=bins,
        )

    @cached_property
    def metrics(self) -> dict[tuple[str, str, str], Metric]:
        """The task's metrics on the reference, one value per segment, by family, name and subject."""
        if not self.seen or self.bins is None:
            return {}
        return {(m.family, m.name, m.subject): m for m in self.task.metrics(self.seen, self.bins)}
