"""A number of the store over its nights, as a chart."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from mlobs_pipelines.engine import sql
from mlobs_pipelines.judge.monitors import SMALLER_IS_WORSE
from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.scale import Days
from mlobs_pipelines.report.charts.timeline import Event, Point, Span, timeline
from mlobs_pipelines.report.read import Results, Row

SHOWN = 90
"""Nights that a chart goes back."""
FINAL = ("ok", "warn", "alert")
BY_LOGARITHM = frozenset({"predictions", "latency_p95"})
"""Metrics that are judged by their factor, beside losses and errors."""


@dataclass(frozen=True)
class Key:
    """What tells a number from the others of a model."""

    family: str
    metric: str
    subject: str = ""
    segment: str = ""
    version: str = ""

    @staticmethod
    def of(row: Mapping[str, object]) -> Key:
        return Key(*(str(row.get(name) or "") for name in ("family", "metric", "subject", "segment", "version")))

    @property
    def labelled(self) -> bool:
        """Whether it rests on labels."""
        return self.family in ("performance", "calibration", "labels") or self.metric in LABELLED_FAIRNESS

    @property
    def title(self) -> str:
        """What it is called, of which feature, in which segment."""
        of = f" of {self.subject}" if self.subject and self.subject not in self.segment else ""
        return f"{words.metric_name(self.metric)}{of}{f' in {self.segment}' if self.segment else ''}"


LABELLED_FAIRNESS = frozenset(
    {"equal_opportunity_difference", "equalized_odds_difference", "predictive_parity_difference", "recall", "accuracy",
     "precision", "base_rate", "false_positive_rate", "false_negative_rate", "roc_auc"}
)  # fmt: skip


class History:
    """Series of one model, read a few at a time, with what happened beside them."""

    def __init__(self, results: Results, model: str, incidents: Sequence[Row] = ()) -> None:
        self.results, self.model, self.incidents = results, model, incidents

    @cached_property
    def role(self) -> str:
        return self.results.role(self.model)

    @cached_property
    def days(self) -> Days | None:
        """The nights that charts show; None before the first."""
        found = self.results.rows(
            f"select min(arrival_date) as first, max(arrival_date) as last from runs where model = {sql.text(self.model)}"
        )
        if not found or found[0]["last"] is None:
            return None
        last = found[0]["last"]
        return Days(max(found[0]["first"], last - dt.timedelta(days=SHOWN - 1)), last)

    @cached_property
    def lengths(self) -> tuple[int, int]:
        """Lengths in days of the shortest window and of that on which performance is judged."""
        found = self.results.rows(
            f"select distinct window_days as d from latest_metrics where model = {sql.text(self.model)} order by d"
        )
        days = [int(row["d"]) for row in found] or [1]
        return days[0], next((d for d in days if d >= 7), days[-1])

    def read(self, keys: Sequence[Key], *, role: str | None = None) -> dict[Key, list[Point]]:
        """The windows of several numbers, each with what was expected of it; those on labels over the long window."""
        found: dict[Key, list[Point]] = {key: [] for key in keys}
        since = self.days.first if self.days else None
        for length in sorted(set(self.lengths)):
            mine = [key for key in keys if self.length(key) == length]
            if not mine:
                continue
            where = {
                name: {getattr(key, name) for key in mine}
                for name in ("family", "metric", "subject", "segment", "version")
            }
            expected = self._expected(where, since)
            for row in self.results.windows(self.model, {"role": role or self.role, **where}, length, since=since):
                key = Key.of(row)
                if key in found and self.length(key) == length:
                    found[key].append(_point(row, expected.get((key, row["window_start"], row["window_end"])), key))
        return found

    def length(self, key: Key) -> int:
        """Days of the windows that a number is shown over."""
        return self.lengths[1] if key.labelled else self.lengths[0]

    def _expected(
        self, where: Mapping[str, set[str]], since: dt.date | None
    ) -> dict[tuple[Key, dt.date, dt.date], Row]:
        names = {name: values for name, values in where.items() if name != "version"}
        rows = self.results.signals(self.model, {"role": self.role, **names}, since=since)
        return {(Key.of(row), row["window_start"], row["window_end"]): row for row in rows}

    @cached_property
    def traffic(self) -> list[Row]:
        """Rows of every version and role on each night."""
        where = {"family": "traffic", "metric": "predictions", "segment": ""}
        return [row for row in self.results.windows(self.model, where, self.lengths[0]) if row["rows"]]

    @cached_property
    def took_over(self) -> list[Event]:
        """Days on which another version began to serve most of what the role serves."""
        served: dict[dt.date, tuple[float, str]] = {}
        for row in self.traffic:
            mine = row["version"] and row["role"] == self.role
            if mine and (row["rows"] or 0) > served.get(row["window_end"], (0, ""))[0]:
                served[row["window_end"]] = (row["rows"], row["version"])
        found: list[Event] = []
        before = None
        for day in sorted(served):
            version = served[day][1]
            if before is not None and version != before:
                found.append(Event(day, f"version {version}"))
            before = version
        return found

    @cached_property
    def serving(self) -> str:
        """The version that serves most now, or ''."""
        if self.took_over:
            return self.took_over[-1].text.removeprefix("version ")
        found = self.results.rows(
            f"select version from latest_metrics where model = {sql.text(self.model)} and role = {sql.text(self.role)} "
            "and version <> '' and metric = 'predictions' and segment = '' order by window_end desc, rows desc limit 1"
        )
        return str(found[0]["version"]) if found else ""

    def spans(self, incidents: Sequence[Row] | None = None) -> list[Span]:
        """Incidents as spans of days, the oldest first."""
        rows = self.incidents if incidents is None else incidents
        found = [Span(r["since"], r["until"], r["severity"], r["title"]) for r in rows if r["since"] and r["until"]]
        return sorted(found, key=lambda s: (s.first, s.last))

    def chart(
        self,
        key: Key,
        points: Sequence[Point],
        *,
        title: str = "",
        incidents: Sequence[Row] = (),
        height: float = 170.0,
        events: bool = True,
    ) -> Markup:
        """The timeline of a number."""
        days = self.length(key)
        over = f", {days} days each" if days > 1 else ""
        return timeline(
            title or f"{key.title[:1].upper()}{key.title[1:]}{over}",
            key.metric,
            points,
            spans=self.spans(incidents),
            events=self.took_over if events and not key.version else (),
            height=height,
            zero=key.metric in ("predictions", "jensen_shannon", "mean_abs_shap"),
            counted="labelled rows" if key.labelled and key.family != "labels" else "rows",
            days=self.days,
        )


def _point(row: Row, expected: Row | None, key: Key) -> Point:
    counted = row["labeled_rows"] if key.labelled and key.family != "labels" else row["rows"]
    low = high = level = None
    breach = row["status"] == "alert"
    if expected is not None and expected["expected"] is not None:
        level = expected["expected"]
        low, high = usual(key, level, max(expected["practical"] or 0.0, expected["chance"] or 0.0))
        breach = bool(expected["breach"])
    return Point(
        row["window_start"], row["window_end"], row["value"], row["lower"], row["upper"], counted,
        row["status"] in FINAL or not key.labelled, level, low, high, breach,
    )  # fmt: skip


def usual(key: Key, level: float, limit: float) -> tuple[float, float]:
    """Between which values a number counts as usual."""
    by_factor = key.metric in BY_LOGARITHM or (key.family == "performance" and key.metric not in SMALLER_IS_WORSE)
    if by_factor and level > 0:
        return level * math.exp(-limit), level * math.exp(limit)
    low, high = level - limit, level + limit
    if key.metric in words.RATES:
        return max(low, 0.0), min(high, 1.0)
    return (max(low, 0.0), high) if key.family in ("drift", "explanation", "traffic", "service") else (low, high)
