"""What a channel is: one place to which messages go, and how it says that one did not arrive."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from mlobs_pipelines.act.alerts.message import Message
from mlobs_pipelines.errors import UserError

TIMEOUT = 10.0
"""Seconds that one request or one mail may take, whatever the other side does."""


class ChannelError(UserError):
    """A channel's URL is not understood. The text never holds the URL: it may be a secret."""


class NotNowError(Exception):
    """It did not arrive, or nobody knows whether it did; try again.

    ``after``: what the other side said of when (a Retry-After header). ``whole_channel``: whether other messages to the same
    channel would fare no better now.
    """

    def __init__(self, reason: str, *, after: str | None = None, whole_channel: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.whole_channel = whole_channel or after is not None


@dataclass(frozen=True)
class Receipt:
    """A part of a message that was answered: taken in, or refused for good.

    ``part``: what of the message, e.g. one event of several; the same on every try.
    """

    part: str
    detail: str
    refused: bool = False


class Channel(Protocol):
    """One place that messages go to."""

    @property
    def label(self) -> str:
        """What a person may read of it; no secret."""

    @property
    def identity(self) -> str:
        """What makes it the same place after a password was changed."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must appear nowhere."""

    @property
    def pause(self) -> float:
        """Seconds that the place wants between two messages."""

    @property
    def wants_acknowledged(self) -> bool:
        """Whether it is told that a person acknowledged an incident."""

    def send(self, message: Message, done: Collection[str]) -> Iterator[Receipt]:
        """Send every part that is not in ``done``; a receipt for each as soon as it is answered.

        Raises:
            NotNowError: the rest is to be tried again.
        """


def key_of(channel: Channel) -> str:
    """16 hexadecimal digits that stand for a channel in files; its secrets can't be had from them."""
    return hashlib.sha256(channel.identity.encode()).hexdigest()[:16]


def scrubbed(text: str, channel: Channel) -> str:
    """A text without the channel's secrets, wherever it came from."""
    for secret in sorted(filter(None, channel.secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


@dataclass(frozen=True)
class Address:
    """A channel URL in its parts; upper and lower case as written."""

    scheme: str
    user: str
    password: str
    host: str
    port: int | None
    path: str
    query: dict[str, list[str]]

    def one(self, name: str, default: str = "") -> str:
        """The last value of a key of the query."""
        return self.query.get(name, [default])[-1]


def address(url: str) -> Address:
    """The parts of a channel URL.

    Raises:
        ChannelError: it is no URL.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ChannelError("a channel's URL is broken; write for example mailto://host/?to=a@example.com") from None
    scheme = parts.scheme.lower()
    if not scheme or not parts.netloc:
        raise ChannelError("a channel is a URL; write for example mailto://host/?to=a@example.com")
    credentials, _, place = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    host = place if port is None else place.rpartition(":")[0]
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        query.setdefault(name, []).append(value)
    return Address(scheme, unquote(user), unquote(password), host.rstrip(":").strip("[]"), port, parts.path, query)
