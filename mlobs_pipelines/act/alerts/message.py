"""One message: what a channel is told of one model-night. Plain data; every text in it is one line, safe to encode.

A message outlives the process that made it: it is kept as JSON in the outbox until a channel has it. Names and values that
come from data are cleaned here, once (:func:`plain`); each channel then escapes for its own format.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = "mlobs.alert/1"

SEVERITIES = ("info", "warning", "critical")

STATUSES = ("resolved", "acknowledged", "updated", "firing", "escalated")
"""What a message says of an incident, the least urgent first."""


def plain(value: object, limit: int = 200) -> str:
    """A text as one line of at most ``limit`` printable characters: no line break, control, bidi or broken character."""
    shown = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


@dataclass(frozen=True)
class Item:
    """One incident as a message tells it."""

    incident_id: str
    dedup_key: str
    status: str
    severity: str
    kind: str
    title: str
    subject: str = ""
    segment: str = ""
    version: str = ""
    metric: str = ""
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    baseline: float | None = None
    threshold: float | None = None
    rows: int | None = None
    labeled_rows: int | None = None
    window_start: str = ""
    window_end: str = ""
    since: str = ""
    nights: int = 0
    acknowledged: bool = False
    times_told: int = 0
    fingerprint: str = ""
    recommended_action: str = ""
    advice: str = ""
    suspects: tuple[str, ...] = ()
    same_time: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True)
class Message:
    """What one channel is told of one model-night, the most urgent incident first.

    ``still_open``: other open incidents, told before. ``waiting``: decisions that wait for a person.
    """

    id: str
    model: str
    night: str
    items: tuple[Item, ...]
    environment: str = ""
    owner: str = ""
    waiting: tuple[str, ...] = ()
    still_open: int = 0
    url: str = ""
    config_digest: str = ""
    run_id: str = ""

    @property
    def status(self) -> str:
        """The most urgent of what is said of its incidents."""
        return max((item.status for item in self.items), key=STATUSES.index)

    @property
    def severity(self) -> str:
        """The worst severity among the incidents that are not over; of all if all are over."""
        rest = [item for item in self.items if item.status != "resolved"] or self.items
        return max((item.severity for item in rest), key=SEVERITIES.index)

    @property
    def group_key(self) -> str:
        """The same for everything that is said of the model-night, on every channel."""
        return f"{self.environment}:{self.model}:{self.night}" if self.environment else f"{self.model}:{self.night}"

    def document(self) -> dict[str, Any]:
        """The message as JSON values, as a signed webhook sends it."""
        fields = dataclasses.asdict(self)
        shown = {"schema": SCHEMA, "status": self.status, "severity": self.severity, "group_key": self.group_key}
        return {**shown, **fields}


def from_document(document: Mapping[str, Any]) -> Message:
    """The message that :meth:`Message.document` gave, also as JSON read back.

    Raises:
        KeyError, TypeError: it is no such document.
    """
    fields = {field.name: document[field.name] for field in dataclasses.fields(Message)}
    fields["items"] = tuple(_item(item) for item in document["items"])
    fields["waiting"] = tuple(document["waiting"])
    return Message(**fields)


def _item(document: Mapping[str, Any]) -> Item:
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in document.items()}
    return Item(**fields)


def urgent_first(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Incidents in the order in which a person should read them."""

    def order(item: Item) -> tuple[bool, int, int, str, str]:
        worst = -SEVERITIES.index(item.severity)
        return item.status == "resolved", worst, -STATUSES.index(item.status), item.since, item.incident_id

    return tuple(sorted(items, key=order))


def folded(older: Message, newer: Message) -> Message:
    """The newer message, with what the older one still had to say. Folding twice changes nothing.

    Of an incident that is in both the newer state is told; what was not told before stays urgent: a repetition or an
    update of something that nobody heard of yet is still its first telling.
    """
    before = {item.incident_id: item for item in older.items}
    items = [_joined(before.pop(item.incident_id, None), item) for item in newer.items]
    return dataclasses.replace(newer, items=urgent_first((*items, *before.values())))


def _joined(older: Item | None, newer: Item) -> Item:
    if older is None or newer.status == "resolved":
        return newer
    status = max(older.status, newer.status, key=STATUSES.index)
    return dataclasses.replace(newer, status=status, times_told=min(older.times_told, newer.times_told))
