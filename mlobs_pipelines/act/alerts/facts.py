"""Incidents, their causes and decisions → the items of a message. Pure: rows in, plain data out; never a logged row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlobs_pipelines.act.alerts.message import Item, plain
from mlobs_pipelines.act.alerts.news import News
from mlobs_pipelines.store.addresses import path_of

Row = Mapping[str, Any]

SUSPECTS = 3
"""As many causes as a phone's first screen has room for."""

PEOPLE = ("acknowledge", "silence", "resolve")


def item(
    told: News, *, causes: Sequence[Row], decisions: Sequence[Row], base: str, environment: str, model: str
) -> Item:
    """One incident as a message tells it.

    Args:
        told: the incident and what is said of it.
        causes: rows of ``CAUSES`` of this incident, by rank.
        decisions: newest row of each decision about this incident.
        base: where the pages are served.
        environment: what tells this installation from others, part of the dedup key; may be empty.
        model: the model's name.
    """
    row = told.row
    known = told.known
    key = f"{environment}:{known.dedup_key}" if environment else known.dedup_key
    link = base + path_of(model, "incidents", told.incident_id)
    if row is None:
        return Item(
            incident_id=plain(told.incident_id),
            dedup_key=key,
            status=told.status,
            severity=known.severity,
            kind=known.kind,
            title=plain(f"{known.title} (no longer found: its nights were run again)"),
            times_told=known.times,
            url=link,
        )
    evidence = _evidence(row["evidence"])
    window = _window(evidence, row)
    return Item(
        incident_id=plain(told.incident_id),
        dedup_key=key,
        status=told.status,
        severity=row["severity"],
        kind=plain(row["kind"]),
        title=plain(row["title"]),
        subject=plain(row["subject"] or "", 100),
        segment=plain(row["segment"] or "", 120),
        version=plain(row["version"] or "", 60),
        metric=plain(row["metric"] or "", 80),
        **{name: _number(row[name]) for name in ("value", "lower", "upper", "baseline", "threshold")},
        rows=row["rows"],
        labeled_rows=row["labeled_rows"],
        window_start=window[0],
        window_end=window[1],
        since=str(row["since"] or ""),
        nights=row["nights"] or 0,
        acknowledged=row["state"] == "acknowledged",
        times_told=known.times,
        fingerprint=plain(evidence.get("fingerprint") or ""),
        recommended_action=plain(row["recommended_action"] or "", 40),
        advice=plain(evidence.get("advice") or "", 400),
        suspects=tuple(_suspect(cause) for cause in causes[:SUSPECTS]),
        same_time=tuple(
            plain(f"{change.get('what', '')}: {change.get('detail', '')}")
            for change in evidence.get("same_time", [])[:SUSPECTS]
        ),
        decisions=tuple(decided(row) for row in decisions if row["action"] not in PEOPLE),
        url=link,
    )


def decided(row: Row) -> str:
    """A decision in one line, with the command to agree where it waits for a person."""
    text = f"{row['action']}: {row['status']}. {row['reason'] or ''}"
    if row["status"] != "pending":
        return plain(text, 300)
    return f"{plain(text, 240)} Agree with: mlobs approve {plain(row['decision_id'], 160)}"


def waiting(decisions: Iterable[Row], told: Iterable[str]) -> tuple[str, ...]:
    """Decisions of the model that wait for a person and belong to none of the incidents that are told."""
    about = set(told)
    return tuple(decided(row) for row in decisions if row["status"] == "pending" and row["incident_id"] not in about)


def _suspect(cause: Row) -> str:
    """``segment country=NL (83 % of the change)``."""
    what = " in ".join(plain(part, 100) for part in (cause["subject"], cause["segment"]) if part)
    share = cause["share"]
    part = f" ({100 * share:.0f} % of the change)" if share is not None and math.isfinite(share) else ""
    return f"{plain(cause['kind'], 40)} {what or plain(cause['detail'] or '', 100)}".strip() + part


def _window(evidence: Mapping[str, Any], row: Row) -> tuple[str, str]:
    """Event dates that the leading number is over."""
    for member in evidence.get("members", []):
        if (member.get("metric"), member.get("segment"), member.get("value")) == (
            row["metric"],
            row["segment"],
            row["value"],
        ):
            return plain(member.get("window_start", ""), 10), plain(member.get("window_end", ""), 10)
    return "", str(row["until"] or "")


def _evidence(text: str | None) -> Mapping[str, Any]:
    found = json.loads(text or "{}")
    return found if isinstance(found, dict) else {}


def _number(value: float | None) -> float | None:
    """A number that JSON can carry."""
    return value if value is not None and math.isfinite(value) else None
