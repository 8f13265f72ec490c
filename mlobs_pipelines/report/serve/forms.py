"""What a form says -> what is written into the log, and where the reader goes next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from mlobs_pipelines.act import people
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.report.addresses import path_of
from mlobs_pipelines.store.layout import Home

ACTIONS = ("acknowledge", "silence", "resolve", "approve", "reject", "roll_back")


def carry_out(home: Home, action: str, fields: Mapping[str, str], actor: str) -> str:
    """Do what a form asks for; gives the path of the page to show next. The snapshot is not published.

    Args:
        home: the installation.
        action: one of ``ACTIONS``.
        fields: ``id``, ``comment``, and ``until`` of a silence.
        actor: who asks.

    Raises:
        UserError: it cannot be done; the log is as it was.
    """
    name, comment = fields.get("id", ""), fields.get("comment", "")
    if action in ("acknowledge", "resolve"):
        deed = people.acknowledge if action == "acknowledge" else people.resolve
        row = deed(home, name, comment=comment, actor=actor, snapshot=False)
    elif action == "silence":
        row = people.silence(
            home, name, until=_date(fields.get("until", "")), comment=comment, actor=actor, snapshot=False
        )
    elif action == "roll_back":
        row = people.roll_back(home, name, comment=comment, actor=actor, snapshot=False)
        return path_of(row["model"], "decisions")
    else:
        deed = people.approve if action == "approve" else people.reject
        row = deed(home, name, comment=comment, actor=actor, snapshot=False)
        return path_of(row["model"], "decisions")
    return path_of(row["model"], "incidents", row["incident_id"])


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UserError(f"until: {text[:40]!r} is no date; write it as 2026-03-31") from None
