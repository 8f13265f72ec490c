"""PagerDuty by Events API v2: one event per incident, so that each has its own life there.

``trigger`` when an incident is new, worse or changed, ``acknowledge`` and ``resolve`` with the same dedup key. An answer of 202
means queued, not paged; events for a key that PagerDuty does not know are ignored there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mlobs_pipelines.act.alerts.channel import Address, ChannelError, Receipt
from mlobs_pipelines.act.alerts.message import Item, Message, plain
from mlobs_pipelines.act.alerts.post import post_json
from mlobs_pipelines.act.alerts.wording import lead, lines

BASE = "https://events.pagerduty.com"


@dataclass(frozen=True)
class PagerDuty:
    """A service in PagerDuty, by its routing key."""

    routing_key: str = field(repr=False)
    base: str = BASE

    pause = 0.0
    wants_acknowledged = True

    @property
    def label(self) -> str:
        return f"PagerDuty by {urlsplit(self.base).hostname}"

    @property
    def identity(self) -> str:
        return f"pagerduty {self.base} {self.routing_key}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.routing_key,)

    def send(self, message: Message, done: Collection[str]) -> Iterator[Receipt]:
        for item in message.items:
            for action in actions(item):
                part = f"{action} {item.dedup_key}"
                if part not in done:
                    document = event(message, item, action, self.routing_key)
                    yield post_json(f"{self.base}/v2/enqueue", document, part=part)


def pagerduty(parts: Address) -> PagerDuty:
    """The channel of ``pagerduty://ROUTING_KEY``; ``?base=`` gives another address, e.g. that of the EU."""
    base = parts.one("base", BASE).rstrip("/")
    if urlsplit(base).scheme not in ("http", "https") or not urlsplit(base).hostname:
        raise ChannelError("base of a pagerduty:// channel must be a URL, such as https://events.eu.pagerduty.com")
    return PagerDuty(parts.host, base)


def actions(item: Item) -> tuple[str, ...]:
    """What PagerDuty is told of an incident, in order."""
    if item.status == "resolved":
        return ("resolve",)
    if item.status == "acknowledged":
        return ("acknowledge",)
    return ("trigger", "acknowledge") if item.acknowledged and item.status != "escalated" else ("trigger",)


def event(message: Message, item: Item, action: str, routing_key: str) -> dict[str, Any]:
    """One event; ``acknowledge`` and ``resolve`` carry nothing but the key."""
    short = {"routing_key": routing_key, "event_action": action, "dedup_key": item.dedup_key[:255]}
    if action != "trigger":
        return short
    where = f" in {item.segment}" if item.segment else ""
    details = {
        "status": item.status,
        "argument": list(lines(item)),
        "recommended_action": item.recommended_action,
        "incident_id": item.incident_id,
        "version": item.version,
        "night": message.night,
        "owner": message.owner,
        "environment": message.environment,
        "waiting": list(message.waiting),
        "configuration": message.config_digest,
        "run": message.run_id,
    }
    return {
        **short,
        "client": "mlobs",
        "client_url": message.url,
        "links": [{"href": item.url, "text": lead(item)[:200]}],
        "payload": {
            "summary": plain(f"{message.model}: {item.title}{where}", 1000),
            "source": message.model,
            "severity": item.severity,
            "component": item.subject or message.model,
            "group": message.group_key,
            "class": item.kind,
            "custom_details": details,
        },
    }
