"""Every other place that the library Apprise knows (Teams, Telegram, Opsgenie, …): ``pip install mlobs_pipelines[channels]``.

Apprise says no more than whether it went well, so whatever did not is tried again.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlobs_pipelines.act.alerts.channel import NotNowError, Receipt
from mlobs_pipelines.act.alerts.message import Message
from mlobs_pipelines.act.alerts.wording import subject, text


@dataclass(frozen=True)
class Other:
    """A place that Apprise knows, by the URL that Apprise wants."""

    url: str = field(repr=False)

    pause = 0.0
    wants_acknowledged = False

    @property
    def label(self) -> str:
        return f"{self.url.partition('://')[0]} by Apprise"

    @property
    def identity(self) -> str:
        return f"apprise {self.url}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.url, self.url.partition("://")[2]

    def send(self, message: Message, done: Collection[str]) -> Iterator[Receipt]:
        if "message" in done:
            return
        place = _apprise().Apprise()
        if not place.add(self.url):
            yield Receipt("message", "Apprise does not understand this channel's URL", refused=True)
        elif place.notify(title=subject(message), body=text(message), body_format="text"):
            yield Receipt("message", "taken in")
        else:
            raise NotNowError("Apprise could not deliver it", whole_channel=True)


def _apprise() -> Any:
    try:
        apprise = importlib.import_module("apprise")
    except ImportError:
        raise NotNowError(
            "this channel needs Apprise; run: pip install 'mlobs_pipelines[channels]'", whole_channel=True
        ) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs URLs
    return apprise
