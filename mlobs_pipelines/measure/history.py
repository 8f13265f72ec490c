"""The profiles as daily sums: everything that a night's numbers are sums of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mlobs_pipelines.measure.daily import DailySums, summed
from mlobs_pipelines.measure.groups import Groups, Ints, codes_of
from mlobs_pipelines.measure.known import without
from mlobs_pipelines.measure.layout import FeatureLayout
from mlobs_pipelines.measure.profiles import Profiles
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.tables import day_number
from mlobs_pipelines.tasks import Task, task_of
from mlobs_pipelines.tasks.base import ABSENT, Seen, View

QUALITY = ("rows", "missing", "invalid", "out_of_range")


def column(frame: pl.DataFrame, name: str) -> Ints:
    """A whole-number column; zeros where the table has no such column."""
    if name not in frame.columns:
        return np.zeros(frame.height, np.int64)
    values = frame[name]
    found: Ints = (values.fill_null(0) if values.null_count() else values).to_numpy().astype(np.int64, copy=False)
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
        early, low = int(arrival.min()), int(day.min())
        nights, groups, span = int(arrival.max()) - early + 1, int(group.max()) + 1, int(day.max()) - low + 1
        found, _ = summed(((arrival - early) * groups + group) * span + (day - low), nights * groups * span, {})
        rest, day = np.divmod(found, span)
        arrival, group = np.divmod(rest, groups)
        return Facts(arrival + early, group, day + low)

    def on(self, night: int) -> tuple[Ints, Ints]:
        """Groups and days about which something arrived on the night."""
        low, high = np.searchsorted(self.arrival, [night, night + 1])
        return self.group[low:high], self.day[low:high]


@dataclass(frozen=True)
class Coded:
    """The rows of a profile that matter to the measured nights, as numbers.

    Arrays run over all rows of the frame; ``kept`` are the places of those that matter.
    """

    frame: pl.DataFrame
    kept: Ints
    whole: Ints
    """Group of all versions."""
    own: Ints
    """Group of the row's version, or -1 where it has none of its own."""
    day: Ints
    arrival: Ints
    columns: dict[str, Ints] = field(default_factory=dict)

    @staticmethod
    def of(frame: pl.DataFrame, groups: Groups, earliest: int, last: int) -> Coded:
        """Rows about days from ``earliest`` on that arrived by ``last``."""
        whole, own = groups.rows_of(frame)
        day, arrival = days(frame, "event_date"), days(frame, "arrival_date")
        kept = np.flatnonzero((day >= earliest) & (day <= last) & (arrival <= last))
        return Coded(frame, kept, whole, own, day, arrival)

    def __getitem__(self, name: str) -> Ints:
        if name not in self.columns:
            self.columns[name] = column(self.frame, name)
        return self.columns[name]

    def expanded(self, mine: npt.NDArray[np.bool_] | None = None) -> tuple[Ints, Ints]:
        """Places and groups of kept rows, once for all versions and once more for those with a group of their own."""
        rows = self.kept if mine is None else self.kept[mine[self.kept]]
        own = self.own[rows]
        extra = np.flatnonzero(own >= 0)
        return np.concatenate([rows, rows[extra]]), np.concatenate([self.whole[rows], own[extra]])

    def facts(self, first: int, mine: npt.NDArray[np.bool_] | None = None) -> Facts:
        """What arrived from ``first`` on."""
        recent = self.arrival >= first
        rows, group = self.expanded(recent if mine is None else recent & mine)
        return Facts.of(self.arrival[rows], group, self.day[rows])

    def sums(
        self,
        slot: Ints,
        slots: Ints,
        names: Sequence[str],
        mine: npt.NDArray[np.bool_] | None = None,
        *,
        since: int | None = None,
    ) -> DailySums:
        """Daily sums of the columns, over the rows ``mine`` in which any is not zero.

        What arrived before ``since`` is known to all measured nights alike: it counts as arrived then.
        """
        columns = {name: self[name] for name in names}
        useful = np.zeros(self.frame.height, np.bool_)
        for values in columns.values():
            useful |= values != 0
        rows, group = self.expanded(useful if mine is None else useful & mine)
        arrival = self.arrival[rows] if since is None else np.maximum(self.arrival[rows], since)
        return DailySums.build(group, self.day[rows], arrival, slot[rows], slots, rows, columns)


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
        frames = [events(f) for f in (profiles.features, profiles.outputs, profiles.quality, profiles.traffic)]
        nightly = without(frames[1], "bin") if profiles.nightly is None else events(profiles.nightly)
        groups = Groups.of(frames, intake_roles(profiles.intake))
        predicted, labeled = _earliest(frames[3], frames[1], first, last, max(spec.monitors.window_days))
        features, quality = (Coded.of(f, groups, predicted, last) for f in (frames[0], frames[2]))
        outputs, traffic, totals = (Coded.of(f, groups, labeled, last) for f in (frames[1], frames[3], nightly))
        task = task_of(spec)
        names = list(schema["features"])
        one = np.zeros(1, np.int64)

        of_feature, number = codes_of(features.frame, "feature", layout.names), features["bin"]
        overall = (features.frame["segment"] == "").to_numpy() if features.frame.height else np.zeros(0, np.bool_)
        coarse, fine = layout.coarse_slot(of_feature, number, overall), layout.fine_slot(of_feature, number)
        of_quality = codes_of(quality.frame, "feature", names)
        latency = traffic["latency_bin"]
        latencies = np.unique(latency[latency > ABSENT])

        views = task.views(bins) if bins is not None and bins.get("outputs") else {}
        listed = sorted({view.output for view in views.values()})
        output, bin_ = codes_of(outputs.frame, "output", listed), outputs["bin"]
        of_total = codes_of(totals.frame, "output", listed)
        found = {}
        for name, view in views.items():
            if view.slot is not None and view.slots == 1:
                mine = of_total == listed.index(view.output)
                found[name] = totals.sums(np.zeros_like(of_total), one, view.sums, mine, since=first)
                continue
            mine = output == listed.index(view.output)
            if view.slot is None:
                slots = np.unique(bin_[mine])
                slot = np.searchsorted(slots, bin_)
            else:
                slots, slot = np.arange(view.slots), np.zeros(len(bin_), np.int64)
                slot[mine] = view.slot(bin_[mine])
            found[name] = outputs.sums(slot, slots, view.sums, mine, since=first)
        delay = totals.arrival - totals.day
        mine = of_total == listed.index(views["totals"].output) if views else np.zeros(len(delay), np.bool_)
        delays = np.unique(delay[mine])
        return History(
            groups=groups,
            task=task,
            traffic=traffic.sums(np.zeros_like(latency), one, ("rows", "failed"), since=first),
            latency=traffic.sums(
                np.searchsorted(latencies, latency), latencies, ("rows",), latency > ABSENT, since=first
            ),
            quality=quality.sums(of_quality, np.arange(max(len(names), 1)), QUALITY, of_quality >= 0, since=first),
            coarse=features.sums(
                coarse, np.arange(max(layout.coarse_slots, 1)), ("rows", "value"), coarse >= 0, since=first
            ),
            fine=features.sums(
                fine,
                np.arange(max(layout.fine_slots, 1)),
                ("rows", "value"),
                overall & (fine >= 0),
                since=first,
            ),
            moments=features.sums(
                of_feature,
                np.arange(max(len(layout.names), 1)),
                ("rows", "value", "value_sq"),
                (of_feature >= 0) & (number >= 0),
                since=first,
            ),
            views=views,
            outputs=found,
            delays=totals.sums(np.searchsorted(delays, delay), delays, ["labeled"], mine),
            predictions=traffic.facts(first),
            labels=outputs.facts(first, _about_labels(outputs)),
        )


def _earliest(traffic: pl.DataFrame, outputs: pl.DataFrame, first: int, last: int, longest: int) -> tuple[int, int]:
    """The first day of any window about which a prediction, or anything, arrived on the nights."""

    def day_of(frame: pl.DataFrame) -> int:
        arrival = days(frame, "arrival_date")
        about = days(frame, "event_date")[(arrival >= first) & (arrival <= last)]
        return int(about.min(initial=first)) - longest

    predicted = day_of(traffic)
    return predicted, min(predicted, day_of(outputs))


def _about_labels(outputs: Coded) -> npt.NDArray[np.bool_]:
    """Rows that hold label facts: those without predictions, and those where a sum of labels is not zero."""
    keys = {"arrival_date", "event_date", "version", "role", "segment", "output", "bin", "rows"}
    found: npt.NDArray[np.bool_] = outputs["rows"] == 0
    for name in outputs.frame.columns:
        if name not in keys | {"selected", "score", "value"}:
            found |= outputs[name] != 0
    return found


def seen_of(outputs: Mapping[str, DailySums], found: Mapping[str, dict[str, Ints]]) -> dict[str, Seen]:
    """Views over windows as the task's metrics read them."""
    return {name: Seen(sums, outputs[name].slots) for name, sums in found.items()}
