"""What people do: acknowledge, silence or resolve an incident, approve or reject a decision. Each is an entry of the log.

An incident or decision is called by its name or by any part of it that no other one has. What was said is in the log
when a function returns. The snapshot is published after that, so that queries see it, too; that copies all of it, so
whoever cannot wait says ``snapshot=False`` and publishes later.
"""

from __future__ import annotations

import datetime as dt
import getpass
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mlobs_pipelines.engine import sql
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.values import did_you_mean
from mlobs_pipelines.store.chain import unicode
from mlobs_pipelines.store.journal import append, current, decisions
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.people import with_people
from mlobs_pipelines.store.read import query
from mlobs_pipelines.store.results import PublishError, publish

Row = dict[str, Any]

LONGEST_SILENCE = 366
"""Days. A silence for good would be a fault that nobody hears of again."""
LONGEST_COMMENT = 4_000
LONGEST_NAME = 200
MOST_NAMED = 5

MACHINE = "mlobs"
"""Who acts by itself in the log: no person goes by that name."""


class PeopleError(UserError):
    """What a person asked for cannot be done; nothing was changed."""


def acknowledge(home: Home, incident_id: str, *, comment: str, actor: str = "", snapshot: bool = True) -> Row:
    """Take an incident on: repeats stop until it gets more severe. Gives the log's row.

    Raises:
        PeopleError: there is no such incident, it is over, or the comment is empty.
    """
    return _about(home, incident(home, incident_id), "acknowledge", comment, actor, snapshot)


def silence(
    home: Home, incident_id: str, *, until: dt.date, comment: str, actor: str = "", snapshot: bool = True
) -> Row:
    """Say nothing of an incident up to the night ``until``; it is still looked at. Gives the log's row.

    Raises:
        PeopleError: there is no such incident, it is over, the comment is empty, or ``until`` is before its newest night
            or too far away.
    """
    found = incident(home, incident_id)
    newest = found["as_of"]
    if not newest <= until <= newest + dt.timedelta(days=LONGEST_SILENCE):
        last = newest + dt.timedelta(days=LONGEST_SILENCE)
        raise PeopleError(f"a silence of {found['incident_id']} ends between {newest}, its newest night, and {last}")
    return _about(home, found, "silence", comment, actor, snapshot, {"until": until.isoformat()})


def resolve(home: Home, incident_id: str, *, comment: str, actor: str = "", snapshot: bool = True) -> Row:
    """Close an incident; where a later night sees it, it is open again. Gives the log's row.

    Raises:
        PeopleError: there is no such incident, it is over, or the comment is empty.
    """
    return _about(home, incident(home, incident_id), "resolve", comment, actor, snapshot)


def approve(home: Home, decision_id: str, *, comment: str, actor: str = "", snapshot: bool = True) -> Row:
    """Let a pending decision be carried out. Gives the log's row.

    Raises:
        PeopleError: there is no such decision, it is not pending, or the comment is empty.
        SettledError: somebody else settled it just now.
    """
    return _settle(home, decision_id, "approved", comment, actor, snapshot)


def reject(home: Home, decision_id: str, *, comment: str, actor: str = "", snapshot: bool = True) -> Row:
    """Settle that a pending decision is not carried out. Gives the log's row.

    Raises:
        PeopleError: there is no such decision, it is not pending, or the comment is empty.
        SettledError: somebody else settled it just now.
    """
    return _settle(home, decision_id, "rejected", comment, actor, snapshot)


def roll_back(home: Home, model: str, *, comment: str, actor: str = "", snapshot: bool = True) -> Row:
    """Have the champion's place given back to the version that had it before. Gives the log's row.

    Raises:
        PeopleError: a roll-back is under way already, or the comment is empty.
    """
    comment, actor = _comment(comment), _actor(actor)
    mine = current(decisions(home, model)).filter(pl.col("action") == "roll_back")
    if mine.filter(pl.col("status").is_in(["approved", "running"])).height:
        raise PeopleError(f"a roll-back of {model} is under way already")
    nights = query(home, f"select max(as_of) from metrics where model = {sql.text(model)}").item()
    said = append(
        home,
        decision_id=f"{model}:roll_back",
        numbered=True,
        model=model,
        as_of=nights,
        action="roll_back",
        status="approved",
        reason=comment,
        evidence={"comment": comment},
        actor=actor,
    )
    if snapshot:
        _show(home)
    return said


def incidents(home: Home, model: str | None = None, condition: str = "true") -> pl.DataFrame:
    """Each incident as the snapshot has it, with what people said since; schema ``INCIDENTS``.

    ``condition``: SQL over the columns, which narrows the rows before they are read.

    Raises:
        StoreError: there is no snapshot yet.
    """
    found = query(home, f"select * from incidents where {condition} order by incident_id")
    rows = with_people(found, decisions(home, model))
    return rows if model is None else rows.filter(pl.col("model") == model)


def incident(home: Home, name: str) -> Row:
    """The incident called ``name``, with what people said of it.

    Raises:
        PeopleError: there is none, or several.
    """
    known = query(home, "select incident_id from incidents order by incident_id")["incident_id"].to_list()
    wanted = _the_one(unicode(name.strip()), known, "incident", "mlobs status shows those that are open")
    return incidents(home, condition=f"incident_id = {sql.text(wanted)}").row(0, named=True)


def decision(home: Home, name: str) -> Row:
    """The newest row of the decision called ``name``; a part of a name means a pending one first.

    Raises:
        PeopleError: there is none, or several.
    """
    name = unicode(name.strip())
    rows = {row["decision_id"]: row for row in current(decisions(home)).iter_rows(named=True)}
    waiting = [key for key, row in rows.items() if row["status"] == "pending"]
    among = waiting if name and any(name in key for key in waiting) else list(rows)
    wanted = name if name in rows else _the_one(name, among, "decision", "mlobs status shows those that wait")
    return rows[wanted]


def whoami() -> str:
    """The operating system's name of whoever runs this."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}" if name == MACHINE else name


def _about(
    home: Home,
    row: Row,
    action: str,
    comment: str,
    actor: str,
    snapshot: bool,
    evidence: Mapping[str, Any] | None = None,
) -> Row:
    comment, actor = _comment(comment), _actor(actor)
    if row["resolved_as_of"] is not None:
        raise PeopleError(f"{row['incident_id']} is over since {row['resolved_as_of']}; there is nothing to {action}")
    said = append(
        home,
        decision_id=f"{row['incident_id']}:{action}",
        numbered=True,
        model=row["model"],
        version=row["version"] or "",
        as_of=row["as_of"],  # what was known: a later night may know better
        action=action,
        status="done",
        reason=comment,
        evidence={"comment": comment, "severity": row["severity"], **(evidence or {})},
        actor=actor,
        incident_id=row["incident_id"],
    )
    if snapshot:
        _show(home)
    return said


def _settle(home: Home, name: str, status: str, comment: str, actor: str, snapshot: bool) -> Row:
    comment, actor = _comment(comment), _actor(actor)
    row = decision(home, name)
    if row["status"] != "pending":
        raise PeopleError(f"{row['decision_id']} waits for nobody: it is {row['status']}, by {row['actor']}")
    said = append(
        home,
        **{name: row[name] for name in ("decision_id", "model", "version", "as_of", "action", "mode", "incident_id")},
        status=status,
        reason=comment,
        evidence={"comment": comment},
        actor=actor,
        expect=("pending",),
    )
    if snapshot:
        _show(home)
    return said


def _show(home: Home) -> None:
    try:
        publish(home)
    except PublishError as error:  # what was said is kept, and the next night publishes
        logging.getLogger(__name__).warning("It is in the log, but queries do not see it yet: %s", error)


def _comment(text: str) -> str:
    text = unicode(text).strip()
    if not text:
        raise PeopleError("say why in a comment, for those who read it later")
    if len(text) > LONGEST_COMMENT:
        raise PeopleError(f"a comment has at most {LONGEST_COMMENT:,} characters; this one has {len(text):,}")
    return text


def _actor(name: str) -> str:
    name = " ".join(unicode(name or whoami()).split())
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        raise PeopleError(f"a person's name or address is one line of at most {LONGEST_NAME} printable characters")
    if name.casefold() == MACHINE or name.casefold().startswith("mlflow:"):
        raise PeopleError(f"{name!r} stands for a machine in the log; give your own name")
    return name


def _the_one(name: str, known: Sequence[str], what: str, hint: str) -> str:
    """The known name that is ``name``, or begins with it, or has it as a part: the first of these that is one alone."""
    if name in known:
        return name
    found = [key for key in known if key.startswith(name)] or [key for key in known if name in key]
    if name and len(found) == 1:
        return found[0]
    if name and found:
        listed = ", ".join(found[:MOST_NAMED]) + (f" and {len(found) - MOST_NAMED} more" if found[MOST_NAMED:] else "")
        raise PeopleError(f"{name!r} is part of several {what}s: {listed}; give a part that only one has")
    raise PeopleError(f"no {what} {name[:LONGEST_NAME]!r}{did_you_mean(name, known)}; {hint}")
