"""What is new about a model's incidents since a channel was last told. Pure: rows and memory in, news and memory out.

- An incident is told once when it opens, when its severity rises, when its kind or the recommended action changes, and
  when it is over; never again because a night was run a second time.
- While nobody has acknowledged a critical one it is told again: daily for a week, then weekly.
- Acknowledged or silenced, it is not repeated; a higher severity breaks through either.
- Nights of the past never page: what is open then is remembered as known. What is still open a day later, on a night of
  the present, is told once, so that nothing is lost when nights are made up for.
- That an incident is over is told whenever its opening was, whatever the night.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlobs_pipelines.act.alerts.message import SEVERITIES

RECENT = dt.timedelta(days=2)
"""A night older than this is of the past."""

QUIET = dt.timedelta(hours=20)
"""How long what is known from the past stays untold: less than a day, for nights do not start to the minute."""

DAILY_TIMES = 7
"""So many times a critical incident is told daily; then weekly."""

FORGOTTEN = dt.timedelta(days=60)
"""After this what is over is forgotten."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Known:
    """What one channel knows of one incident. ``told``: whether it was ever sent, and not just remembered."""

    dedup_key: str
    severity: str
    kind: str
    title: str
    action: str
    night: str
    at: str
    told: bool = False
    times: int = 0
    acknowledged: bool = False
    over: bool = False


@dataclass(frozen=True)
class News:
    """One incident and what is to be said of it. ``row`` is None for one that no night knows any more."""

    incident_id: str
    status: str
    known: Known
    row: Row | None


def news(
    incidents: Iterable[Row],
    known: Mapping[str, Known],
    *,
    least: str,
    night: dt.date,
    today: dt.date,
    now: dt.datetime,
) -> tuple[list[News], dict[str, Known]]:
    """What to say, and what the channel knows once it is said.

    Args:
        incidents: rows of ``INCIDENTS``, each incident once, with what people said of it.
        known: by incident id, from the last time.
        least: severity below which an incident is not told.
        night: the night that was judged.
        today: the present date in the model's timezone.
        now: the present time, for what was remembered and not told.
    """
    recent = night >= today - RECENT
    said: list[News] = []
    after = dict(known)
    present = {str(row["incident_id"]): row for row in incidents}
    for name, row in sorted(present.items()):
        before = known.get(name)
        status = _status(row, before, least, night, today, now, recent)
        state = _known(row, before, status, night, now)
        if status:
            said.append(News(name, status, state, row))
        if status or (before is not None and recent) or (before is None and row["resolved_as_of"] is None):
            after[name] = state
    for name, before in known.items():
        if name in present or before.over:
            continue
        if not before.told:
            del after[name]
            continue
        after[name] = replace(before, over=True, night=max(before.night, night.isoformat()), at=now.isoformat())
        said.append(News(name, "resolved", after[name], None))
    oldest = (night - FORGOTTEN).isoformat()
    kept = {name: state for name, state in after.items() if not (state.over and state.night < oldest)}
    return said, kept


def _status(
    row: Row, before: Known | None, least: str, night: dt.date, today: dt.date, now: dt.datetime, recent: bool
) -> str:
    """What to say of an incident; empty: nothing."""
    if row["resolved_as_of"] is not None:
        return "resolved" if before is not None and before.told and not before.over else ""
    if not recent or _rank(row["severity"]) < _rank(least):
        return ""
    quiet = row["state"] in ("acknowledged", "silenced")
    fresh = row["opened_as_of"] >= today - RECENT
    if before is None or before.over:
        return "firing" if (fresh or before is not None) and not quiet else ""
    if _rank(row["severity"]) > _rank(before.severity):
        return "escalated"
    if before.told:
        return _more(row, before, night, quiet)
    waited = now - dt.datetime.fromisoformat(before.at) >= QUIET
    return "firing" if (fresh or waited) and not quiet else ""


def _more(row: Row, before: Known, night: dt.date, quiet: bool) -> str:
    """What to say of an open incident that was told before and is no worse."""
    if row["state"] == "acknowledged" and not before.acknowledged:
        return "acknowledged"
    if (row["kind"], row["recommended_action"]) != (before.kind, before.action) and row["state"] != "silenced":
        return "updated"
    pause = 1 if before.times <= DAILY_TIMES else 7
    due = (night - dt.date.fromisoformat(before.night)).days >= pause
    return "firing" if due and not quiet and row["severity"] == "critical" else ""


def _known(row: Row, before: Known | None, status: str, night: dt.date, now: dt.datetime) -> Known:
    over = row["resolved_as_of"] is not None
    again = before is None or before.over
    paged = status in ("firing", "escalated")
    loud = bool(status) or (before is not None and before.told and not (again and not over))
    told_now = bool(status) and status != "acknowledged"
    return Known(
        dedup_key=str(row["dedup_key"]),
        severity=str(row["severity"]),
        kind=str(row["kind"]),
        title=str(row["title"]),
        action=str(row["recommended_action"]),
        night=max(night.isoformat(), before.night if before else "") if told_now or before is None else before.night,
        at=now.isoformat() if told_now or before is None else before.at,
        told=loud,
        times=(0 if before is None or before.over else before.times) + paged,
        acknowledged=row["state"] == "acknowledged",
        over=over,
    )


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity)
