"""Messages on their way: one file each, so that a killed process or a dead channel loses none.

``outbox/pending/<id>.json`` waits to be sent; ``outbox/done/<id>.json`` was delivered or given up, and says which and why.
Only one sender is at work at a time; any process may add.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mlobs_pipelines.act.alerts.message import Message, from_document
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.lock import exclusive

State = Literal["pending", "delivered", "dropped"]

KEPT = dt.timedelta(days=90)
"""How long what is done is kept."""

SUPERSEDED = "told with"
"""How the note of a message begins that went along with a newer one."""


@dataclass(frozen=True)
class Envelope:
    """A message and what became of it.

    ``channel``: the channel's key; ``label``: what a person may read of it. ``seq``: its place among the messages of its
    model to its channel. ``answered``: parts that were taken in or refused for good, each with the answer. ``holds``: the
    channel said that nothing is to be sent to it before ``next_attempt_at``. ``note``: why it waits or was given up.
    """

    message: Message
    channel: str
    label: str
    seq: int
    queued_at: dt.datetime
    next_attempt_at: dt.datetime
    state: State = "pending"
    attempts: int = 0
    answered: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    holds: bool = False
    note: str = ""
    done_at: dt.datetime | None = None

    @property
    def id(self) -> str:
        return self.message.id

    def text(self) -> str:
        """The file's content."""
        times = ("queued_at", "next_attempt_at", "done_at")
        fields: dict[str, Any] = {**vars(self), "message": self.message.document()}
        fields |= {name: fields[name].isoformat() if fields[name] else None for name in times}
        return json.dumps(fields, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def read(path: Path) -> Envelope:
    """The envelope in a file.

    Raises:
        OSError, ValueError, KeyError, TypeError: there is none.
    """
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> Envelope:
    """The envelope that :meth:`Envelope.text` gave.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    fields: dict[str, Any] = json.loads(text)
    for name in ("queued_at", "next_attempt_at", "done_at"):
        fields[name] = dt.datetime.fromisoformat(fields[name]) if fields[name] else None
    fields["message"] = from_document(fields["message"])
    fields["refused"] = tuple(fields["refused"])
    return Envelope(**fields)


def add(home: Home, envelope: Envelope) -> None:
    """Put a message in the outbox, unless it was there before."""
    if not known(home, envelope.id):
        write_text(_pending(home, envelope.id), envelope.text())


def pending(home: Home) -> tuple[list[Envelope], list[str]]:
    """What waits, the oldest of each model and channel first; and names of files that can't be read, which stay."""
    found, unreadable = [], []
    for path in sorted((home.outbox / "pending").glob("*.json")):
        if _done(home, path.stem).exists():  # killed between the two steps of `settle`
            path.unlink(missing_ok=True)
            continue
        try:
            found.append(read(path))
        except FileNotFoundError:
            continue  # another sender's, settled since
        except (OSError, ValueError, KeyError, TypeError):
            unreadable.append(path.name)
    return sorted(found, key=lambda e: (e.message.model, e.channel, e.seq)), unreadable


def anything(home: Home) -> bool:
    """Whether there may be something to send; looks at names alone."""
    return any((home.outbox / "pending").glob("*.json")) or any((home.outbox / "told").glob("*/*.intent"))


def known(home: Home, name: str) -> bool:
    """Whether a message of this id waits or is done."""
    return _pending(home, name).exists() or _done(home, name).exists()


def finished(home: Home) -> list[Envelope]:
    """What was delivered or given up, the newest first; files that can't be read are passed over."""
    found = []
    for path in (home.outbox / "done").glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append(read(path))
    return sorted(found, key=lambda e: (e.done_at or e.queued_at, e.id), reverse=True)


def update(home: Home, envelope: Envelope) -> None:
    """Remember how far a message has come. Only the sender does."""
    write_text(_pending(home, envelope.id), envelope.text())


def settle(home: Home, envelope: Envelope, state: State, note: str, now: dt.datetime) -> Envelope:
    """A message is delivered or given up. Only the sender does."""
    settled = replace(envelope, state=state, note=note, done_at=now, holds=False)
    write_text(_done(home, envelope.id), settled.text())
    _pending(home, envelope.id).unlink(missing_ok=True)
    return settled


def send_again(home: Home, now: dt.datetime) -> int:
    """Put what was given up back among what waits; how many messages that were.

    An incident that a later message told of stays out, so that nothing old is told after something newer.
    """
    count = 0
    with sender(home, timeout=30.0):
        done = finished(home)
        newest: dict[tuple[str, str], int] = {}
        for envelope in (*done, *pending(home)[0]):
            for item in envelope.message.items:
                key = envelope.channel, item.incident_id
                newest[key] = max(newest.get(key, 0), envelope.seq)
        for envelope in done:
            message = envelope.message
            items = tuple(i for i in message.items if newest[envelope.channel, i.incident_id] == envelope.seq)
            if envelope.state != "dropped" or not items:
                continue
            fresh = replace(
                envelope,
                message=replace(message, items=items),
                state="pending",
                attempts=0,
                queued_at=now,
                next_attempt_at=now,
                done_at=None,
                note="",
                answered={part: said for part, said in envelope.answered.items() if part not in envelope.refused},
                refused=(),
            )
            write_text(_pending(home, envelope.id), fresh.text())
            _done(home, envelope.id).unlink(missing_ok=True)
            count += 1
    return count


def prune(home: Home, now: dt.datetime) -> None:
    """Forget what was done long ago, by the files' own time."""
    oldest = (now - KEPT).timestamp()
    for path in (home.outbox / "done").glob("*.json"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


@contextlib.contextmanager
def sender(home: Home, timeout: float = 0.0) -> Iterator[None]:
    """Be the one sender.

    Raises:
        TimeoutError: another one is at work.
    """
    with exclusive(home.outbox / "sender.lock", timeout=timeout):
        yield


def _pending(home: Home, name: str) -> Path:
    return home.outbox / "pending" / f"{name}.json"


def _done(home: Home, name: str) -> Path:
    return home.outbox / "done" / f"{name}.json"
