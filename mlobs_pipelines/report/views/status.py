"""In what state a model is, in a word; and an incident, in a line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from mlobs_pipelines.report import words
from mlobs_pipelines.report.read import Row

TROUBLE = ("open", "acknowledged")
"""States of an incident that ask for somebody: not the silenced ones, and not those that are over."""


@dataclass(frozen=True)
class Status:
    """``kind`` chooses shape and colour: critical, failed, warning, info, ok, or none for what was not measured."""

    kind: str
    word: str


NOT_MEASURED = Status("none", "not measured")


@dataclass(frozen=True)
class IncidentLine:
    """An incident in a list."""

    id: str
    model: str
    title: str
    severity: str
    state: str
    kind: str
    segment: str
    since: str
    suspect: str


def line(row: Row, suspects: Sequence[Row] = ()) -> IncidentLine:
    """An incident as lists show it."""
    first = suspects[0] if suspects else None
    return IncidentLine(
        id=row["incident_id"],
        model=row["model"],
        title=row["title"],
        severity=row["severity"] if row["severity"] in ("critical", "warning", "info") else "info",
        state=state_words(row),
        kind=words.kind_name(row["kind"]),
        segment=row["segment"],
        since=words.day(row["since"] or row["opened_as_of"]),
        suspect=suspect(first) if first else "",
    )


def state_words(row: Row) -> str:
    """An incident's state; of one that is over, since when."""
    if row["state"] == "resolved":
        return f"resolved {words.day(row['resolved_as_of'])}"
    return str(row["state"])


def suspect(cause: Row) -> str:
    """A cause in a few words."""
    name = cause["segment"] or cause["subject"]
    return f"{name}: {cause['detail']}" if name else str(cause["detail"])


def troubles(incidents: Sequence[Row]) -> list[Row]:
    """Incidents above info that ask for somebody."""
    return [i for i in incidents if i["state"] in TROUBLE and i["severity"] != "info"]


def status_of(health: Row | None, incidents: Sequence[Row]) -> Status:
    """The state of a model.

    Args:
        health: its row of ``model_health``; None before its first night.
        incidents: its incidents.
    """
    if health is None:
        return Status("none", "never run")
    if health["last_run_status"] == "failed":
        return Status("failed", "run failed")
    severities = {i["severity"] for i in troubles(incidents)}
    for severity in ("critical", "warning"):
        if severity in severities:
            return Status(severity, severity)
    if health["headline_value"] is None:
        return Status("none", "performance not measured")
    if health["headline_status"] == "provisional":
        return Status("none", "labels not final")
    return Status("ok", "well")


def newly_opened(incidents: Sequence[Row], last_night: dt.date | None) -> list[Row]:
    """Incidents that the last night opened."""
    return [i for i in incidents if last_night is not None and i["opened_as_of"] == last_night]
