"""The log of decisions and of what people did: ``log/decisions.jsonl``, one JSON object a line, append-only.

An entry is written in three steps, each on the disk before the next: the head file announces the line, the line is
written, the head file moves on to it. A line counts once it is whole. A writer that is killed between two steps thus
leaves what was, or what was to be; the next one clears half a line away. ``store.chain`` says what a line is.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store import shared_log, storage
from mlobs_pipelines.store.chain import Chain, Head, Problem, Row, as_json, opened, sealed, unicode
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.lock import exclusive
from mlobs_pipelines.store.objects import ObjectStore
from mlobs_pipelines.store.tables import DECISIONS

ACTIONS = (
    *("retrain", "validate", "promote", "hold", "roll_back", "alert", "fix_data"),
    *("acknowledge", "silence", "resolve"),
)
STATUSES = ("pending", "approved", "rejected", "running", "done", "failed")
MODES = ("auto", "approve")

PATIENCE = 60.0
"""Seconds to wait for other writers; each of them holds the log for milliseconds."""


class JournalError(UserError):
    """The log cannot be written, or is not as it was written; nothing was added to it."""


class SettledError(UserError):
    """Somebody else was quicker: the decision has another status by now."""


@dataclass(frozen=True)
class Audit:
    """What the log says of itself: how many entries, the hash of the last one, and what is wrong, first things first."""

    entries: int
    hash: str
    problems: list[Problem]


def append(
    home: Home,
    *,
    decision_id: str,
    model: str,
    action: str,
    status: str,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    version: str = "",
    as_of: dt.date | None = None,
    mode: str = "approve",
    actor: str = "mlobs",
    incident_id: str = "",
    decided_at: dt.datetime | None = None,
    once: bool = False,
    numbered: bool = False,
    expect: Collection[str] = (),
) -> Row:
    """Add an entry to the log; when this returns it is on the disk. Gives its row in the types of ``DECISIONS``.

    Args:
        home: the installation.
        decision_id: names the decision; more entries of it are changes of its status.
        model: the model that it is about.
        action: one of ``ACTIONS``.
        status: one of ``STATUSES``.
        reason: one sentence.
        evidence: anything JSON can hold; numbers that are not finite become null.
        version: the version that it is about; '': none.
        as_of: knowledge date.
        mode: one of ``MODES``.
        actor: who; a person's name or address, or mlobs.
        incident_id: the incident that it is about; '': none.
        decided_at: when, in UTC; default: now.
        once: where the decision has this status already, give its newest row and add nothing.
        numbered: put the entry's own number after ``decision_id``, which makes it a decision of its own.
        expect: add the entry only where the decision's status is one of these; looked up and written in one.

    Raises:
        JournalError: the log was changed by other hands, or the disk refused. After the latter the entry may be there:
            say it again with ``once``.
        SettledError: the decision's status is none of ``expect``.
        ValueError: an action, status or mode that there is not, no decision_id, or a value of another type.
    """
    for value, known in ((action, ACTIONS), (status, STATUSES), (mode, MODES)):
        if value not in known:
            raise ValueError(f"{value!r} is none of {', '.join(known)}")
    if not decision_id:
        raise ValueError("a decision needs an id")
    shared = storage.of(home)
    with _writing(home):
        while True:
            if shared:
                _catch_up(home, shared.store)
            read = _sound(home)
            newest = _newest(read.frame, decision_id) if once or expect else None
            if once and newest and newest["status"] == status:
                return newest
            if expect and (newest is None or newest["status"] not in expect):
                found = f"is {newest['status']} by {newest['actor']} since" if newest else "is not in the log, not"
                raise SettledError(f"{decision_id} {found} {' or '.join(expect)}; nothing was changed")
            seq = read.chain.seq + 1
            row: Row = {
                "decision_id": f"{decision_id}:{seq}" if numbered else decision_id,
                "model": model,
                "version": version,
                "as_of": as_of,
                "action": action,
                "reason": reason,
                "evidence": as_json(evidence or {}),
                "mode": mode,
                "status": status,
                "actor": actor,
                "incident_id": incident_id,
                "decided_at": _utc(decided_at or dt.datetime.now(dt.UTC)),
            }
            line = sealed(row, seq, read.chain.hash)
            added, _ = opened(line)  # what cannot be read again is not written
            if shared is None or shared_log.add(shared.store, seq, line):
                _write(home, line, read, Head(seq, added["hash"]))
                return added
            # Another machine was quicker, and what it wrote may change what there is to say.


def catch_up(home: Home) -> bool:
    """Take in the entries that other machines added, where the home has an object store; gives whether there were any.

    Raises:
        JournalError: this home's log and the store's are two logs, or it can't be written.
    """
    shared = storage.of(home)
    if shared is None:
        return False
    with _writing(home):
        return _catch_up(home, shared.store)


def decisions(home: Home, model: str | None = None) -> pl.DataFrame:
    """The log's rows in their order, of all models or of one.

    Lines that are no entries are passed over, so that monitoring goes on; ``verify`` names them, and nothing is added
    to such a log. An answer is kept in the process for as long as the file is the same.
    """
    frame = _read(home).frame
    return frame.clone() if model is None else frame.filter(pl.col("model") == model)


def current(frame: pl.DataFrame) -> pl.DataFrame:
    """Of each decision its newest row, in the order in which they were written; schema ``DECISIONS``."""
    return frame.sort("seq", maintain_order=True).unique("decision_id", keep="last", maintain_order=True)


def verify(home: Home) -> list[Problem]:
    """All that is not as it was written: an edited, removed, moved, inserted or cut line, or a missing file."""
    return audit(home).problems


def audit(home: Home) -> Audit:
    """Read the whole log from the disk and check each line; takes no lock and writes nothing."""
    head, data = _both(home)
    chain, _ = Chain().extended(data)
    return Audit(chain.lines, chain.hash, list(_judged(chain, head)))


def _judged(chain: Chain, head: bytes | None) -> tuple[Problem, ...]:
    try:
        return chain.against(None if head is None else Head.parse(head))
    except ValueError:
        return (*chain.problems, Problem(None, "head.json is not as it was written: edited"))


@dataclass(frozen=True)
class _Reading:
    """What a process knows of the log. ``stamp`` tells that the file is still the same, ``prefix`` that it only grew."""

    stamp: tuple[int, int, int] | None
    chain: Chain
    frame: pl.DataFrame
    prefix: hashlib._Hash


_readings: dict[Path, _Reading] = {}


def _read(home: Home) -> _Reading:
    path = _log(home)
    kept = _readings.get(path)
    try:
        with path.open("rb") as file:
            stamp = _stamp(file.fileno())
            if kept and kept.stamp == stamp:
                return kept
            data = file.read()
    except FileNotFoundError:
        stamp, data = None, b""
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error
    known = kept and hashlib.sha256(data[: kept.chain.size]).digest() == kept.prefix.digest()
    base = kept if kept and known and len(data) >= kept.chain.size else _nothing()
    reading = _grown(base, data[base.chain.size :], stamp)
    if stamp and stamp[0] == len(data) and not reading.chain.tail:
        _readings[path] = reading
    return reading


def _grown(base: _Reading, data: bytes, stamp: tuple[int, int, int] | None) -> _Reading:
    chain, rows = base.chain.extended(data)
    prefix = base.prefix.copy()
    prefix.update(data[: chain.size - base.chain.size])
    frame = pl.concat([base.frame, pl.DataFrame(rows, schema=DECISIONS)], rechunk=True) if rows else base.frame
    return _Reading(stamp, chain, frame, prefix)


def _nothing() -> _Reading:
    return _Reading(None, Chain(), pl.DataFrame(schema=DECISIONS), hashlib.sha256())


def _sound(home: Home) -> _Reading:
    """The log before an entry is added; only a log that is as it was written is added to."""
    read = _read(home)
    problems = _judged(read.chain, _head(home))
    if problems:
        raise JournalError(
            f"{_log(home)} is not as it was written ({problems[0]}): nothing is added to it. See all with: mlobs audit "
            f"verify; put {home.log} back from a backup, or move it aside to begin a new one"
        )
    return read


def _write(home: Home, line: bytes, read: _Reading, head: Head) -> None:
    """Add a line to what was read; ``head`` is the head after it."""
    try:
        file = os.open(_log(home), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            if read.chain.tail:
                os.ftruncate(file, read.chain.size)
                os.fsync(file)
            _put(home, Head(read.chain.seq, read.chain.hash, intent=line))
            rest = memoryview(line + b"\n")
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
            stamp = _stamp(file)
        finally:
            os.close(file)
        _put(home, head)
    except OSError as error:
        raise JournalError(f"cannot write the log in {home.log}: {error.strerror}; then say it again") from error
    if read.chain.tail:
        _readings.pop(_log(home), None)  # read again: half a line was cleared away
    else:
        _readings[_log(home)] = _grown(read, line + b"\n", stamp)


def _catch_up(home: Home, store: ObjectStore) -> bool:
    """Take in what the store has after this log's last entry; a log that was begun before the store is put there."""
    read = _read(home)
    if read.chain.lines and not read.chain.problems and not _put_there(home, store, read):
        raise JournalError(
            f"{_log(home)} and the log at {store.url} are two logs: this one's last entry is not there. Move {home.log} "
            "aside to go on with the one of the store"
        )
    lines = shared_log.after(store, read.chain.seq)
    if not lines:
        return False
    if read.chain.lines or read.chain.tail:
        for line in lines:
            read = _read(home)
            _write(home, line, read, _head_of(line))
    else:  # the head first: a log that is missing behind it is fetched again
        home.log.mkdir(parents=True, exist_ok=True)
        _put(home, _head_of(lines[-1]))
        write_text(_log(home), b"".join(line + b"\n" for line in lines).decode("utf-8"))
    return True


def _put_there(home: Home, store: ObjectStore, read: _Reading) -> bool:
    """Whether the store has this log; it is put there where the store has only its beginning."""
    own = _log(home).read_bytes()[: read.chain.size].splitlines()
    there = shared_log.entry(store, len(own) - 1)
    if there is not None:
        return there == own[-1]
    return all(shared_log.add(store, seq, line) for seq, line in enumerate(own))


def _head_of(line: bytes) -> Head:
    entry, _ = opened(line)
    return Head(entry["seq"], entry["hash"])


def _put(home: Home, head: Head) -> None:
    write_text(home.log / "head.json", head.text())
    folder = os.open(home.log, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a power cut may bring the old name back
    finally:
        os.close(folder)


@contextlib.contextmanager
def _writing(home: Home) -> Iterator[None]:
    try:
        with exclusive(home.log / "journal.lock", timeout=PATIENCE):
            yield
    except TimeoutError as error:
        raise JournalError(f"{error}; look for a process that hangs, then say it again") from None
    except PermissionError as error:
        raise JournalError(f"cannot write the log in {home.log}: {error.strerror}") from error


def _both(home: Home) -> tuple[bytes | None, bytes]:
    """The head file and the log as they were at one moment, without keeping writers out."""
    before = _head(home)
    for _ in range(1000):
        try:
            data = _log(home).read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise JournalError(f"cannot read {_log(home)}: {error.strerror}") from error
        after = _head(home)
        if before == after:
            return after, data
        before = after
        time.sleep(0.01)
    raise JournalError(f"{_log(home)} does not stand still; try again")


def _head(home: Home) -> bytes | None:
    try:
        return (home.log / "head.json").read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"cannot read {home.log / 'head.json'}: {error.strerror}") from error


def _log(home: Home) -> Path:
    return home.log / "decisions.jsonl"


def _stamp(file: int) -> tuple[int, int, int]:
    stat = os.fstat(file)
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _utc(moment: dt.datetime) -> dt.datetime:
    """A moment without its zone; one that has none is in UTC."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _newest(frame: pl.DataFrame, decision_id: str) -> Row | None:
    rows = frame.filter(pl.col("decision_id") == unicode(decision_id)).tail(1).to_dicts()
    return rows[0] if rows else None
