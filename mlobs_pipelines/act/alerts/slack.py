"""Slack by an incoming webhook. What comes from data is sent as plain text objects, in which nothing is markup.

Limits of Slack: about one message a second, 50 blocks, 150 characters in a header, 3,000 in a section, some 13,000 in all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mlobs_pipelines.act.alerts.channel import Address, ChannelError, Receipt
from mlobs_pipelines.act.alerts.message import Item, Message, plain
from mlobs_pipelines.act.alerts.post import post_json
from mlobs_pipelines.act.alerts.wording import commands, footer, lead, lines, subject

HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")

MOST_ITEMS = 8
LONGEST_ITEM = 1200


@dataclass(frozen=True)
class Slack:
    """A Slack channel behind an incoming webhook, whose whole path is its secret."""

    url: str = field(repr=False)

    pause = 1.1
    wants_acknowledged = False

    @property
    def label(self) -> str:
        return f"Slack by {urlsplit(self.url).hostname}"

    @property
    def identity(self) -> str:
        return f"slack {self.url}"

    @property
    def secrets(self) -> tuple[str, ...]:
        path = urlsplit(self.url).path
        return self.url, path, path.rpartition("/")[2]

    def send(self, message: Message, done: Collection[str]) -> Iterator[Receipt]:
        if "message" not in done:
            yield post_json(self.url, payload(message))


def slack(parts: Address) -> Slack:
    """The channel of ``https://hooks.slack.com/services/…``, or of ``slack+http(s)://host/…`` for one that speaks like it."""
    if parts.scheme == "https" and parts.host.lower() not in HOSTS:
        raise ChannelError(
            "an https:// channel must be a Slack webhook; for another receiver write webhook+https://host/path?secret=…"
        )
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.host}]" if ":" in parts.host else parts.host
    return Slack(f"{parts.scheme.removeprefix('slack+')}://{host}{port}{parts.path}")


def payload(message: Message) -> dict[str, Any]:
    """The webhook's JSON document."""
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(subject(message), 150)}]
    for item in message.items[:MOST_ITEMS]:
        blocks.append({"type": "section", "text": _plain(_said(item), LONGEST_ITEM)})
        blocks.append(_link(item.url, "Open the incident"))
    rest = message.items[MOST_ITEMS:]
    if rest:
        blocks.append({"type": "section", "text": _plain(f"… and {len(rest)} more on the model's page.", 200)})
    blocks.append({"type": "divider"})
    blocks.append({"type": "section", "text": _plain("\n".join(footer(message)), LONGEST_ITEM)})
    blocks.append(_link(message.url, "Open the model"))
    return {
        "text": escaped(subject(message)),
        "blocks": blocks,
        "mrkdwn": False,
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escaped(text: str) -> str:
    """A text in which Slack finds no mention, channel, date or link in brackets."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _said(item: Item) -> str:
    tail = [] if item.status == "resolved" else [commands(item)]
    return "\n".join([lead(item), *lines(item), *tail])


def _plain(text: str, limit: int) -> dict[str, Any]:
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return {"type": "plain_text", "text": shown, "emoji": False}


def _link(url: str, says: str) -> dict[str, Any]:
    # our own address, percent-encoded; a bar or a bracket would end the link early
    safe = escaped(plain(url, 1000)).replace("|", "%7C")
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": f"<{safe}|{says}>", "verbatim": True}]}
