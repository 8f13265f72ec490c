"""Fairness: which groups, how many, how differently they fare, how sure that is, and what was decided about it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlobs_pipelines.engine import sql
from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.bars import point
from mlobs_pipelines.report.charts.scale import Scale
from mlobs_pipelines.report.read import Results, Row
from mlobs_pipelines.report.views.decisions import Entry, entries
from mlobs_pipelines.report.views.series import FINAL, History, Key
from mlobs_pipelines.report.views.status import IncidentLine, Status, line, troubles
from mlobs_pipelines.spec.model import ModelSpec

GAPS = ("demographic_parity_difference", "demographic_parity_ratio", "equal_opportunity_difference",
        "equalized_odds_difference", "predictive_parity_difference")  # fmt: skip
OF_GROUPS = (
    "recall",
    "false_positive_rate",
    "precision",
    "accuracy",
    "roc_auc",
    "f1_macro",
    "mean_absolute_error",
    "mean_error",
)
SHOWN_METRICS = 3
MATTERS = 0.05
"""A gap in the rate of favorable decisions from which it is looked at; the monitors' own limit."""


@dataclass(frozen=True)
class Gap:
    """A gap between groups."""

    name: str
    value: str
    interval: str
    window: str
    note: str


@dataclass(frozen=True)
class Group:
    """A group beside the reference group."""

    name: str
    segment: str
    reference: bool
    rows: str
    selected: str
    selected_interval: str
    gap: str
    gap_interval: str
    mark: Markup
    off: bool
    metrics: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Attribute:
    """An attribute whose groups are compared."""

    name: str
    sentence: str
    status: Status
    gaps: Sequence[Gap]
    groups: Sequence[Group]
    metric_names: Sequence[str]
    selected_name: str
    trend: Markup | None


@dataclass(frozen=True)
class Fairness:
    """What the page says."""

    model: str
    verdict: str
    attributes: Sequence[Attribute]
    favorable: str
    """Whether it is good for a person to be selected, in a sentence."""
    incidents: Sequence[IncidentLine]
    log: Sequence[Entry]
    window: str


def fairness_view(results: Results, model: str, now: dt.datetime) -> Fairness:
    """Every attribute whose groups must be treated alike."""
    del now
    incidents = [i for i in results.incidents(model) if i["kind"] == "fairness"]
    history = History(results, model, incidents)
    rows = _newest(results, model, history)
    spec = results.spec(model)
    names = sorted({row["subject"] for row in rows if row["subject"]})
    references = dict(spec.fairness.reference_groups) if spec else {}
    trends = history.read([key for name in names for key in [_worst_key(name, rows)] if key])
    attributes = []
    for name in names:
        key = _worst_key(name, rows)
        trend = (
            history.chart(key, trends[key], incidents=[i for i in incidents if i["subject"] == name]) if key else None
        )
        attributes.append(_attribute(name, [r for r in rows if r["subject"] == name], references.get(name), trend))
    ids = {i["incident_id"] for i in incidents}
    log = entries([r for r in results.entries(model) if r["incident_id"] in ids])
    return Fairness(
        model,
        _verdict(attributes, len(troubles(incidents))),
        attributes,
        _favorable(spec) if spec else "",
        [line(i) for i in incidents],
        log,
        _window(rows),
    )


def _favorable(spec: ModelSpec) -> str:
    outcome = spec.fairness.favorable_outcome
    if spec.task != "binary":
        return ""
    how = "is" if outcome == spec.positive_class else "is not"
    return f"Selected is who gets the decision {spec.positive_class}; that {how} favorable to a person (fairness.favorable_outcome: {outcome})."


def _newest(results: Results, model: str, history: History) -> list[Row]:
    """The newest row of each number: over the long window, and final where it rests on labels."""
    return results.rows(
        "select metric, subject, segment, window_start, window_end, value, lower, upper, rows, labeled_rows, status "
        f"from latest_metrics where model = {sql.text(model)} and role = {sql.text(history.role)} and version = '' "
        f"and family = 'fairness' and window_days = {history.lengths[1]} order by subject, segment, metric"
    )


def _window(rows: Sequence[Row]) -> str:
    parity = [r for r in rows if r["metric"] == "selection_rate"] or rows
    return words.days(parity[0]["window_start"], parity[0]["window_end"]) if parity else ""


def _worst_key(attribute: str, rows: Sequence[Row]) -> Key | None:
    """The group whose decisions differ most from the reference group's."""
    mine = [
        r
        for r in rows
        if r["subject"] == attribute
        and r["metric"] == "demographic_parity_difference"
        and r["segment"]
        and r["value"] is not None
    ]
    if not mine:
        return None
    worst = max(mine, key=lambda r: abs(r["value"]))
    return Key("fairness", "demographic_parity_difference", attribute, worst["segment"])


def _attribute(name: str, rows: Sequence[Row], reference: str | None, trend: Markup | None) -> Attribute:
    by = {(r["segment"], r["metric"]): r for r in rows}
    segments = sorted({r["segment"] for r in rows if r["segment"]})
    compared = {s for s in segments if (s, "demographic_parity_difference") in by}
    if reference is None and len(segments) - len(compared) == 1:
        reference = next(s for s in segments if s not in compared).partition("=")[2]
    metrics = [m for m in OF_GROUPS if any(r["metric"] == m and r["segment"] for r in rows)][:SHOWN_METRICS]
    values = [
        v
        for s in compared
        for v in (by[s, "demographic_parity_difference"][n] for n in ("value", "lower", "upper"))
        if v is not None
    ]
    reach = max([abs(v) for v in values] + [MATTERS])
    scale = Scale(-reach, reach, 0)
    groups = [_group(s, by, reference, scale, metrics) for s in segments]
    off = [g for g in groups if g.off]
    unknown = [s for s in compared if by[s, "demographic_parity_difference"]["value"] is None]
    if off:
        sentence = f"{words.listed([g.name for g in off])} {'differs' if len(off) == 1 else 'differ'} from {reference or 'the reference group'} by more than chance and {words.number(MATTERS, 'demographic_parity_difference').lstrip('+')}."
        status = Status("warning", "differs")
    elif unknown or not compared:
        sentence = (
            f"{words.counted(len(unknown), 'group')} {'has' if len(unknown) == 1 else 'have'} too few rows to compare."
            if unknown
            else "Decisions are not compared: there are no two groups with enough rows."
        )
        status = Status("none", "too few rows")
    else:
        sentence = f"No group differs from {reference or 'the reference group'} by more than chance and {words.number(MATTERS, 'demographic_parity_difference').lstrip('+')}."
        status = Status("ok", "alike")
    return Attribute(
        name,
        sentence,
        status,
        [_gap(by["", m]) for m in GAPS if ("", m) in by],
        groups,
        [words.metric_name(m) for m in metrics],
        "selected, less the reference group",
        trend,
    )


def _group(
    segment: str, by: Mapping[tuple[str, str], Row], reference: str | None, scale: Scale, metrics: Sequence[str]
) -> Group:
    name = segment.partition("=")[2]
    gap, selected = by.get((segment, "demographic_parity_difference")), by.get((segment, "selection_rate"))
    any_row = selected or gap or next(r for (s, _), r in by.items() if s == segment)
    value = gap["value"] if gap else None
    off = (
        gap is not None
        and value is not None
        and abs(value) >= MATTERS
        and (gap["lower"] is None or gap["lower"] > 0 or gap["upper"] < 0)
    )
    known = [(m, by.get((segment, m))) for m in metrics]
    return Group(
        name,
        segment,
        name == reference,
        words.count(any_row["rows"]),
        words.percent(selected["value"]) if selected and selected["value"] is not None else words.NOTHING,
        words.interval(selected["lower"], selected["upper"], "selection_rate") if selected else "",
        words.number(value, "demographic_parity_difference")
        if gap is not None and value is not None
        else "compared with"
        if name == reference
        else "too few rows",
        words.interval(gap["lower"], gap["upper"], "demographic_parity_difference") if gap else "",
        point(
            value,
            scale,
            lower=gap["lower"] if gap else None,
            upper=gap["upper"] if gap else None,
            kind="off" if off else "",
        ),
        off,
        [
            (
                words.metric_name(m),
                f"{words.number(r['value'], m)} {words.interval(r['lower'], r['upper'], m)}".strip()
                if r and r["value"] is not None
                else "too few labels",
            )
            for m, r in known
        ],
    )


def _gap(row: Row) -> Gap:
    metric = row["metric"]
    shown = (
        words.number(row["value"], metric)
        if row["value"] is not None
        else "too few labels"
        if metric not in GAPS[:2]
        else "too few rows"
    )
    note = "" if row["status"] in FINAL or metric in GAPS[:2] else "not final"
    return Gap(
        words.metric_name(metric),
        shown,
        words.interval(row["lower"], row["upper"], metric),
        words.days(row["window_start"], row["window_end"]),
        note,
    )


def _verdict(attributes: Sequence[Attribute], open_: int) -> str:
    if not attributes:
        return "No groups are compared: name their columns under fairness.attributes in the model's file."
    said = [f"{words.counted(open_, 'incident')} {'is' if open_ == 1 else 'are'} open."] if open_ else []
    off = [a for a in attributes if a.status.kind == "warning"]
    said += [f"By {a.name}: {a.sentence}" for a in off]
    alike = [a.name for a in attributes if a.status.kind == "ok"]
    if alike:
        said.append(f"By {words.listed(alike)}, decisions are alike.")
    unknown = [a.name for a in attributes if a.status.kind == "none"]
    if unknown:
        said.append(f"By {words.listed(unknown)} it is not known.")
    return " ".join(said)
