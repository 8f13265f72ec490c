"""The page of an incident: what to do, how large it is, since when, why, and what people did."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mlobs_pipelines.act.people import LONGEST_SILENCE
from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.bars import bar
from mlobs_pipelines.report.charts.scale import Scale
from mlobs_pipelines.report.read import Results, Row
from mlobs_pipelines.report.views.decisions import Entry, Waiting, entries, waiting
from mlobs_pipelines.report.views.distribution import Distribution, distribution
from mlobs_pipelines.report.views.model import Tile
from mlobs_pipelines.report.views.segments import segment_names
from mlobs_pipelines.report.views.series import History, Key
from mlobs_pipelines.report.views.status import Status
from mlobs_pipelines.store.people import ABOUT_INCIDENTS

OFFERED_SILENCE = 7
"""Days."""
DISTRIBUTIONS = 3
"""Features of one incident whose values are drawn."""


@dataclass(frozen=True)
class Suspect:
    """A cause, with its share of the change."""

    rank: int
    name: str
    segment: str
    kind: str
    detail: str
    share: str
    interval: str
    bar: Markup


@dataclass(frozen=True)
class Signal:
    """A number that is off."""

    name: str
    segment: str
    days: str
    value: str
    interval: str
    expected: str
    rows: str


@dataclass(frozen=True)
class Incident:
    """What the page says."""

    id: str
    model: str
    title: str
    severity: str
    state: Status
    over: bool
    kind: str
    segment: str
    subject: str
    version: str
    since: str
    verdict: str
    diagnosis: str
    action: str
    advice: str
    waiting: Sequence[Waiting]
    tiles: Sequence[Tile]
    timeline: Markup | None
    distributions: Sequence[Distribution]
    suspects: Sequence[Suspect]
    same_time: Sequence[str]
    members: Sequence[Signal]
    absorbed: Sequence[Signal]
    absorbed_said: str
    log: Sequence[Entry]
    segment_page: bool
    silence: tuple[str, str, str]
    """First and last day that a silence may end on, and the one that is offered."""


_STATES = {
    "open": Status("waits", "open"),
    "acknowledged": Status("info", "acknowledged"),
    "silenced": Status("none", "silenced"),
    "resolved": Status("ok", "resolved"),
}
CAUSE_KINDS = {
    "feature": "feature",
    "segment": "segment",
    "version": "version",
    "mix": "other rows came",
    "rate": "like rows fare otherwise",
    "value": "value",
}


def incident_view(results: Results, model: str, incident_id: str, now: dt.datetime) -> Incident:
    """Everything about one incident, in the order in which whoever is called at night asks for it."""
    del now
    incidents = results.incidents(model)
    row = next(i for i in incidents if i["incident_id"] == incident_id)
    evidence = row["evidence"]
    history = History(results, model, incidents)
    leading = _leading(row)
    key = Key.of(leading) if leading else None
    said = [r for r in results.entries(model) if r["incident_id"] == incident_id]
    absorbed = [_signal(s) for s in evidence.get("absorbed") or ()]
    return Incident(
        id=incident_id,
        model=model,
        title=row["title"],
        severity=row["severity"],
        state=_STATES.get(row["state"], Status("info", row["state"])),
        over=row["state"] == "resolved",
        kind=words.kind_name(row["kind"]),
        segment=row["segment"],
        subject=row["subject"],
        version=row["version"],
        since=words.day(row["since"] or row["opened_as_of"]),
        verdict=_verdict(row, said),
        diagnosis=row["diagnosis"],
        action=words.action_name(row["recommended_action"]),
        advice=str(evidence.get("advice") or ""),
        waiting=[w for w in waiting(results, model) if w.incident_id == incident_id],
        tiles=_tiles(row, evidence),
        timeline=_timeline(history, key, row) if key else None,
        distributions=_distributions(results, history, row),
        suspects=_suspects(results.causes(incident_id)),
        same_time=[str(s.get("detail", "")) for s in evidence.get("same_time") or ()],
        members=[_signal(s) for s in evidence.get("members") or ()],
        absorbed=absorbed,
        absorbed_said=_absorbed(absorbed, evidence.get("absorbed") or ()),
        log=entries(said),
        segment_page=row["segment"] in segment_names(results, model),
        silence=silences(row["as_of"]),
    )


def silences(newest: dt.date) -> tuple[str, str, str]:
    """When a silence may end, seen from an incident's newest night."""
    first, last = newest, newest + dt.timedelta(days=LONGEST_SILENCE)
    return first.isoformat(), last.isoformat(), min(newest + dt.timedelta(days=OFFERED_SILENCE), last).isoformat()


def _verdict(row: Row, said: Sequence[Row]) -> str:
    """Where it stands, in a sentence."""
    where = f"in {row['segment']}" if row["segment"] else "in all rows"
    since, nights = words.day(row["since"] or row["opened_as_of"]), words.counted(row["nights"] or 0, "night")
    first = f"It began on {since} {where} and was seen on {nights}, last on {words.day(row['last_as_of'])}."
    if row["state"] == "resolved":
        return f"{first} It is over since {words.day(row['resolved_as_of'])}."
    last = next((r for r in reversed(said) if r["action"] in ABOUT_INCIDENTS), None)
    if row["state"] == "acknowledged" and last is not None:
        return f"{first} {last['actor']} looks into it."
    if row["state"] == "silenced" and last is not None:
        return f"{first} It is silenced by {last['actor']}: it is still followed, but tells nobody."
    return f"{first} Nobody has taken it up yet."


def _leading(row: Row) -> Mapping[str, Any] | None:
    """The number that the incident is told by."""
    members = [s for s in row["evidence"].get("members") or () if isinstance(s, dict)]
    same = [s for s in members if s.get("metric") == row["metric"] and s.get("segment") == row["segment"]]
    found = same or members
    return found[0] if found else None


def _tiles(row: Row, evidence: Mapping[str, Any]) -> list[Tile]:
    metric = row["metric"] or ""
    found = []
    if row["value"] is not None:
        found.append(
            Tile(
                words.metric_name(metric),
                words.number(row["value"], metric),
                words.interval(row["lower"], row["upper"], metric),
                "at its worst",
            )
        )
        found.append(
            Tile(
                "expected",
                words.number(row["baseline"], metric),
                "",
                f"off from {words.number(row['threshold'], metric)} on",
            )
        )
    counted = "labelled rows" if row["labeled_rows"] else "rows"
    rows = row["labeled_rows"] or row["rows"]
    if rows:
        found.append(Tile("rests on", words.count(rows), "", counted))
    if row["since"] and row["until"]:
        lasted = words.counted((row["until"] - row["since"]).days + 1, "day")
        found.append(
            Tile(
                "lasted" if row["state"] == "resolved" else "lasts", lasted, "", words.days(row["since"], row["until"])
            )
        )
    if evidence.get("fingerprint"):
        found.append(Tile("looks like", "", "", str(evidence["fingerprint"])))
    return found


def _timeline(history: History, key: Key, row: Row) -> Markup:
    points = history.read([key])[key]
    return history.chart(key, points, incidents=[row], height=210)


def _distributions(results: Results, history: History, row: Row) -> list[Distribution]:
    if row["kind"] not in ("data_fault", "input_drift") or not (row["since"] and row["until"]):
        return []
    features = [name for name in row["subject"].split(", ") if name][:DISTRIBUTIONS]
    found = (
        distribution(results, row["model"], history.role, f, row["segment"], row["since"], row["until"])
        for f in features
    )
    return [d for d in found if d is not None]


def _suspects(causes: Sequence[Row]) -> list[Suspect]:
    scale = Scale(min([0.0, *(c["share"] for c in causes if c["share"] is not None)]), 1.1, 0)
    return [
        Suspect(
            rank=c["rank"],
            name=c["segment"] if c["kind"] == "segment" else c["subject"] or c["segment"],
            segment=c["segment"],
            kind=CAUSE_KINDS.get(str(c["kind"]), str(c["kind"])),
            detail=c["detail"],
            share=words.percent(c["share"]) if c["share"] is not None else "",
            interval=words.interval(c["lower"], c["upper"], "traffic_share") if c["share"] is not None else "",
            bar=bar(c["share"], scale, lower=c["lower"], upper=c["upper"]) if c["share"] is not None else Markup(""),
        )
        for c in causes
    ]


def _signal(s: Mapping[str, Any]) -> Signal:
    metric = str(s.get("metric", ""))
    days = [dt.date.fromisoformat(s[name]) for name in ("window_start", "window_end") if s.get(name)]
    rows = s.get("labeled_rows") if s.get("family") == "performance" else s.get("rows")
    of = f" of {s['subject']}" if s.get("subject") else ""
    return Signal(
        f"{words.metric_name(metric)}{of}",
        str(s.get("segment") or "all rows"),
        words.days(days[0], days[1]) if len(days) == 2 else words.NOTHING,
        words.number(s.get("value"), metric),
        words.interval(s.get("lower"), s.get("upper"), metric),
        words.number(s.get("expected"), metric),
        words.count(rows),
    )


def _absorbed(shown: Sequence[Signal], raw: Sequence[Mapping[str, Any]]) -> str:
    if not shown:
        return ""
    kinds = Counter(str(s.get("family", "")) for s in raw)
    parts = [f"{n} of {family}" for family, n in kinds.most_common()]
    return f"It accounts for {words.counted(len(shown), 'other number')} that {'is' if len(shown) == 1 else 'are'} off ({words.listed(parts, 5)}); none of them raises an incident of its own."
