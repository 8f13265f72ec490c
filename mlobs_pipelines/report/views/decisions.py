"""The log of decisions: what waits for a person, what was decided, by whom and on what grounds."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import polars as pl

from mlobs_pipelines.report import words
from mlobs_pipelines.report.read import Results, Row
from mlobs_pipelines.report.views.status import Status
from mlobs_pipelines.store.people import ABOUT_INCIDENTS

SHOWN = 200
"""Newest rows of the log that the page shows."""


@dataclass(frozen=True)
class Waiting:
    """A decision that a person must approve or reject."""

    id: str
    model: str
    action: str
    version: str
    reason: str
    since: str
    incident_id: str
    linked: bool
    """Whether the incident has a page."""


@dataclass(frozen=True)
class Entry:
    """A row of the log."""

    seq: int
    at: str
    action: str
    status: Status
    version: str
    reason: str
    comment: str
    actor: str
    incident_id: str
    id: str
    hash: str
    grounds: Sequence[tuple[str, str]]
    linked: bool


@dataclass(frozen=True)
class Decisions:
    """What the page says."""

    model: str
    verdict: str
    waiting: Sequence[Waiting]
    entries: Sequence[Entry]
    left_out: int
    head: str


_STATUS = {
    "pending": Status("waits", "waits for a person"),
    "approved": Status("info", "approved"),
    "running": Status("info", "running"),
    "rejected": Status("none", "rejected"),
    "failed": Status("failed", "failed"),
    "done": Status("ok", "done"),
}


ASKED = Status("info", "asked for")


def waiting(results: Results, model: str | None = None) -> list[Waiting]:
    """Decisions whose newest row is pending, the oldest first."""
    newest = results.log.unique("decision_id", keep="last", maintain_order=True).filter(pl.col("status") == "pending")
    return [
        Waiting(
            row["decision_id"],
            row["model"],
            words.action_name(row["action"]),
            row["version"],
            words.sentence(row["reason"]),
            words.day(row["as_of"]),
            row["incident_id"],
            row["incident_id"] in known_incidents(results, row["model"]),
        )
        for row in newest.iter_rows(named=True)
        if model in (None, row["model"])
    ]


def decisions_view(results: Results, model: str, now: dt.datetime) -> Decisions:
    """The model's part of the log, the newest first."""
    del now
    rows = results.entries(model)
    pending = waiting(results, model)
    people = {row["actor"] for row in rows} - {"mlobs", ""}
    verdict = (
        f"{words.counted(len(pending), 'decision')} wait{'s' if len(pending) == 1 else ''} for a person."
        if pending
        else "Nothing waits for a person."
    )
    if rows:
        verdict += f" {words.counted(len(rows), 'entry', 'entries')} since {words.day(rows[0]['as_of'])}, by mlobs and {words.counted(len(people), 'person', 'people')}."
    head = results.log.row(-1, named=True)["hash"] if results.log.height else ""
    known = known_incidents(results, model)
    return Decisions(model, verdict, pending, entries(rows[-SHOWN:], known), max(len(rows) - SHOWN, 0), head)


def decided(row: Row) -> str:
    """What was decided last, in two words; of what people do the act alone."""
    what = words.action_name(row["action"])
    return what if row["action"] in ABOUT_INCIDENTS else f"{what}: {row['status']}"


def champion(rows: Sequence[Row]) -> Row | None:
    """The row that made the champion of now one: the last promotion or roll-back that is done; None if the loop made none."""
    made = [row for row in rows if row["action"] in ("promote", "roll_back") and row["status"] == "done"]
    return made[-1] if made else None


def known_incidents(results: Results, model: str) -> set[str]:
    """Incidents of a model that have a page."""
    return {row["incident_id"] for row in results.incidents(model)}


def entries(rows: Sequence[Row], known: Collection[str] = ()) -> list[Entry]:
    """Rows of the log, the newest first; of a decision that was settled since, that it had been asked for."""
    found: list[Entry] = []
    later: set[str] = set()
    for row in reversed(rows):
        shown = entry(row, known)
        found.append(replace(shown, status=ASKED) if row["status"] == "pending" and shown.id in later else shown)
        later.add(shown.id)
    return found


def entry(row: Row, known: Collection[str] = ()) -> Entry:
    """A row of the log as it is shown; ``known``: incidents that have a page."""
    try:
        grounds = json.loads(row["evidence"] or "{}")
    except ValueError:
        grounds = {}
    comment = str(grounds.pop("comment", "")) if isinstance(grounds, dict) else ""
    shown = grounds.items() if isinstance(grounds, dict) else ()
    return Entry(
        row["seq"],
        f"{row['decided_at']:%Y-%m-%d %H:%M}",
        words.action_name(row["action"]),
        _STATUS.get(row["status"], Status("info", str(row["status"]))),
        row["version"],
        "" if row["action"] in ABOUT_INCIDENTS and comment else words.sentence(row["reason"]),
        comment,
        row["actor"],
        row["incident_id"],
        row["decision_id"],
        row["hash"],
        [(str(name).replace("_", " "), _ground(value)) for name, value in shown],
        row["incident_id"] in known,
    )


def _ground(value: object) -> str:
    text = (
        words.plain(value)
        if isinstance(value, float)
        else value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False)
    )
    return text if len(text) <= 300 else f"{text[:299]}…"
