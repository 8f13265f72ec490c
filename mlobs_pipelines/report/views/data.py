"""Data and labels: how much came and was refused, how complete it is, when labels come, how the runs went."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlobs_pipelines.engine import sql
from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.timeline import Point
from mlobs_pipelines.report.read import Results, Row
from mlobs_pipelines.report.views.model import Tile
from mlobs_pipelines.report.views.series import History, Key
from mlobs_pipelines.report.views.status import Status, troubles

NIGHTS = 30
REASONS = 15
RATES = ("missing_rate", "invalid_rate", "out_of_range_rate", "unseen_rate")
HEAT = (0.01, 0.1, 0.5)
_VALUE = re.compile(r"(column '.*?': )'.*'(?= )", re.DOTALL)


@dataclass(frozen=True)
class Refused:
    """Rows refused for one reason."""

    source: str
    reason: str
    rows: str
    last: str


@dataclass(frozen=True)
class Field:
    """The quality of a feature: of each rate its value, and how bad it is from 0 to 3."""

    name: str
    rates: Sequence[tuple[str, str, int]]


@dataclass(frozen=True)
class Run:
    """A run of a night."""

    night: str
    status: Status
    finished: str
    rows_in: str
    labels_in: str
    refused: str
    error: str


@dataclass(frozen=True)
class Data:
    """What the page says."""

    model: str
    verdict: str
    tiles: Sequence[Tile]
    volume: Markup
    coverage: Markup
    delay: Markup
    fields: Sequence[Field]
    rates: Sequence[str]
    fields_window: str
    refused: Sequence[Refused]
    refused_more: int
    runs: Sequence[Run]


def data_view(results: Results, model: str, now: dt.datetime) -> Data:
    """What came in, and how good it was."""
    incidents = [i for i in results.incidents(model) if i["kind"] in ("data_fault", "volume", "labels", "monitoring")]
    history = History(results, model, incidents)
    volume, coverage, delay = (
        Key("traffic", "predictions"),
        Key("labels", "label_coverage"),
        Key("labels", "label_delay_days"),
    )
    series = history.read([volume, coverage, delay])
    newest = _newest(results, model, history)
    last = history.days.last if history.days else now.date()
    refused = _refused(results, model, last - dt.timedelta(days=NIGHTS - 1))
    runs = results.rows(
        f"select * from runs where model = {sql.text(model)} order by arrival_date desc, finished_at desc limit {NIGHTS}"
    )
    fields, window = _fields(newest)
    return Data(
        model,
        _verdict(incidents, runs, fields),
        _tiles(newest, series, coverage, delay),
        history.chart(
            volume, series[volume], title="Predictions a day", incidents=[i for i in incidents if i["kind"] != "labels"]
        ),
        history.chart(
            coverage,
            series[coverage],
            title=f"Share of rows with a label, {history.length(coverage)} days each",
            height=120,
        ),
        history.chart(delay, series[delay], title="Median days from a prediction to its label", height=120),
        fields,
        [words.metric_name(m).removesuffix(" rate") for m in RATES],
        window,
        refused[:REASONS],
        max(len(refused) - REASONS, 0),
        [_run(r) for r in runs],
    )


def _newest(results: Results, model: str, history: History) -> list[Row]:
    return results.rows(
        "select metric, subject, window_start, window_end, value, baseline, status from latest_metrics "
        f"where model = {sql.text(model)} and role = {sql.text(history.role)} and version = '' and segment = '' "
        f"and family = 'quality' and window_days = {history.lengths[0]} order by subject, metric"
    )


def _fields(newest: Sequence[Row]) -> tuple[list[Field], str]:
    """Rates of every feature in the newest window, the worst feature first."""
    by: dict[str, dict[str, Row]] = {}
    for row in newest:
        if row["subject"] and row["metric"] in RATES:
            by.setdefault(row["subject"], {})[row["metric"]] = row
    ranked = sorted(by, key=lambda name: (-max((r["value"] or 0.0) for r in by[name].values()), name))
    found = [
        Field(
            name,
            [
                (words.metric_name(m).removesuffix(" rate"), _rate(by[name].get(m)), _heat(by[name].get(m)))
                for m in RATES
            ],
        )
        for name in ranked
    ]
    rows = [r for rates in by.values() for r in rates.values()]
    last = max(rows, key=lambda r: r["window_end"], default=None)
    return found, words.days(last["window_start"], last["window_end"]) if last else ""


def _rate(row: Row | None) -> str:
    if row is None:
        return "not watched"
    return words.percent(row["value"]) if row["value"] is not None else "not measured"


def _heat(row: Row | None) -> int:
    if row is None or row["value"] is None:
        return 0
    return sum(row["value"] - (row["baseline"] or 0.0) >= limit for limit in HEAT)


def _refused(results: Results, model: str, since: dt.date) -> list[Refused]:
    """Reasons with how often each was given; the values that were refused are never shown."""
    found: dict[tuple[str, str], list[tuple[int, dt.date]]] = {}
    for row in results.refused(model, since=since).iter_rows(named=True):
        key = (row["source"], reason_alone(row["reason"] or ""))
        found.setdefault(key, []).append((row["rows"], row["night"]))
    ranked = sorted(found.items(), key=lambda item: (-sum(n for n, _ in item[1]), item[0]))
    return [
        Refused(source, reason, words.count(sum(n for n, _ in times)), words.day(max(night for _, night in times)))
        for (source, reason), times in ranked
    ]


def reason_alone(reason: str) -> str:
    """A reason without the value that it quotes.

    >>> reason_alone("column 'score': '1.7' is not between 0 and 1")
    "column 'score': a value is not between 0 and 1"
    """
    return _VALUE.sub(r"\1a value", reason)[:300]


def _run(row: Row) -> Run:
    failed = row["status"] == "failed"
    return Run(
        words.day(row["arrival_date"]),
        Status("failed", "failed") if failed else Status("ok", row["status"]),
        f"{row['finished_at']:%Y-%m-%d %H:%M}" if row["finished_at"] else words.NOTHING,
        words.count(row["rows_in"]),
        words.count(row["labels_in"]),
        words.count(row["rows_quarantined"]),
        row["error"] or "",
    )


def _verdict(incidents: Sequence[Row], runs: Sequence[Row], fields: Sequence[Field]) -> str:
    if not runs:
        return "No night was run yet."
    open_ = troubles(incidents)
    said = [f"{words.sentence(i['title'])}" for i in open_[:3]]
    if not open_:
        said.append("Nothing is wrong with what comes in.")
    failed = [r for r in runs if r["status"] == "failed"]
    if failed:
        said.append(f"{words.counted(len(failed), 'run')} of the last {len(runs)} failed.")
    bad = [f.name for f in fields if any(heat >= 2 for *_, heat in f.rates)]
    if bad and not open_:
        said.append(f"{words.listed(bad)} {'is' if len(bad) == 1 else 'are'} less complete than on the reference.")
    return " ".join(said)


def _tiles(newest: Sequence[Row], series: Mapping[Key, Sequence[Point]], coverage: Key, delay: Key) -> list[Tile]:
    by = {(r["metric"], r["subject"]): r for r in newest}
    found = []
    for metric, subject, name, note in (
        ("quarantined_rate", "", "predictions refused", "of those that came"),
        ("quarantined_rate", "label", "labels refused", "of those that came"),
        ("duplicate_rate", "", "delivered twice", "of the predictions; each is counted once"),
        ("freshness_hours", "", "newest row", "before the night's end"),
    ):
        row = by.get((metric, subject))
        if row and row["value"] is not None:
            found.append(Tile(name, words.number(row["value"], metric), "", f"{note}, {words.day(row['window_end'])}"))
    final = [p for p in series[coverage] if p.final and p.value is not None]
    slow = [p for p in series[delay] if p.final and p.value is not None]
    found.append(
        Tile(
            "labels in",
            words.percent(final[-1].value),
            "",
            f"{words.days(final[-1].first, final[-1].last)}, final"
            + (f"; median delay {words.number(slow[-1].value, 'label_delay_days')}" if slow else ""),
        )
        if final
        else Tile("labels in", "not measured", "", "no window is final yet")
    )
    return found
