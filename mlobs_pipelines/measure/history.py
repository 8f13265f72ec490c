"""The profiles as daily sums: everything that a night's numbers are sums of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mlobs_pipelines.measure.daily import DailySums
from mlobs_pipelines.measure.groups import Groups, Ints
from mlobs_pipelines.measure.layout import FeatureLayout
from mlobs_pipelines.measure.profiles import Profiles
from mlobs_pipelines.measure.rows import day_number
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.tasks import Task, task_of
from mlobs_pipelines.tasks.base import ABSENT, Seen, View

QUALITY = ("rows", "missing", "invalid", "out_of_range")


def column(frame: pl.DataFrame, name: str) -> Ints:
    """A whole-number column; zeros where the table has no such column."""
    if name not in frame.columns:
        return np.zeros(frame.height, np.int64)
    found: Ints = frame[name].fill_null(0).to_numpy().astype(np.int64)
    return found


def days(frame: pl.DataFrame, name: str) -> Ints:
    """A date column as days since 1970-01-01."""
    found: Ints = frame[name].to_physical().to_numpy().astype(np.int64)
    return found


def events(frame: pl.DataFrame) -> pl.DataFrame:
    """A profile's rows; one without columns becomes one without rows."""
    keys = ("arrival_date", "event_date", "version", "role", "segment")
    if frame.width == 0:
        return pl.DataFrame(schema={k: pl.Date if k.endswith("date") else pl.String for k in keys})
    return frame


def intake_roles(intake: pl.DataFrame) -> list[str]:
    """Roles under which anything was delivered, accepted or not."""
    return [r for r in intake["role"].unique().to_list() if r] if intake.height else []


@dataclass(frozen=True)
class Facts:
    """On which night something arrived, about which group and day."""

    arrival: Ints
    group: Ints
    day: Ints

    @staticmethod
    def of(arrival: Ints, group: Ints, day: Ints) -> Facts:
        """Each (arrival, group, day) once, by arrival."""
        if len(arrival) == 0:
            return Facts(arrival, group, day)
        found = np.unique(np.stack([arrival, group, day], axis=1), axis=0)
        return Facts(found[:, 0], found[:, 1], found[:, 2])

    def on(self, night: int) -> tuple[Ints, Ints]:
        """Groups and days about which something arrived on the night."""
        low, high = np.searchsorted(self.arrival, [night, night + 1])
        return self.group[low:high], self.day[low:high]


@dataclass(frozen=True)
class History:
    """All daily sums of a model, built once for the nights that are measured together."""

    groups: Groups
    task: Task
    traffic: DailySums
    latency: DailySums
    quality: DailySums
    coarse: DailySums
    fine: DailySums
    moments: DailySums
    views: Mapping[str, View]
    outputs: Mapping[str, DailySums]
    delays: DailySums
    predictions: Facts
    labels: Facts

    @staticmethod
    def build(
        profiles: Profiles,
        spec: ModelSpec,
        schema: Mapping[str, Any],
        bins: Mapping[str, Any] | None,
        layout: FeatureLayout,
        nights: Sequence[dt.date],
    ) -> History:
        """Encode the profiles, leaving out what no window of the nights can hold."""
        first, last = day_number(nights[0]), day_number(nights[-1])
        kept = _needed(profiles, nights[0], nights[-1], max(spec.monitors.window_days))
        features, outputs, quality, traffic = kept
        groups = Groups.of([features, outputs, quality, traffic], intake_roles(profiles.intake))
        task = task_of(spec)
        names = list(schema["features"])

        def place(frame: pl.DataFrame, known: Sequence[str]) -> Ints:
            if frame.height == 0 or not known:
                return np.zeros(frame.height, np.int64)
            codes = frame["feature"].replace_strict(
                list(known), list(range(len(known))), default=-1, return_dtype=pl.Int64
            )
            found: Ints = codes.to_numpy().astype(np.int64)
            return found

        def sums(
            frame: pl.DataFrame,
            slot: Ints,
            slots: Ints,
            wanted: Sequence[str],
            kept: npt.NDArray[np.bool_] | None = None,
            *,
            collapse: bool = True,
        ) -> DailySums:
            rows, group = groups.rows_of(frame)
            if kept is not None:
                mine = kept[rows]
                rows, group = rows[mine], group[mine]
            arrival = days(frame, "arrival_date")[rows]
            if collapse:  # what arrived before the first night is known to all of them alike
                arrival = np.maximum(arrival, first)
            return DailySums.build(
                groups,
                group,
                days(frame, "event_date")[rows],
                arrival,
                slot[rows],
                slots,
                {name: column(frame, name)[rows] for name in wanted},
            )

        one = np.zeros(1, np.int64)
        latency_bins = column(traffic, "latency_bin")
        logged = latency_bins > ABSENT
        latencies = np.unique(latency_bins[logged])
        of_quality = place(quality, names)
        of_feature = place(features, layout.names)
        feature_bins = column(features, "bin")
        overall = (features["segment"] == "").to_numpy() if features.height else np.zeros(0, np.bool_)
        coarse = layout.coarse_slot(of_feature, feature_bins, overall)
        fine = layout.fine_slot(of_feature, feature_bins)
        present = (of_feature >= 0) & (feature_bins >= 0)
        views = task.views(bins) if bins is not None and bins.get("outputs") else {}
        output_sums, delays = {}, DailySums.build(groups, *(np.zeros(0, np.int64),) * 4, one, {"labeled": one[:0]})
        for name, view in views.items():
            mine = outputs.filter(pl.col("output") == view.output) if outputs.height else outputs
            numbers = column(mine, "bin")
            if view.slot is None:
                slots = np.unique(numbers)
                slot = np.searchsorted(slots, numbers)
            else:
                slots, slot = np.arange(view.slots), view.slot(numbers)
            output_sums[name] = sums(mine, slot, slots, view.sums)
            if name == "totals":
                delay = days(mine, "arrival_date") - days(mine, "event_date") if mine.height else one[:0]
                slots = np.unique(delay)
                labeled = column(mine, "labeled") != 0
                delays = sums(mine, np.searchsorted(slots, delay), slots, ["labeled"], labeled, collapse=False)
        rows, group = groups.rows_of(traffic)
        predictions = Facts.of(*_recent(traffic, rows, group, first, last))
        about_labels = outputs.filter(_label_rows(outputs)) if outputs.height else outputs
        rows, group = groups.rows_of(about_labels)
        labels = Facts.of(*_recent(about_labels, rows, group, first, last))
        return History(
            groups=groups,
            task=task,
            traffic=sums(traffic, np.zeros(traffic.height, np.int64), one, ("rows", "failed")),
            latency=sums(traffic, np.searchsorted(latencies, latency_bins), latencies, ("rows",), logged),
            quality=sums(quality, np.maximum(of_quality, 0), np.arange(max(len(names), 1)), QUALITY, of_quality >= 0),
            coarse=sums(features, coarse, np.arange(max(layout.coarse_slots, 1)), ("rows", "value"), coarse >= 0),
            fine=sums(features, fine, np.arange(max(layout.fine_slots, 1)), ("rows", "value"), overall & (fine >= 0)),
            moments=sums(
                features,
                np.maximum(of_feature, 0),
                np.arange(max(len(layout.names), 1)),
                ("rows", "value", "value_sq"),
                present,
            ),
            views=views,
            outputs=output_sums,
            delays=delays,
            predictions=predictions,
            labels=labels,
        )


def _needed(
    profiles: Profiles, first: dt.date, last: dt.date, longest: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Features, outputs, quality and traffic, without what arrived later or is about days of no window."""
    traffic, outputs = events(profiles.traffic), events(profiles.outputs)
    tonight = pl.col("arrival_date").is_between(first, last)
    about = [f.filter(tonight)["event_date"].min() for f in (traffic, outputs)]
    predicted = min([first, *(d for d in about[:1] if isinstance(d, dt.date))]) - dt.timedelta(days=longest)
    earliest = min([predicted, *(d - dt.timedelta(days=longest) for d in about[1:] if isinstance(d, dt.date))])
    known = (pl.col("arrival_date") <= last) & (pl.col("event_date") <= last)
    return (
        events(profiles.features).filter(known & (pl.col("event_date") >= predicted)),
        outputs.filter(known & (pl.col("event_date") >= earliest)),
        events(profiles.quality).filter(known & (pl.col("event_date") >= predicted)),
        traffic.filter(known & (pl.col("event_date") >= earliest)),
    )


def _recent(frame: pl.DataFrame, rows: Ints, group: Ints, first: int, last: int) -> tuple[Ints, Ints, Ints]:
    arrival = days(frame, "arrival_date")[rows]
    mine = (arrival >= first) & (arrival <= last)
    return arrival[mine], group[mine], days(frame, "event_date")[rows][mine]


def _label_rows(outputs: pl.DataFrame) -> pl.Expr:
    """Rows that hold label facts: those without predictions, and those where a sum of labels is not zero."""
    keys = {"arrival_date", "event_date", "version", "role", "segment", "output", "bin", "rows"}
    of_labels = [c for c in outputs.columns if c not in keys | {"selected", "score", "value"}]
    return pl.any_horizontal(pl.col("rows") == 0, *(pl.col(c) != 0 for c in of_labels))


def seen_of(outputs: Mapping[str, DailySums], found: Mapping[str, dict[str, Ints]]) -> dict[str, Seen]:
    """Views over windows as the task's metrics read them."""
    return {name: Seen(sums, outputs[name].slots) for name, sums in found.items()}
