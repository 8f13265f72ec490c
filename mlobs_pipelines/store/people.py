"""Incidents as the nights found them, with what people said of them since."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from mlobs_pipelines.store.tables import INCIDENTS

SEVERITIES = ("info", "warning", "critical")
ABOUT_INCIDENTS = ("acknowledge", "silence", "resolve")


def newest(nights: pl.DataFrame) -> pl.DataFrame:
    """Of every incident the row of the newest night that knows it; schema ``INCIDENTS``."""
    return nights.sort("incident_id", "as_of").unique("incident_id", keep="last", maintain_order=True)


def with_people(incidents: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Set each incident's ``state`` by the last thing a person said of it; applying it twice changes nothing.

    An acknowledged incident that becomes more severe is open again. A silence ends with its date, seen from the
    incident's newest night. One that a person resolved and that is seen on a later night is open again.

    Args:
        incidents: newest row of each, schema ``INCIDENTS``.
        decisions: rows of the log in order, schema ``DECISIONS``.
    """
    said: dict[str, dict[str, Any]] = {}
    for row in decisions.filter(pl.col("action").is_in(ABOUT_INCIDENTS)).iter_rows(named=True):
        said[row["incident_id"]] = row
    if not said or not incidents.height:
        return incidents
    rows = [_overlaid(row, said.get(row["incident_id"])) for row in incidents.iter_rows(named=True)]
    return pl.DataFrame(rows, schema=INCIDENTS)


def _overlaid(incident: dict[str, Any], said: Mapping[str, Any] | None) -> dict[str, Any]:
    if said is None or incident["resolved_as_of"] is not None:
        return incident
    evidence = json.loads(said["evidence"] or "{}")
    if said["action"] == "resolve":
        on = said["as_of"]
        if incident["last_as_of"] <= on:
            return {**incident, "state": "resolved", "resolved_as_of": on}
        return {**incident, "state": "open"}
    if said["action"] == "silence":
        until = dt.date.fromisoformat(evidence["until"])
        return {**incident, "state": "silenced" if incident["as_of"] <= until else "open"}
    worse = SEVERITIES.index(incident["severity"]) > SEVERITIES.index(evidence.get("severity", incident["severity"]))
    return {**incident, "state": "open" if worse else "acknowledged"}
