"""What a form says -> what is written into the log, and where the reader goes next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from mlobs_pipelines.act import people
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store.addresses import path_of
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
    if action == "silence":
        until = _date(fields.get("until", ""))
        row = people.silence(home, name, until=until, comment=comment, actor=actor, snapshot=False)
    else:
        row = _DEEDS[action](home, name, comment=comment, actor=actor, snapshot=False)
    if action in ("acknowledge", "silence", "resolve"):
        return path_of(row["model"], "incidents", row["incident_id"])
    return path_of(row["model"], "decisions")


_DEEDS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "acknowledge": people.acknowledge,
    "resolve": people.resolve,
    "approve": people.approve,
    "reject": people.reject,
    "roll_back": people.roll_back,
}


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UserError(f"until: {text[:40]!r} is no date; write it as 2026-03-31") from None
