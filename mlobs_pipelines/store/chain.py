"""The hash chain of the log: how a line is made, what follows what, and what is wrong where it does not. Pure.

A line is the canonical JSON of an entry: keys sorted, no spaces, UTF-8. ``hash`` is the SHA-256 of ``previous_hash``
followed by the canonical JSON of the entry without ``hash``; the first ``previous_hash`` is 64 zeros. The head file
says what the last entry is, so that a log that was cut short shows. It also announces a line before that is written,
so that a writer that died half-way is told from other hands.

There is no key: whoever may write these files may forge both of them whole. A hash of the log that was noted
elsewhere, as in a ticket, finds that out, too.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlobs_pipelines.store.tables import DECISIONS

FIRST = "0" * 64
"""What the first entry continues."""

Row = dict[str, Any]

_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written. ``line`` counts from 1; None: a file as a whole."""

    line: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.line is None else f"line {self.line}: {self.what}"


def canonical(entry: Mapping[str, Any]) -> bytes:
    """An entry as JSON that can be written in one way only.

    Raises:
        ValueError: a text is no Unicode, or a number is not finite.
    """
    return _CANONICAL.encode(entry).encode("utf-8")


def entry_hash(entry: Mapping[str, Any]) -> str:
    """The hash of an entry, whatever it says its hash is."""
    rest = {name: value for name, value in entry.items() if name != "hash"}
    return hashlib.sha256(entry["previous_hash"].encode("utf-8") + canonical(rest)).hexdigest()


def sealed(row: Mapping[str, Any], seq: int, previous_hash: str) -> bytes:
    """The line of a row with columns ``DECISIONS`` as the entry ``seq`` after the one with ``previous_hash``."""
    entry = {name: unicode(value) if isinstance(value := row.get(name), str) else value for name in DECISIONS}
    entry["as_of"] = row["as_of"].isoformat() if row["as_of"] else None
    entry["decided_at"] = f"{row['decided_at'].isoformat(timespec='microseconds')}Z"
    entry |= {"seq": seq, "previous_hash": previous_hash}
    return canonical(entry | {"hash": entry_hash(entry)})


def unicode(text: str) -> str:
    """A text that can be written as UTF-8: half a character becomes the sign for what cannot be read."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def as_json(evidence: Mapping[str, Any]) -> str:
    """Evidence as JSON text: dates as text, NumPy's scalars as Python's, numbers that are not finite as null."""
    return json.dumps(_plain(evidence), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(inner) for inner in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return _plain(value.item()) if hasattr(value, "item") else str(value)


def opened(line: bytes) -> tuple[Row, bool]:
    """The row of a line, in the types of ``DECISIONS``, and whether it is to the byte what its hash says.

    Raises:
        ValueError: it is no entry.
    """
    try:
        entry = json.loads(line)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(entry, dict) or entry.keys() != DECISIONS.keys() or type(entry["seq"]) is not int:
        raise ValueError("not the columns of an entry")
    if not all(isinstance(value, str) for name, value in entry.items() if name not in {"seq", "as_of"}):
        raise ValueError("a column is no text")
    intact = canonical(entry) == line and entry_hash(entry) == entry["hash"]
    moment = dt.datetime.fromisoformat(entry["decided_at"])
    row = entry | {
        "as_of": None if entry["as_of"] is None else dt.date.fromisoformat(entry["as_of"]),
        "decided_at": moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment,
    }
    return {name: row[name] for name in DECISIONS}, intact


@dataclass(frozen=True)
class Chain:
    """The lines of the log as far as they were read.

    ``size``: bytes of the whole lines; ``tail``: what is after the last newline; ``seq``, ``hash``: the last entry's;
    ``skipped``: lines since then that are none.
    """

    size: int = 0
    lines: int = 0
    seq: int = -1
    hash: str = FIRST
    skipped: int = 0
    tail: bytes = b""
    problems: tuple[Problem, ...] = ()

    def extended(self, data: bytes) -> tuple[Chain, list[Row]]:
        """Read on, and give the rows of the lines that can be read. ``data`` begins with this chain's tail."""
        *lines, tail = data.split(b"\n")
        seq, last, skipped, number = self.seq, self.hash, self.skipped, self.lines
        problems, rows = list(self.problems), []
        for number, line in enumerate(lines, start=self.lines + 1):
            try:
                row, intact = opened(line)
            except (ValueError, TypeError):
                problems.append(Problem(number, "it is no entry of the log: edited, or put in by other hands"))
                skipped += 1
                continue
            wrong = _misplaced(row, seq, last, skipped) if intact else "its content is not what its hash says: edited"
            if wrong:
                problems.append(Problem(number, wrong))
            rows.append(row)
            seq, last, skipped = row["seq"], row["hash"], 0
        read = Chain(self.size + len(data) - len(tail), number, seq, last, skipped, tail, tuple(problems))
        return read, rows

    def against(self, head: Head | None) -> tuple[Problem, ...]:
        """All that is wrong with the lines, and with their end as the head file knows it (None: there is no such file)."""
        return (*self.problems, *self._end(head))

    def _end(self, head: Head | None) -> tuple[Problem, ...]:
        if head is None:
            missing = Problem(None, "head.json is missing, though the log has entries")
            return (missing,) if self.lines or self.tail else ()
        announced = opened(head.intent)[0] if head.intent else None
        written = announced is not None and (self.seq, self.hash) == (announced["seq"], announced["hash"])
        if not written and (self.seq, self.hash) != (head.seq, head.hash):
            return self._other_end(head)
        torn = not written and announced is not None and (head.intent + b"\n").startswith(self.tail)
        if not self.tail or torn:
            return ()
        return (Problem(self.lines + 1, "it is no whole line: cut off, or put in by other hands"),)

    def _other_end(self, head: Head) -> tuple[Problem, ...]:
        if not self.lines and not self.tail:
            return (Problem(None, f"decisions.jsonl is missing or empty; its last entry was {head.seq}"),)
        if self.seq < head.seq:
            return (Problem(self.lines + 1, f"entries {self.seq + 1} to {head.seq} are missing: the end was cut off"),)
        if self.problems:
            return ()  # the lines that make the difference were named
        if self.seq > head.seq:
            first = self.lines - (self.seq - head.seq) + 1
            return (Problem(first, f"head.json ends with entry {head.seq}: what follows is by other hands"),)
        return (Problem(self.lines, f"entry {self.seq} is not the one that head.json ends with: replaced"),)


def _misplaced(row: Row, seq: int, last: str, skipped: int) -> str:
    """What is wrong with an entry that comes after the entry ``seq`` with the hash ``last``; nothing: ''."""
    found, due = row["seq"], seq + 1
    if skipped and due < found <= due + skipped:
        return ""  # the lines between were named
    if found > due:
        return f"entry {found} follows entry {seq}: entries {due} to {found - 1} are missing or come later"
    if found < due:
        return f"entry {found} stands where entry {due} should: moved, or put in twice"
    if row["previous_hash"] != last:
        return f"entry {found} does not continue the one before it: one of the two was replaced"
    return ""


@dataclass(frozen=True)
class Head:
    """What the head file says: the last entry, and the line that is about to be written after it, if one is."""

    seq: int = -1
    hash: str = FIRST
    intent: bytes = b""

    def text(self) -> str:
        """What the head file holds."""
        intent = self.intent.decode("utf-8") if self.intent else None
        return canonical({"hash": self.hash, "intent": intent, "seq": self.seq}).decode("utf-8") + "\n"

    @staticmethod
    def parse(data: bytes) -> Head:
        """The head of a head file's bytes.

        Raises:
            ValueError: they are not what ``text`` gives.
        """
        try:
            found = json.loads(data)
            head = Head(found["seq"], found["hash"], (found["intent"] or "").encode("utf-8"))
            announced, intact = opened(head.intent) if head.intent else (None, True)
            same = head.text().encode("utf-8") == data and type(head.seq) is int and type(head.hash) is str
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(str(error)) from None
        if not same or not intact or (announced and _misplaced(announced, head.seq, head.hash, 0)):
            raise ValueError("not in the form in which it is written")
        return head
