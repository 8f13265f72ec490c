"""What is in the outbox, as a person reads it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from mlobs_pipelines.act.alerts import outbox
from mlobs_pipelines.act.alerts.channels import channels
from mlobs_pipelines.act.alerts.outbox import Envelope
from mlobs_pipelines.act.alerts.wording import subject
from mlobs_pipelines.spec.load import load_all
from mlobs_pipelines.store.layout import Home

LAST = 20
"""As many messages that are done are shown."""


def listed(home: Home, model: str | None = None) -> list[dict[str, Any]]:
    """What waits, then what was delivered or given up last; without what went along with a newer message."""
    waiting, unreadable = outbox.pending(home)
    done = [e for e in outbox.finished(home) if not e.note.startswith(outbox.SUPERSEDED)]
    rows = [_row(e) for e in waiting if model in (None, e.message.model)]
    rows += [_row(e) for e in done if model in (None, e.message.model)][:LAST]
    return rows + [{"id": name, "state": "unreadable", "note": "move it away"} for name in unreadable]


def misunderstood(home: Home, model: str | None = None) -> list[str]:
    """Entries of ``alerts`` in the models' files that are no channel."""
    specs, _ = load_all(home.models)
    return [
        f"{name}: {problem}"
        for name, spec in sorted(specs.items())
        if model in (None, name)
        for problem in channels(spec)[1]
    ]


def render(rows: list[dict[str, Any]]) -> str:
    """The list as text: what and of which night, then where to and how that went."""
    lines = []
    for row in rows:
        if row["state"] == "unreadable":
            lines.append(f"unreadable  {row['id']}: {row['note']}")
            continue
        tried = f", tried {row['attempts']} time{'s' if row['attempts'] != 1 else ''}" if row["attempts"] else ""
        when = f", next {row['when']}" if row["state"] == "pending" else f" {row['when']}"
        note = f": {row['note']}" if row["note"] else ""
        lines.append(f"{row['state']:<10}  {row['night']}  {row['what']}\n{'':12}{row['channel']}{tried}{when}{note}")
    return "\n".join(lines) or "the outbox is empty"


def _row(envelope: Envelope) -> dict[str, Any]:
    message = envelope.message
    when = envelope.done_at or envelope.next_attempt_at
    return {
        "id": envelope.id,
        "state": envelope.state,
        "model": message.model,
        "night": message.night,
        "status": message.status,
        "severity": message.severity,
        "channel": envelope.label,
        "what": subject(message),
        "incidents": [item.incident_id for item in message.items],
        "attempts": envelope.attempts + (envelope.state == "delivered"),
        "when": f"{when.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC",
        "note": envelope.note,
    }
