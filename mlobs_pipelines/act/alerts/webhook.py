"""Any receiver of HTTP POST, with a signature that shows who sent it, what, and when.

The body is the message as JSON (``"schema": "mlobs.alert/1"``). Headers:

- ``X-Mlobs-Delivery``: the message's id, the same on every try: a receiver that saw it may answer 200 and do nothing;
- ``X-Mlobs-Timestamp``: seconds since 1970 of this try; refuse what is older than some minutes;
- ``X-Mlobs-Signature``: ``v1=`` and the hexadecimal HMAC-SHA256, under the shared secret, of timestamp, a dot and the body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from mlobs_pipelines.act.alerts.channel import Address, ChannelError, Receipt
from mlobs_pipelines.act.alerts.message import Message
from mlobs_pipelines.act.alerts.post import post


@dataclass(frozen=True)
class Webhook:
    """A receiver at a URL, and the secret that it shares with us."""

    url: str = field(repr=False)
    secret: str = field(repr=False)

    pause = 0.0
    wants_acknowledged = True

    @property
    def label(self) -> str:
        return f"webhook at {urlsplit(self.url).hostname}"

    @property
    def identity(self) -> str:
        return f"webhook {self.url}"

    @property
    def secrets(self) -> tuple[str, ...]:
        parts = urlsplit(self.url)
        return self.secret, self.url, parts.query, parts.path if len(parts.path) > 1 else ""

    def send(self, message: Message, done: Collection[str]) -> Iterator[Receipt]:
        if "message" in done:
            return
        body = json.dumps(message.document(), ensure_ascii=False, sort_keys=True).encode()
        timestamp = str(int(time.time()))
        yield post(
            self.url,
            body,
            {
                "Content-Type": "application/json; charset=utf-8",
                "X-Mlobs-Delivery": message.id,
                "X-Mlobs-Timestamp": timestamp,
                "X-Mlobs-Signature": signature(self.secret, timestamp, body),
            },
        )


def webhook(parts: Address) -> Webhook:
    """The channel of ``webhook+https://host/path?secret=…``; other keys of the query are the receiver's."""
    secret = parts.one("secret")
    if not secret:
        raise ChannelError("a webhook+https:// channel needs ?secret=…, with which its messages are signed")
    if parts.user:
        raise ChannelError("a webhook+https:// channel takes no user and password; it is signed with ?secret=…")
    rest = [(name, value) for name, values in parts.query.items() if name != "secret" for value in values]
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.host}]" if ":" in parts.host else parts.host
    query = f"?{urlencode(rest)}" if rest else ""
    return Webhook(f"{parts.scheme.removeprefix('webhook+')}://{host}{port}{parts.path or '/'}{query}", secret)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What stands in ``X-Mlobs-Signature``."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"
