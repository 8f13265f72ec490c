"""A channel's URL, as it stands in ``alerts.to`` of a model's file → the channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlobs_pipelines.act.alerts.channel import Address, Channel, ChannelError, address, key_of
from mlobs_pipelines.act.alerts.mail import smtp
from mlobs_pipelines.act.alerts.others import Other
from mlobs_pipelines.act.alerts.pagerduty import pagerduty
from mlobs_pipelines.act.alerts.slack import slack
from mlobs_pipelines.act.alerts.webhook import webhook
from mlobs_pipelines.spec.model import AlertSpec, ModelSpec

KINDS: Mapping[str, Callable[[Address], Channel]] = {
    "https": slack,
    "slack+https": slack,
    "slack+http": slack,
    "mailto": smtp,
    "smtp": smtp,
    "smtps": smtp,
    "pagerduty": pagerduty,
    "webhook+https": webhook,
    "webhook+http": webhook,
}
"""Scheme → the channel's own module. Every other scheme is Apprise's."""


def channel(url: str) -> Channel:
    """The channel of a URL.

    Raises:
        ChannelError: the URL is not understood; the text says how it should be written and never holds it.
    """
    parts = address(url)
    if parts.scheme == "http":
        raise ChannelError("a channel can't be http://; write for example webhook+http://host/path?secret=…")
    make = KINDS.get(parts.scheme)
    return make(parts) if make else Other(url.strip())


def channels(spec: ModelSpec) -> tuple[dict[str, tuple[Channel, AlertSpec]], list[str]]:
    """A model's channels by key, each with the entry it is from, and what is wrong with the others.

    Of two entries for the same place the one that is told more counts.
    """
    found: dict[str, tuple[Channel, AlertSpec]] = {}
    problems = []
    for index, entry in enumerate(spec.alerts):
        try:
            place = channel(entry.to)
        except ChannelError as error:
            problems.append(f"alerts[{index}].to: {error}")
            continue
        key = key_of(place)
        if key not in found or _rank(entry) < _rank(found[key][1]):
            found[key] = (place, entry)
    return found, problems


def _rank(entry: AlertSpec) -> int:
    return ("info", "warning", "critical").index(entry.severity)
