"""The page of a model: how it does, what is wrong, what changed since last night."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlobs_pipelines.engine import sql
from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.bars import bar, strip
from mlobs_pipelines.report.charts.scale import Scale
from mlobs_pipelines.report.charts.timeline import Point
from mlobs_pipelines.report.read import Results, Row
from mlobs_pipelines.report.views.decisions import Waiting, champion, waiting
from mlobs_pipelines.report.views.series import History, Key
from mlobs_pipelines.report.views.status import IncidentLine, Status, line, status_of, troubles

NIGHTS = 30
DRIFT_MATTERS = 0.1
SHOWN_FEATURES = 8
OVER = 8
"""Incidents that are over and still listed."""

AREAS: Sequence[tuple[str, str]] = (
    ("Data", "family = 'quality'"),
    ("Volume", "family = 'traffic'"),
    ("Inputs", "family = 'drift' and subject not in ('score', 'prediction', 'label')"),
    ("Outputs", "family = 'drift' and subject in ('score', 'prediction', 'label')"),
    ("Performance", "family = 'performance'"),
    ("Fairness", "family = 'fairness'"),
    ("Labels", "family = 'labels'"),
    ("Service", "family = 'service'"),
)


@dataclass(frozen=True)
class Tile:
    """One number in large figures."""

    name: str
    value: str
    beside: str
    note: str


@dataclass(frozen=True)
class Watched:
    """One area of monitors over the last nights."""

    name: str
    nights: Markup
    said: str


@dataclass(frozen=True)
class Drifted:
    """A feature's drift on the last night."""

    name: str
    value: str
    interval: str
    bar: Markup


@dataclass(frozen=True)
class Model:
    """What the page says."""

    name: str
    owner: str
    task: str
    status: Status
    verdict: str
    measured: bool
    tiles: Sequence[Tile]
    open: Sequence[IncidentLine]
    over: Sequence[IncidentLine]
    over_more: int
    waiting: Sequence[Waiting]
    since: Sequence[str]
    last_night: str
    headline: Markup | None
    volume: Markup | None
    watched: Sequence[Watched]
    drifted: Sequence[Drifted]
    drift_window: str


def model_view(results: Results, model: str, now: dt.datetime) -> Model:
    """Everything about one model at a glance."""
    health = results.health(model).get(model)
    incidents = results.incidents(model)
    status = status_of(health, incidents)
    pending = waiting(results, model)
    if health is None:
        return Model(
            model, "", "", status, f"No night was run yet. Run the first with: mlobs run {model}.", False, (), (), (), 0,
            pending, (), "", None, None, (), (), "",
        )  # fmt: skip
    history = History(results, model, incidents)
    headline = Key("performance", health["headline_metric"] or "roc_auc")
    volume, coverage, delay = (
        Key("traffic", "predictions"),
        Key("labels", "label_coverage"),
        Key("labels", "label_delay_days"),
    )
    series = history.read([headline, volume, coverage, delay])
    suspects = {
        i["incident_id"]: results.causes(i["incident_id"]) for i in incidents[:OVER] if i["state"] != "resolved"
    }
    open_ = [line(i, suspects.get(i["incident_id"], ())) for i in incidents if i["state"] != "resolved"]
    over = [line(i) for i in incidents if i["state"] == "resolved"]
    last = health["last_night"]
    features, drift_window = drifted(results, model, history)
    relevant = [i for i in incidents if i["severity"] != "info"]
    return Model(
        name=model,
        owner=health["owner"] or "",
        task=health["task"] or "",
        status=status,
        verdict=_verdict(health, incidents, series[headline]),
        measured=True,
        tiles=_tiles(health, history, series[volume], series[coverage], series[delay], pending),
        open=open_,
        over=over[:OVER],
        over_more=max(len(over) - OVER, 0),
        waiting=pending,
        since=_since(results, model, incidents, history, last),
        last_night=f"{words.day(last)}, {words.ago(last, now.date())}" if last else "",
        headline=history.chart(headline, series[headline], incidents=relevant, height=210),
        volume=history.chart(
            volume,
            series[volume],
            title="Predictions a day",
            incidents=[i for i in relevant if i["kind"] in ("volume", "data_fault")],
            height=110,
        ),
        watched=_watched(results, model, incidents, last),
        drifted=features,
        drift_window=drift_window,
    )


def _verdict(health: Row, incidents: Sequence[Row], points: Sequence[Point]) -> str:
    """What is wrong first, then how well it does."""
    if health["last_run_status"] == "failed":
        error = health["last_run_error"] or "no reason was given"
        return (
            f"The run of {words.day(health['last_run_night'])} failed: {words.sentence(error)} What follows is older."
        )
    found = troubles(incidents)
    silenced = sum(i["state"] == "silenced" for i in incidents)
    said = []
    if found:
        worst = sum(i["severity"] == "critical" for i in found)
        urgent = f", {worst} of them critical" if worst else ""
        said.append(f"{words.counted(len(found), 'incident')} {'is' if len(found) == 1 else 'are'} open{urgent}.")
    else:
        said.append("Nothing above info is open.")
    if silenced:
        said.append(f"{silenced} more {'is' if silenced == 1 else 'are'} silenced.")
    said.append(_performance(health, points))
    return " ".join(said)


def _performance(health: Row, points: Sequence[Point]) -> str:
    metric = health["headline_metric"] or ""
    if health["headline_value"] is None:
        return "How well it predicts is not measured: labels are missing, or too few."
    value = f"{words.number(health['headline_value'], metric)} {words.interval(health['headline_lower'], health['headline_upper'], metric)}"
    window = words.days(health["headline_window_start"], health["headline_window_end"])
    point = next((p for p in reversed(points) if p.last == health["headline_window_end"]), None)
    beside = ""
    if point is not None and point.expected is not None:
        beside = f", {words.number(point.expected, metric)} expected"
    rows = f" on {words.count(point.rows)} labelled rows" if point is not None and point.rows else ""
    final = "" if health["headline_status"] != "provisional" else "; its labels are not final"
    return f"{words.metric_name(metric)[:1].upper()}{words.metric_name(metric)[1:]} was {value}{beside}{rows}, {window}{final}."


def _tiles(
    health: Row,
    history: History,
    volume: Sequence[Point],
    coverage: Sequence[Point],
    delay: Sequence[Point],
    pending: Sequence[Waiting],
) -> list[Tile]:
    metric = health["headline_metric"] or ""
    measured = health["headline_value"] is not None
    window = words.days(health["headline_window_start"], health["headline_window_end"]) if measured else ""
    baseline = health["headline_baseline"]
    found = [
        Tile(
            words.metric_name(metric),
            words.number(health["headline_value"], metric) if measured else "not measured",
            words.interval(health["headline_lower"], health["headline_upper"], metric),
            window + (f"; reference {words.number(baseline, metric)}" if measured and baseline is not None else ""),
        )
    ]
    if volume:
        last = volume[-1]
        week = [p.value for p in volume[-8:-1] if p.value is not None]
        usual = f"{words.count(round(sum(week) / len(week)))} a day in the week before" if week else ""
        found.append(
            Tile(
                "predictions",
                words.number(last.value, "predictions"),
                "",
                f"{words.day(last.last)}; {usual}".strip("; "),
            )
        )
    final = [p for p in coverage if p.final and p.value is not None]
    if final:
        slow = [p for p in delay if p.final and p.value is not None]
        median = f"median delay {words.number(slow[-1].value, 'label_delay_days')}" if slow else ""
        found.append(
            Tile(
                "labels in",
                words.percent(final[-1].value),
                "",
                f"{words.days(final[-1].first, final[-1].last)}; {median}".strip("; "),
            )
        )
    else:
        found.append(Tile("labels in", "not measured", "", "no window is final yet"))
    if history.serving:
        since = words.day(history.took_over[-1].day) if history.took_over else ""
        found.append(
            Tile("serves", f"version {history.serving}", "", f"since {since}" if since else "the only one seen")
        )
    made = champion(history.results.entries(history.model))
    if made and made["version"] != history.serving:
        found.append(
            Tile("champion", f"version {made['version']}", "", f"since {made['decided_at']:%Y-%m-%d}; not seen yet")
        )
    challenger = next((d for d in pending if d.action == "promote"), None)
    if challenger:
        found.append(Tile("challenger", f"version {challenger.version}", "", "waits for approval"))
    return found


def _since(results: Results, model: str, incidents: Sequence[Row], history: History, last: dt.date | None) -> list[str]:
    """What the last night brought."""
    if last is None:
        return []
    said = [f"Opened: {i['title']}." for i in incidents if i["opened_as_of"] == last]
    said += [f"Over: {i['title']}." for i in incidents if i["resolved_as_of"] == last]
    said += [f"{e.text[:1].upper()}{e.text[1:]} took over." for e in history.took_over if e.day == last]
    for row in results.entries(model):
        if row["as_of"] is not None and row["as_of"] >= last:
            what = words.action_name(row["action"])
            said.append(
                f"{what[:1].upper()}{what[1:]} ({row['status']}) by {row['actor']}: {words.sentence(row['reason'])}"
            )
    return said


def _watched(results: Results, model: str, incidents: Sequence[Row], last: dt.date | None) -> list[Watched]:
    """Of each area and night, whether a number was off, and whether an incident came of it."""
    if last is None:
        return []
    areas = " ".join(f"when {where} then '{name}'" for name, where in AREAS)
    rows = results.rows(
        f"select as_of, case {areas} end as area, count(value) as known, count(*) filter (breach) as off "
        f"from signals where model = {sql.text(model)} and as_of > {sql.date(last)} - {NIGHTS} group by all"
    )
    seen = {(row["area"], row["as_of"]): row for row in rows}
    told = _told(incidents)
    found = []
    for name, _ in AREAS:
        cells: list[tuple[str, str]] = []
        for i in range(NIGHTS):
            night = last - dt.timedelta(days=NIGHTS - 1 - i)
            cells.append(_cell(night, seen.get((name, night)), told.get((name, night))))
        quiet = sum(kind == "ok" for kind, _ in cells)
        unknown = sum(kind == "none" for kind, _ in cells)
        loud = NIGHTS - quiet - unknown
        if unknown == NIGHTS:
            said = "not watched"
        else:
            said = f"off on {loud} of {NIGHTS - unknown} nights" if loud else f"quiet on {quiet} nights"
        found.append(Watched(name, strip(f"{name}, last {NIGHTS} nights: {said}", cells), said))
    return found


def _told(incidents: Sequence[Row]) -> dict[tuple[str, dt.date], Row]:
    """The worst incident of each area and night."""
    found: dict[tuple[str, dt.date], Row] = {}
    for row in reversed(incidents):
        members = row["evidence"].get("members") or [{}]
        area = _area(str(members[0].get("family", "")), str(members[0].get("subject", "")))
        for night in row["evidence"].get("nights", ()):
            found[area, dt.date.fromisoformat(night)] = row
    return found


def _area(family: str, subject: str) -> str:
    if family == "drift":
        return "Outputs" if subject in ("score", "prediction", "label") else "Inputs"
    return {"quality": "Data", "traffic": "Volume"}.get(family, family.capitalize())


def _cell(night: dt.date, seen: Row | None, incident: Row | None) -> tuple[str, str]:
    if incident is not None:
        return str(incident["severity"]), f"{night}: {incident['title']}"
    if seen is None or not seen["known"]:
        return "none", f"{night}: not measured"
    if seen["off"]:
        return "off", f"{night}: {seen['off']} of {seen['known']} numbers off, no incident of their own"
    return "ok", f"{night}: {seen['known']} numbers, none off"


def drifted(results: Results, model: str, history: History, segment: str = "") -> tuple[list[Drifted], str]:
    """The features that drifted most in the newest window of a segment, and which window that is."""
    rows = results.rows(
        "select subject, value, lower, upper, window_start, window_end from latest_metrics "
        f"where model = {sql.text(model)} and role = {sql.text(history.role)} and version = '' "
        f"and segment = {sql.text(segment)} and family = 'drift' and metric = 'jensen_shannon' "
        f"and window_days = {history.lengths[0]} and value is not null "
        f"and subject not in ('score', 'prediction', 'label') order by value desc, subject limit {SHOWN_FEATURES}"
    )
    scale = Scale(0.0, max([1.0 if r["value"] > 0.5 else 0.5 for r in rows], default=0.5), 0)
    found = [
        Drifted(
            r["subject"],
            words.plain(r["value"]),
            words.interval(r["lower"], r["upper"]),
            bar(
                r["value"], scale, lower=r["lower"], upper=r["upper"], kind="off" if r["value"] >= DRIFT_MATTERS else ""
            ),
        )
        for r in rows
    ]
    return found, words.days(rows[0]["window_start"], rows[0]["window_end"]) if rows else ""
