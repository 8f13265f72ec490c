"""The overview: which models need somebody, the worst first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.timeline import spark
from mlobs_pipelines.report.read import Results, Row
from mlobs_pipelines.report.views.decisions import Waiting, decided, waiting
from mlobs_pipelines.report.views.status import Status, newly_opened, status_of, troubles

NIGHTS = 30
SHOWN_INCIDENTS = 3
_ORDER = {"failed": 0, "critical": 1, "warning": 2, "none": 3, "info": 4, "ok": 5}


@dataclass(frozen=True)
class ModelLine:
    """One model."""

    name: str
    owner: str
    status: Status
    metric: str
    value: str
    beside: str
    window: str
    coverage: str
    last_night: str
    fresh: str
    incidents: Sequence[tuple[str, str]]
    more: int
    silenced: int
    decision: str
    line: Markup


@dataclass(frozen=True)
class RunLine:
    """The last run of a model."""

    model: str
    night: str
    status: Status
    finished: str
    rows_in: str
    labels_in: str
    refused: str
    error: str


@dataclass(frozen=True)
class Overview:
    """What the first page says."""

    verdict: str
    status: Status
    models: Sequence[ModelLine]
    waiting: Sequence[Waiting]
    runs: Sequence[RunLine]
    pipeline: str


def overview_view(results: Results, now: dt.datetime) -> Overview:
    """Every model in a line, what waits for a person, and how the pipeline itself is."""
    health = results.health()
    by_model: dict[str, list[Row]] = {name: [] for name in results.models}
    for row in results.open_incidents():
        by_model.setdefault(row["model"], []).append(row)
    sparks = _sparks(results)
    said = {row["model"]: row for row in results.log.unique("model", keep="last").iter_rows(named=True)}
    lines = [
        _line(name, health.get(name), by_model[name], said.get(name), sparks.get(name, ()), now)
        for name in results.models
    ]
    lines.sort(key=lambda m: (_ORDER[m.status.kind], -len(m.incidents) - m.more, m.name))
    new = [
        i
        for name, rows in by_model.items()
        for i in newly_opened(troubles(rows), (health.get(name) or {}).get("last_night"))
    ]
    pending = waiting(results)
    runs = _runs(results)
    return Overview(
        _verdict(lines, len(new), len(pending)),
        _worst(lines),
        lines,
        pending,
        runs,
        _pipeline(runs, len(results.models)),
    )


def _line(
    name: str,
    health: Row | None,
    incidents: Sequence[Row],
    said: Row | None,
    values: Sequence[float | None],
    now: dt.datetime,
) -> ModelLine:
    open_ = troubles(incidents)
    h: Row = health or dict.fromkeys(
        ("owner", "headline_metric", "headline_value", "headline_lower", "headline_upper", "headline_baseline",
         "headline_window_start", "headline_window_end", "headline_status", "label_coverage", "last_night")
    )  # fmt: skip
    metric = h["headline_metric"] or ""
    measured = h["headline_value"] is not None
    beside = words.interval(h["headline_lower"], h["headline_upper"], metric)
    if measured and h["headline_baseline"] is not None:
        beside += f" · reference {words.number(h['headline_baseline'], metric)}"
    window = words.days(h["headline_window_start"], h["headline_window_end"]) if measured else ""
    if h["headline_status"] == "provisional":
        window += ", not final"
    last = h["last_night"]
    decision = decided(said) if said else ""
    return ModelLine(
        name=name,
        owner=h["owner"] or "",
        status=status_of(health, incidents),
        metric=words.metric_name(metric) if measured else "",
        value=words.number(h["headline_value"], metric) if measured else "not measured",
        beside=beside,
        window=window,
        coverage=words.percent(h["label_coverage"]) if h["label_coverage"] is not None else "not measured",
        last_night=words.day(last) if last else "none yet",
        fresh=words.ago(last, now.date()) if last else "",
        incidents=[(i["incident_id"], i["title"]) for i in open_[:SHOWN_INCIDENTS]],
        more=max(len(open_) - SHOWN_INCIDENTS, 0),
        silenced=sum(i["state"] == "silenced" for i in incidents),
        decision=decision,
        line=spark(f"{words.metric_name(metric)} of {name}, last {NIGHTS} nights", values),
    )


def _sparks(results: Results) -> dict[str, list[float | None]]:
    """The headline metric of each model on its last nights."""
    rows = results.rows(
        "select s.model, s.as_of, s.value from signals as s inner join model_health as h "
        "on s.model = h.model and s.metric = h.headline_metric "
        f"where s.family = 'performance' and s.segment = '' and s.subject = '' and s.as_of > h.last_night - {NIGHTS} "
        "order by s.model, s.as_of"
    )
    found: dict[str, list[float | None]] = {}
    for row in rows:
        found.setdefault(row["model"], []).append(row["value"])
    return found


def _runs(results: Results) -> list[RunLine]:
    rows = results.rows(
        "select * from runs qualify row_number() over (partition by model order by finished_at desc, arrival_date desc) = 1 "
        "order by case when status = 'failed' then 0 else 1 end, model"
    )
    return [
        RunLine(
            row["model"],
            words.day(row["arrival_date"]),
            Status("failed", "failed") if row["status"] == "failed" else Status("ok", row["status"]),
            f"{row['finished_at']:%Y-%m-%d %H:%M}" if row["finished_at"] else words.NOTHING,
            words.count(row["rows_in"]),
            words.count(row["labels_in"]),
            words.count(row["rows_quarantined"]),
            row["error"] or "",
        )
        for row in rows
    ]


def _verdict(lines: Sequence[ModelLine], new: int, pending: int) -> str:
    if not lines:
        return "No model is monitored yet. Write a first model's file with: mlobs init --predictions FILE."
    needy = [m for m in lines if m.status.kind in ("critical", "failed", "warning")]
    unknown = [m for m in lines if m.status.kind == "none"]
    verb = "needs" if len(needy) == 1 else "need"
    said = [
        f"{len(needy)} of {words.counted(len(lines), 'model')} {verb} attention: {words.listed([m.name for m in needy])}."
        if needy
        else f"None of {words.counted(len(lines), 'model')} needs attention."
    ]
    if new:
        said.append(f"{words.counted(new, 'incident')} opened on the last night.")
    if pending:
        said.append(f"{words.counted(pending, 'decision')} wait{'s' if pending == 1 else ''} for a person.")
    if unknown:
        said.append(f"Of {words.listed([m.name for m in unknown])} it is not known how well it does.")
    return " ".join(said)


def _worst(lines: Sequence[ModelLine]) -> Status:
    return lines[0].status if lines else Status("none", "no models")


def _pipeline(runs: Sequence[RunLine], models: int) -> str:
    failed = [r.model for r in runs if r.status.kind == "failed"]
    if not runs:
        return "No night was run yet."
    if failed:
        return f"The last run of {words.listed(failed)} failed."
    return f"The last run of {'every model' if len(runs) == models else f'{len(runs)} of {models} models'} ended well."
