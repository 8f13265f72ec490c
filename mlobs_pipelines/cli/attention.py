"""What waits for a person: open incidents, the worst first, and decisions with the command that settles them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import polars as pl

from mlobs_pipelines.act.alerts.message import SEVERITIES, plain
from mlobs_pipelines.act.people import incidents
from mlobs_pipelines.cli.incident import headline
from mlobs_pipelines.store.journal import current, decisions
from mlobs_pipelines.store.layout import Home

INCIDENT = ("incident_id", "severity", "state", "kind", "since", "segment", "title", "recommended_action")
DECISION = ("decision_id", "action", "version", "as_of", "reason")

Rows = dict[str, list[dict[str, Any]]]


def open_incidents(home: Home) -> Rows:
    """Of each model its incidents that are not over, the worst first; those that people silenced last."""
    if not home.results.exists():
        return {}
    found: Rows = defaultdict(list)
    rows = incidents(home, condition="resolved_as_of is null").filter(pl.col("resolved_as_of").is_null()).to_dicts()
    for row in sorted(rows, key=_urgency):
        found[row["model"]].append({name: row[name] for name in INCIDENT})
    return found


def pending_decisions(home: Home) -> Rows:
    """Of each model the decisions that wait for a person, the oldest first."""
    found: Rows = defaultdict(list)
    for row in current(decisions(home)).filter(pl.col("status") == "pending").iter_rows(named=True):
        command = f'mlobs approve {row["decision_id"]} -m "…"'
        found[row["model"]].append({**{name: row[name] for name in DECISION}, "command": command})
    return found


def render(rows: list[dict[str, Any]]) -> list[str]:
    """Lines about ``rows`` of the health table that have ``incidents`` and ``pending``."""
    lines = []
    for row in sorted((row for model in rows for row in model.get("incidents", ())), key=_urgency):
        state = "" if row["state"] == "open" else f", {row['state']}"
        lines.append(f"  {row['severity']:<8}  {row['since']}  {row['kind']}: {headline(row)}{state}")
        lines.append(f"            mlobs explain {plain(row['incident_id'])}")
    waiting = []
    for row in (row for model in rows for row in model.get("pending", ())):
        waiting.append(f"  {row['action']}: {plain(row['reason'])}")
        waiting.append(f"            {plain(row['command'])}")
    return [*(["Incidents", *lines] if lines else []), *(["Decisions that wait for you", *waiting] if waiting else [])]


def _urgency(row: dict[str, Any]) -> tuple[bool, int, str, str]:
    severity = SEVERITIES.index(row["severity"]) if row["severity"] in SEVERITIES else 0
    return row["state"] == "silenced", -severity, str(row["since"]), row["incident_id"]
