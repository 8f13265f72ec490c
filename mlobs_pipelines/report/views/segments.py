"""Segments: all of them side by side, and one in full."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlobs_pipelines.engine import sql
from mlobs_pipelines.judge.monitors import PERFORMANCE_PRACTICAL, SMALLER_IS_WORSE
from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.bars import point
from mlobs_pipelines.report.charts.scale import Scale
from mlobs_pipelines.report.read import Results, Row
from mlobs_pipelines.report.views.model import Drifted, Tile, drifted
from mlobs_pipelines.report.views.series import FINAL, History, Key
from mlobs_pipelines.report.views.status import IncidentLine, Status, line, troubles

MOST = 150
"""Segments that are listed and, in files, have a page."""


@dataclass(frozen=True)
class SegmentLine:
    """A segment beside the others. ``heat``: 0 to 3, how far it is behind all rows."""

    name: str
    share: str
    value: str
    interval: str
    mark: Markup
    gap: str
    heat: int
    labeled: str
    positives: str
    final: bool
    incidents: int


@dataclass(frozen=True)
class Cut:
    """The segments of one cut of the rows."""

    name: str
    segments: Sequence[SegmentLine]


@dataclass(frozen=True)
class Segments:
    """What the page of all segments says."""

    model: str
    verdict: str
    metric: str
    whole: str
    window: str
    positives: str
    cuts: Sequence[Cut]
    count: int
    left_out: int


@dataclass(frozen=True)
class Segment:
    """What the page of one segment says."""

    model: str
    name: str
    definition: str
    status: Status
    verdict: str
    tiles: Sequence[Tile]
    performance: Markup
    volume: Markup
    incidents: Sequence[IncidentLine]
    drifted: Sequence[Drifted]
    drift_window: str


def segment_names(results: Results, model: str, most: int | None = None) -> list[str]:
    """Segments of a model of which anything was measured, by name.

    With ``most``, no more than about so many: those with an incident, groups that must be treated alike, and the largest.
    """
    limit = f"limit {most}" if most is not None else ""
    found = results.rows(
        f"select segment from latest_metrics where model = {sql.text(model)} and segment <> '' "
        f"group by segment order by bool_or(family = 'fairness') desc, max(rows) desc nulls last, segment {limit}"
    )
    names = {str(row["segment"]) for row in found}
    if most is not None and len(names) >= most:
        every = set(segment_names(results, model))
        names |= {row["segment"] for row in results.incidents(model) if row["segment"] in every}
    return sorted(names)


def segments_view(results: Results, model: str, now: dt.datetime) -> Segments:
    """Every segment on the newest final window, the weakest of each cut first."""
    del now
    history = History(results, model)
    metric = _headline(results, model)
    newest = _newest(results, model, history, metric)
    whole = newest.get(("", metric))
    about = _open_in(results, model)
    listed = segment_names(results, model, MOST)
    rows = [newest[segment, metric] for segment in listed if (segment, metric) in newest]
    scale = Scale.of([v for r in [*rows, *([whole] if whole else [])] for v in (r["value"], r["lower"], r["upper"])], 0)
    cuts: dict[str, list[SegmentLine]] = {}
    for row in sorted(
        rows, key=lambda r: (r["value"] is None, -_gap(r, whole, metric) if r["value"] is not None else 0.0)
    ):
        segment = row["segment"]
        name = " × ".join(part.partition("=")[0] for part in segment.split(" & "))
        cuts.setdefault(name, []).append(_segment_line(segment, metric, newest, scale, about.get(segment, 0)))
    positives = "base_rate" if ("", "base_rate") in newest else ""
    return Segments(
        model,
        _all_verdict(rows, whole, metric),
        words.metric_name(metric),
        f"{words.number(whole['value'], metric)} {words.interval(whole['lower'], whole['upper'], metric)}"
        if whole
        else words.NOTHING,
        words.days(whole["window_start"], whole["window_end"]) if whole else "",
        words.metric_name(positives) if positives else "",
        [Cut(name, found) for name, found in sorted(cuts.items())],
        len(rows),
        len(segment_names(results, model)) - len(listed),
    )


def _headline(results: Results, model: str) -> str:
    health = results.health(model).get(model)
    return str(health["headline_metric"]) if health and health["headline_metric"] else "roc_auc"


def _newest(results: Results, model: str, history: History, metric: str) -> dict[tuple[str, str], Row]:
    """By segment and metric the newest final row over the window on which performance is judged; shares over the short one."""
    short, long = history.lengths
    rows = results.rows(
        "select segment, metric, window_start, window_end, value, lower, upper, rows, labeled_rows, status "
        f"from latest_metrics where model = {sql.text(model)} and role = {sql.text(history.role)} and version = '' "
        f"and ((family = 'performance' and subject = '' and window_days = {long} and metric in ({sql.text(metric)}, 'base_rate')) "
        f"or (family = 'traffic' and metric = 'traffic_share' and window_days = {short}))"
    )
    return {(row["segment"], row["metric"]): row for row in rows}


def _open_in(results: Results, model: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for row in troubles(results.incidents(model)):
        found[row["segment"]] = found.get(row["segment"], 0) + 1
    return found


def _gap(row: Row, whole: Row | None, metric: str) -> float:
    """How far a segment is behind all rows: points of a score, the factor of a loss less one."""
    if row["value"] is None or whole is None or whole["value"] is None:
        return 0.0
    if metric in SMALLER_IS_WORSE:
        return float(whole["value"] - row["value"])
    return float(row["value"] / whole["value"] - 1) if whole["value"] else 0.0


def _segment_line(
    segment: str, metric: str, newest: Mapping[tuple[str, str], Row], scale: Scale, incidents: int
) -> SegmentLine:
    row, whole = newest[segment, metric], newest.get(("", metric))
    share, positives = newest.get((segment, "traffic_share")), newest.get((segment, "base_rate"))
    gap = _gap(row, whole, metric)
    practical = PERFORMANCE_PRACTICAL[metric in SMALLER_IS_WORSE]
    heat = sum(gap >= practical * times for times in (1, 2, 4)) if row["value"] is not None else 0
    return SegmentLine(
        segment,
        words.percent(share["value"]) if share else words.NOTHING,
        words.number(row["value"], metric) if row["value"] is not None else "too few labels",
        words.interval(row["lower"], row["upper"], metric),
        point(
            row["value"],
            scale,
            lower=row["lower"],
            upper=row["upper"],
            at=whole["value"] if whole else None,
            kind="off" if heat else "",
        ),
        _gap_words(gap, metric) if row["value"] is not None else "",
        heat,
        words.count(row["labeled_rows"]),
        words.percent(positives["value"]) if positives and positives["value"] is not None else words.NOTHING,
        row["status"] in FINAL,
        incidents,
    )


def _gap_words(gap: float, metric: str) -> str:
    """Behind or ahead of all rows."""
    if metric in SMALLER_IS_WORSE:
        return f"{-gap:+.3f}"
    return f"{100 * gap:+.0f} %"


def _all_verdict(rows: Sequence[Row], whole: Row | None, metric: str) -> str:
    if not rows or whole is None or whole["value"] is None:
        return "No segment is measured yet: labels are missing, or the model's file names no segments."
    practical = PERFORMANCE_PRACTICAL[metric in SMALLER_IS_WORSE]
    behind = [
        r for r in rows if r["value"] is not None and _gap(r, whole, metric) >= practical and _apart(r, whole, metric)
    ]
    unknown = [r for r in rows if r["value"] is None]
    said = (
        f"{words.listed([r['segment'] for r in behind])} {'is' if len(behind) == 1 else 'are'} clearly behind all rows in {words.metric_name(metric)}."
        if behind
        else f"No segment is clearly behind all rows in {words.metric_name(metric)}."
    )
    if unknown:
        said += f" {words.counted(len(unknown), 'segment')} {'has' if len(unknown) == 1 else 'have'} too few labels."
    return said


def _apart(row: Row, whole: Row, metric: str) -> bool:
    """Whether a segment's interval leaves out the value of all rows."""
    if row["lower"] is None or row["upper"] is None:
        return True
    return bool(row["upper"] < whole["value"] if metric in SMALLER_IS_WORSE else row["lower"] > whole["value"])


def segment_view(results: Results, model: str, segment: str, now: dt.datetime) -> Segment:
    """One segment: how it does beside all rows, how much of it comes, what is wrong in it."""
    del now
    incidents = [i for i in results.incidents(model) if i["segment"] == segment]
    history = History(results, model, incidents)
    metric = _headline(results, model)
    keys = [Key("performance", metric, segment=segment), Key("traffic", "predictions", segment=segment)]
    series = history.read(keys)
    newest = _newest(results, model, history, metric)
    row, whole = newest.get((segment, metric)), newest.get(("", metric))
    share, positives = newest.get((segment, "traffic_share")), newest.get((segment, "base_rate"))
    window = words.days(row["window_start"], row["window_end"]) if row else ""
    tiles = [
        Tile(
            "share of the rows",
            words.percent(share["value"]) if share else words.NOTHING,
            "",
            words.day(share["window_end"]) if share else "",
        )
    ]
    if row:
        value = words.number(row["value"], metric) if row["value"] is not None else "too few labels"
        tiles.append(Tile(words.metric_name(metric), value, words.interval(row["lower"], row["upper"], metric), window))
        tiles.append(Tile("rests on", words.count(row["labeled_rows"]), "", "labelled rows"))
    if row and whole and row["value"] is not None:
        tiles.append(
            Tile(
                "beside all rows",
                _gap_words(_gap(row, whole, metric), metric),
                "",
                f"{words.number(whole['value'], metric)} in all rows",
            )
        )
    if positives and positives["value"] is not None:
        tiles.append(
            Tile(
                "share of positives",
                words.percent(positives["value"]),
                words.interval(positives["lower"], positives["upper"], "base_rate"),
                window,
            )
        )
    open_ = troubles(incidents)
    worst = open_[0]["severity"] if open_ else "ok"
    status = (
        Status(worst, worst)
        if open_
        else Status("none", "too few labels")
        if not row or row["value"] is None
        else Status("ok", "no open incident")
    )
    features, drift_window = drifted(results, model, history, segment)
    return Segment(
        model,
        segment,
        _definition(segment),
        status,
        _verdict(row, whole, metric, len(open_)),
        tiles,
        history.chart(keys[0], series[keys[0]], incidents=incidents, height=200),
        history.chart(keys[1], series[keys[1]], title="Predictions a day", height=110),
        [line(i) for i in incidents],
        features,
        drift_window,
    )


def _definition(segment: str) -> str:
    """A segment in plain words."""
    parts = [f"{name} is {value}" for name, _, value in (part.partition("=") for part in segment.split(" & "))]
    return f"Rows in which {' and '.join(parts)}"


def _verdict(row: Row | None, whole: Row | None, metric: str, open_: int) -> str:
    said = [f"{words.counted(open_, 'incident')} {'is' if open_ == 1 else 'are'} open here."] if open_ else []
    if row is None or row["value"] is None:
        said.append("How well the model predicts here is not measured: too few labels.")
    elif whole is not None and whole["value"] is not None:
        behind = _gap(row, whole, metric)
        practical = PERFORMANCE_PRACTICAL[metric in SMALLER_IS_WORSE]
        how = "behind" if behind >= practical else "ahead of" if behind <= -practical else "close to"
        value = f"{words.number(row['value'], metric)} {words.interval(row['lower'], row['upper'], metric)}"
        said.append(f"{words.metric_name(metric)} is {value}, {how} all rows ({words.number(whole['value'], metric)}).")
    return " ".join(said)
