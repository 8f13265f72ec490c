"""A message in words: subject, plain text and HTML. Links lead to the live pages; nothing from data is ever markup."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from html import escape

from mlobs_pipelines.act.alerts.message import Item, Message, plain

HEADLINE = {
    "firing": "new",
    "escalated": "got worse",
    "updated": "changed",
    "acknowledged": "acknowledged",
    "resolved": "resolved",
}


def subject(message: Message) -> str:
    """One line: how bad, which model, what, and how many more."""
    first = message.items[0]
    where = f" in {first.segment}" if first.segment else ""
    more = f" (+{len(message.items) - 1} more)" if len(message.items) > 1 else ""
    place = f"{message.environment} " if message.environment else ""
    mark = "resolved" if message.status == "resolved" else message.severity
    return plain(f"[{mark}] {place}{message.model}: {first.title}{where}", 180) + more


def lead(item: Item) -> str:
    """``CRITICAL, new: amount is 100 times what it was, in country=NL``."""
    status = "still open" if item.status == "firing" and item.times_told > 1 else HEADLINE[item.status]
    where = f", in {item.segment}" if item.segment else ""
    return f"{item.severity.upper()}, {status}: {item.title}{where}"


def lines(item: Item) -> Iterator[str]:
    """The argument for an incident, one fact a line, the most needed first."""
    if figures := _figures(item):
        yield figures
    if item.since:
        seen = f", seen on {item.nights} night{'s' if item.nights != 1 else ''}" if item.nights else ""
        yield f"Since {item.since}{seen}." + (f" Version {item.version}." if item.version else "")
    if item.status == "resolved":
        return
    if item.fingerprint:
        yield f"Looks like: {item.fingerprint}"
    if item.suspects:
        yield f"First suspects: {'; '.join(item.suspects)}"
    if item.same_time:
        yield f"Changed at the same time: {'; '.join(item.same_time)}"
    if item.advice:
        yield f"What to do: {item.advice}"
    for decision in item.decisions:
        yield f"Decided: {decision}"


def commands(item: Item) -> str:
    """What to type to acknowledge it, and to read more."""
    name = shlex.quote(item.incident_id)
    return f"mlobs explain {name} · mlobs ack {name} -m …"


def footer(message: Message) -> Iterator[str]:
    """What concerns the whole message."""
    for decision in message.waiting:
        yield f"Waiting for you: {decision}"
    if message.still_open:
        other = "incidents are" if message.still_open > 1 else "incident is"
        yield f"{message.still_open} more {other} open, told before."
    owner = f" · owner {message.owner}" if message.owner else ""
    yield f"{message.model}, night of {message.night}{owner}"


def text(message: Message) -> str:
    """The whole message as plain text."""
    blocks = []
    for item in message.items:
        tail = [] if item.status == "resolved" else [commands(item)]
        blocks.append("\n".join([lead(item), *lines(item), item.url, *tail]))
    ending = "\n".join([*footer(message), message.url])
    keys = f"group {message.group_key} · configuration {message.config_digest} · run {message.run_id}"
    return "\n\n".join([*blocks, ending, keys]) + "\n"


def html(message: Message) -> str:
    """The whole message as an HTML document without script, style sheet or image."""
    parts = []
    for item in message.items:
        facts = "".join(f"<br>{escape(line)}" for line in lines(item))
        parts.append(
            f'<p><strong>{escape(lead(item))}</strong>{facts}<br><a href="{escape(item.url)}">Open the incident</a></p>'
        )
    ending = "<br>".join(escape(line) for line in footer(message))
    link = f'<a href="{escape(message.url)}">{escape(message.model)}</a>'
    head = f'<head><meta charset="utf-8"><title>{escape(subject(message))}</title></head>'
    body = f"<body>{''.join(parts)}<hr><p>{ending}<br>{link}</p></body>"
    return f'<!doctype html><html lang="en">{head}{body}</html>'


def _figures(item: Item) -> str:
    if item.value is None:
        return ""
    interval = f" [{item.lower:.4g}, {item.upper:.4g}]" if item.lower is not None and item.upper is not None else ""
    facts = [f"{item.metric} {item.value:.4g}{interval}"]
    if item.baseline is not None:
        facts.append(f"usually {item.baseline:.4g}")
    if item.threshold is not None:
        facts.append(f"off from {item.threshold:.4g} on")
    return ", ".join(facts) + _ground(item)


def _ground(item: Item) -> str:
    """What the number rests on: rows, how many of them have labels, event dates."""
    facts = []
    if item.rows is not None:
        facts.append(f"{item.rows:,} row{'s' if item.rows != 1 else ''}")
        if item.labeled_rows is not None and item.rows:
            facts.append(f"{100 * item.labeled_rows / item.rows:.0f} % labelled")
    if item.window_end:
        first = f"{item.window_start} … " if item.window_start not in ("", item.window_end) else ""
        facts.append(f"{first}{item.window_end}")
    return f" ({', '.join(facts)})" if facts else ""
