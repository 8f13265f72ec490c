"""Schemas of the evaluation store's tables, columns in the order in which they are written and shown."""

from __future__ import annotations

import datetime as dt

import polars as pl

EPOCH = dt.date(1970, 1, 1)
"""Files and arrays say a date as the days since."""


def day_number(day: dt.date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


METRICS = pl.Schema(
    {
        "model": pl.String(),
        "version": pl.String(),
        "role": pl.String(),
        "family": pl.String(),
        "metric": pl.String(),
        "subject": pl.String(),
        "segment": pl.String(),
        "window_start": pl.Date(),
        "window_end": pl.Date(),
        "as_of": pl.Date(),
        "value": pl.Float64(),
        "lower": pl.Float64(),
        "upper": pl.Float64(),
        "rows": pl.Int64(),
        "labeled_rows": pl.Int64(),
        "baseline": pl.Float64(),
        "reference": pl.String(),
        "status": pl.String(),
        "error_bound": pl.Float64(),
        "run_id": pl.String(),
    }
)
"""One row per number. ``error_bound``: the largest distance of ``value`` to the exact one, from binning and from
fixed point; 0 is exact, null where there is no value."""

METRICS_KEY = (
    "model",
    "version",
    "role",
    "family",
    "metric",
    "subject",
    "segment",
    "window_start",
    "window_end",
    "as_of",
)
"""What identifies a row of ``metrics``, and its order within a night's file."""

RUNS = pl.Schema(
    {
        "run_id": pl.String(),
        "model": pl.String(),
        "arrival_date": pl.Date(),
        "started_at": pl.Datetime("us"),
        "finished_at": pl.Datetime("us"),
        "status": pl.String(),
        "rows_in": pl.Int64(),
        "rows_quarantined": pl.Int64(),
        "labels_in": pl.Int64(),
        "error": pl.String(),
    }
)
"""One row per model and night run."""

SIGNALS = pl.Schema(
    {
        "model": pl.String(),
        "role": pl.String(),
        "family": pl.String(),
        "metric": pl.String(),
        "subject": pl.String(),
        "segment": pl.String(),
        "window_start": pl.Date(),
        "window_end": pl.Date(),
        "as_of": pl.Date(),
        "value": pl.Float64(),
        "lower": pl.Float64(),
        "upper": pl.Float64(),
        "rows": pl.Int64(),
        "labeled_rows": pl.Int64(),
        "expected": pl.Float64(),
        "effect": pl.Float64(),
        "chance": pl.Float64(),
        "practical": pl.Float64(),
        "breach": pl.Boolean(),
        "clear": pl.Boolean(),
    }
)
"""One row per monitored number of a night: what was expected, how far it is off in the harmful direction (``effect``),
how far chance alone may take it (``chance``), and from where it matters (``practical``)."""

INCIDENTS = pl.Schema(
    {
        "incident_id": pl.String(),
        "model": pl.String(),
        "version": pl.String(),
        "opened_as_of": pl.Date(),
        "last_as_of": pl.Date(),
        "resolved_as_of": pl.Date(),
        "state": pl.String(),
        "severity": pl.String(),
        "kind": pl.String(),
        "subject": pl.String(),
        "segment": pl.String(),
        "title": pl.String(),
        "diagnosis": pl.String(),
        "recommended_action": pl.String(),
        "evidence": pl.String(),
        "since": pl.Date(),
        "until": pl.Date(),
        "metric": pl.String(),
        "value": pl.Float64(),
        "lower": pl.Float64(),
        "upper": pl.Float64(),
        "baseline": pl.Float64(),
        "threshold": pl.Float64(),
        "rows": pl.Int64(),
        "labeled_rows": pl.Int64(),
        "nights": pl.Int64(),
        "dedup_key": pl.String(),
        "as_of": pl.Date(),
    }
)
"""One row per incident and night on which it is known: open, or resolved not long ago.

``since``, ``until``: first and last event date that it is about. ``last_as_of``: last night on which it was seen.
``nights``: nights on which it was seen. ``threshold``: the value from which the leading metric counts as off.
``dedup_key``: the same for every episode of one trouble. ``evidence``: JSON, see ``judge.incidents``."""

CAUSES = pl.Schema(
    {
        "incident_id": pl.String(),
        "rank": pl.Int64(),
        "kind": pl.String(),
        "subject": pl.String(),
        "segment": pl.String(),
        "share": pl.Float64(),
        "lower": pl.Float64(),
        "upper": pl.Float64(),
        "detail": pl.String(),
        "model": pl.String(),
        "as_of": pl.Date(),
    }
)
"""First suspects of an incident, the likeliest first, as of each night on which the incident was seen."""

COMPARISONS = pl.Schema(
    {
        "model": pl.String(),
        "champion": pl.String(),
        "challenger": pl.String(),
        "as_of": pl.Date(),
        "window_start": pl.Date(),
        "window_end": pl.Date(),
        "metric": pl.String(),
        "segment": pl.String(),
        "champion_value": pl.Float64(),
        "challenger_value": pl.Float64(),
        "difference": pl.Float64(),
        "lower": pl.Float64(),
        "upper": pl.Float64(),
        "rows": pl.Int64(),
        "verdict": pl.String(),
    }
)
"""Two versions on the same rows. ``difference``: challenger less champion, with its paired interval; ``verdict`` tells
of the challenger: better, worse, non_inferior or inconclusive."""

DECISIONS = pl.Schema(
    {
        "decision_id": pl.String(),
        "model": pl.String(),
        "version": pl.String(),
        "as_of": pl.Date(),
        "action": pl.String(),
        "reason": pl.String(),
        "evidence": pl.String(),
        "mode": pl.String(),
        "status": pl.String(),
        "decided_at": pl.Datetime("us"),
        "actor": pl.String(),
        "previous_hash": pl.String(),
        "hash": pl.String(),
        "incident_id": pl.String(),
        "seq": pl.Int64(),
    }
)
"""The rows of the log, in order: what the loop decided and what people did. A change of status is a new row.

Beside the loop's actions (retrain, validate, promote, hold, roll_back, alert, fix_data) there are those of people about an
incident: acknowledge, silence, resolve."""

TABLES = {
    "metrics": METRICS,
    "signals": SIGNALS,
    "incidents": INCIDENTS,
    "causes": CAUSES,
    "comparisons": COMPARISONS,
    "runs": RUNS,
    "explanations": METRICS,
}
"""Tables that are files of one night each, and their schemas. ``explanations`` are rows of ``metrics`` too, of the family
explanation alone: they have files of their own, for they may come on a later night than the others."""
