"""A night's metrics: every window that ends on it, and every earlier one about which something arrived."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from mlobs_pipelines.measure import fairness, intake, labels, performance
from mlobs_pipelines.measure.drift import add_feature_drift
from mlobs_pipelines.measure.groups import DEFAULT_ROLE, Ints
from mlobs_pipelines.measure.history import History
from mlobs_pipelines.measure.layout import FeatureLayout
from mlobs_pipelines.measure.profiles import Profiles
from mlobs_pipelines.measure.quality import add_quality
from mlobs_pipelines.measure.reference import Reference
from mlobs_pipelines.measure.rows import MetricRows
from mlobs_pipelines.measure.traffic import add_traffic
from mlobs_pipelines.measure.windows import (
    FAIR_LABELS,
    FAIR_ROWS,
    INTAKE,
    LABELS,
    ROWS,
    SHARE,
    Cells,
    crossed,
    members,
    merged,
    restated,
    trailing,
)
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.tables import day_number


def measure_night(
    profiles: Profiles,
    spec: ModelSpec,
    schema: Mapping[str, Any],
    bins: Mapping[str, Any] | None,
    night: dt.date,
    run_id: str,
) -> pl.DataFrame:
    """The rows that the night adds to the store's table ``metrics``, as known at its end.

    Args:
        profiles: the lake's profile tables; what arrived after the night is not looked at.
        schema: kinds of the features, ``{"features": {name: kind}}``.
        bins: the frozen bins; those that were frozen after the night are not looked at.
        night: arrival date in the model's timezone.
        run_id: written into every row.

    Returns:
        Rows with the columns of ``store.tables.METRICS``, in the order of its key.
    """
    ((_, frame),) = measure_nights(profiles, spec, schema, bins, [night], run_id)
    return frame


def measure_nights(
    profiles: Profiles,
    spec: ModelSpec,
    schema: Mapping[str, Any],
    bins: Mapping[str, Any] | None,
    nights: Sequence[dt.date],
    run_id: str,
) -> Iterator[tuple[dt.date, pl.DataFrame]]:
    """Each night's rows in turn, the same as measuring it alone; the profiles are encoded once for all.

    Args:
        nights: ascending; the others as for ``measure_night``.
    """
    if not nights:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        measurer = _Measurer(profiles, spec, schema, bins, nights)
    del profiles  # as tables they are no longer needed, and take more memory than all that follows
    for night in nights:
        with np.errstate(divide="ignore", invalid="ignore"):
            frame = measurer.night(night, run_id)
        yield night, frame


class _Measurer:
    """What several nights share: the profiles as daily sums, and the reference."""

    def __init__(
        self,
        profiles: Profiles,
        spec: ModelSpec,
        schema: Mapping[str, Any],
        bins: Mapping[str, Any] | None,
        nights: Sequence[dt.date],
    ) -> None:
        self.spec = spec
        self.kinds: dict[str, str] = dict(sorted(schema["features"].items()))
        self.bins = bins
        self.layout = FeatureLayout.of(bins)
        self.history = History.build(profiles, spec, {"features": self.kinds}, bins, self.layout, nights)
        self.groups = self.history.groups
        self.reference = Reference.build(
            profiles, self.groups, self.history.task, self.history.views, list(self.kinds), self.layout, bins
        )
        self.intake = intake.Intake.of(profiles.intake)
        self.lengths = spec.monitors.window_days
        self.labeled = spec.labels is not None
        in_attribute = members(self.groups, spec.fairness.attributes, spec.segments).values()
        self.attributes = np.any([np.zeros(len(self.groups.segments), np.bool_), *in_attribute], axis=0)

    def night(self, date: dt.date, run_id: str) -> pl.DataFrame:
        """The rows of one night."""
        night = day_number(date)
        frozen_on = (self.bins or {}).get("frozen_on")
        frozen = frozen_on is not None and dt.date.fromisoformat(frozen_on) <= date
        cells, present, pairs = self._cells(night)
        totals = self.history.traffic.over(cells, night)
        rows, failed = totals["rows"][:, 0], totals["failed"][:, 0]
        kept = (rows > 0) | ((cells.flags & ~SHARE & ~FAIR_ROWS & ~FAIR_LABELS) > 0)
        cells, rows, failed = cells[kept], rows[kept], failed[kept]
        groups = self.groups
        single = np.asarray(groups.single)[groups.role[cells.group]] >= 0
        aliased = single & (groups.version[cells.group] == 0) & (present[cells.group] | (cells.end < night))
        predicted = rows - failed
        counted = np.zeros(len(cells), np.int64)
        if "totals" in self.history.outputs:
            sums = self.history.outputs["totals"].over(cells, night, ["rows", "labeled"])
            predicted, counted = sums["rows"][:, 0], sums["labeled"][:, 0]
        out = MetricRows(
            groups=groups,
            cells=cells,
            night=night,
            maturity=self.spec.maturity_days,
            min_rows=self.spec.monitors.min_rows,
            rows_of=predicted,
            labeled_of=counted,
            aliased=aliased,
        )
        history, reference, layout, spec = self.history, self.reference, self.layout, self.spec
        add_traffic(out, history, spec, rows, failed, self._wholes(cells))
        stated = cells.having(ROWS)
        add_quality(out, history, layout, reference, spec, self.kinds, stated, frozen=frozen)
        self._add_intake(out, pairs)
        add_feature_drift(out, history, layout, reference, stated, self.kinds, frozen=frozen)
        measured = performance.measure(out, history, reference, labeled=self.labeled, frozen=frozen)
        if measured.metrics:
            performance.add_performance(out, history, reference, measured, labeled=self.labeled, frozen=frozen)
            fairness.add_fairness(out, history, reference, measured, spec, labeled=self.labeled, frozen=frozen)
        if self.labeled:
            labels.add_labels(out, history)
        reference_name = str(self.bins["reference"]) if frozen and self.bins else ""
        return out.frame(spec.model, reference_name, run_id)

    def _cells(self, night: int) -> tuple[Cells, np.typing.NDArray[np.bool_], dict[tuple[int, int], Cells]]:
        """Every window that is looked at; which groups occur in the longest; and the windows of intake by (version, role)."""
        groups, lengths = self.groups, self.lengths
        everyone = np.arange(len(groups))
        longest = trailing(everyone, lengths[-1:], night, ROWS)
        present = self.history.traffic.over(longest, night, ["rows"])["rows"][:, 0] > 0
        absent = self._absent_roles(present, night)
        tonight = trailing(np.concatenate([everyone[present], absent]), lengths, night, ROWS | LABELS)
        late = restated(*self.history.predictions.on(night), lengths, night, ROWS | LABELS)
        told = restated(*self.history.labels.on(night), lengths, night, LABELS)
        stated = merged([tonight, late, told, self._matured(night)])
        parts = [stated]
        whole = np.flatnonzero(groups.segment == 0)
        for g in whole:
            mine = stated[stated.group == g]
            if not len(mine):
                continue
            role, version = groups.role[g], groups.version[g]
            of_group = (groups.role == role) & (groups.version == version)
            attributes = everyone[of_group & self.attributes[groups.segment]]
            if len(attributes):
                parts.append(crossed(mine[mine.having(ROWS)], attributes, FAIR_ROWS | FAIR_LABELS))
                parts.append(crossed(mine[mine.having(LABELS)], attributes, FAIR_LABELS))
            if version == 0:
                parts.append(crossed(mine[mine.having(ROWS)], everyone[groups.role == role], SHARE))
        pairs = self._intake_windows(np.concatenate([everyone[present], absent]), night)
        parts += pairs.values()
        return merged(parts), present, pairs

    def _matured(self, night: int) -> Cells:
        """The windows whose labels are final from this night on: what rests on labels is stated as such, for every
        group, also where nothing arrived about them."""
        groups, end = np.arange(len(self.groups)), night - self.spec.maturity_days
        if not self.labeled or end == night:
            return trailing(groups[:0], self.lengths, night, LABELS)
        longest = trailing(groups, self.lengths[-1:], end, LABELS)
        there = self.history.traffic.over(longest, night, ["rows"])["rows"][:, 0] > 0
        return trailing(groups[there], self.lengths, end, LABELS)

    def _absent_roles(self, present: np.typing.NDArray[np.bool_], night: int) -> Ints:
        """Whole roles of which nothing is accepted but something was delivered in the longest window; if no role has
        anything at all, the default one: that nothing came is stated too."""
        groups = self.groups
        seen = set(groups.role[present].tolist())
        recent = (
            (self.intake.arrival <= night) & (self.intake.day <= night) & (self.intake.day > night - self.lengths[-1])
        )
        delivered = {self.intake.role[i] for i in np.flatnonzero(recent)}
        wanted = {i for i, r in enumerate(groups.roles) if r in delivered}
        if not seen and not wanted:
            wanted = {groups.roles.index(DEFAULT_ROLE)}
        return np.array([groups.number[0, r, 0] for r in sorted(wanted - seen)], dtype=np.int64)

    def _intake_windows(self, stated: Ints, night: int) -> dict[tuple[int, int], Cells]:
        """For each version and role the windows whose intake is stated, under the group that has their rows."""
        groups, found = self.groups, {}
        for g in stated[groups.segment[stated] == 0]:
            role = int(groups.role[g])
            versions = [int(groups.version[g])]
            only = groups.single[role]
            if only >= 0 and self._has_rows(int(g), night):
                versions.append(only)
            for version in versions:
                mine = self.intake.concerning(groups.versions[version], groups.roles[role])
                _, days = self.intake.facts(mine).on(night)
                ended = restated(np.full(len(days), g), days, self.lengths, night, INTAKE)
                found[version, role] = merged([trailing(np.array([g]), self.lengths, night, INTAKE), ended])
        return found

    def _has_rows(self, group: int, night: int) -> bool:
        cell = trailing(np.array([group]), self.lengths[-1:], night, ROWS)
        return bool(self.history.traffic.over(cell, night, ["rows"])["rows"].sum() > 0)

    def _wholes(self, cells: Cells) -> Ints:
        """For each window that of the group it is a share of: a segment of its version, a version of all; or -1."""
        groups = self.groups
        version, role, segment = (x[cells.group] for x in (groups.version, groups.role, groups.segment))
        whole = np.where(segment != 0, groups.number[version, role, 0], groups.number[0, role, 0])
        place = cells.place(Cells(whole, cells.start, cells.end, cells.flags))
        return np.where((segment == 0) & (version == 0), -1, place)

    def _add_intake(self, out: MetricRows, pairs: Mapping[tuple[int, int], Cells]) -> None:
        for (version, role), windows in pairs.items():
            at = out.cells.place(windows)
            names = self.groups.versions[version], self.groups.roles[role]
            mine = self.intake.concerning(*names)
            of_predictions = mine & ~self.intake.labels
            counts, newest = self.intake.over(of_predictions, windows, out.night)
            need = counts["delivered"]
            for metric, e in intake.rates(counts).items():
                out.add(at, "quality", metric, "", e, need=need, rows=need, version=version)
            fresh = intake.freshness(newest, windows.end, self.spec.timezone)
            out.add(at, "quality", "freshness_hours", "", fresh, need=None, version=version)
            if version == 0 and self.labeled:
                counts, _ = self.intake.over(mine & self.intake.labels, windows, out.night)
                for metric, e in intake.rates(counts).items():
                    need = counts["delivered"]
                    out.add(at, "quality", metric, "label", e, need=need, rows=need, version=version)
