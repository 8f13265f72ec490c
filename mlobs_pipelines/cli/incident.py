"""An incident as a terminal tells it: the argument from what was seen to what to do."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from mlobs_pipelines.act.alerts.message import plain
from mlobs_pipelines.act.people import incident
from mlobs_pipelines.engine import sql
from mlobs_pipelines.report.words import ACTIONS, KINDS, count, interval, metric_name, number
from mlobs_pipelines.store.addresses import base_url, path_of
from mlobs_pipelines.store.journal import current, decisions
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.people import ABOUT_INCIDENTS
from mlobs_pipelines.store.read import query

WIDTH = 100
LONGEST = 1_000
"""Characters of a text that came with the data or from a person."""

SHOWN = 10
"""Suspects, coincidences and sayings of each at most; ``--json`` has all."""


def argument(home: Home, name: str) -> dict[str, Any]:
    """All that is known of an incident, as JSON values: its row, ``causes``, ``said``, ``decisions``, ``links``.

    Raises:
        PeopleError: there is no such incident, or several that ``name`` is a part of.
        StoreError: there is no snapshot yet.
    """
    row = incident(home, name)
    row["evidence"] = json.loads(row["evidence"] or "{}")
    about = sql.text(row["incident_id"])
    causes = query(home, f"select * from causes where incident_id = {about} order by rank").to_dicts()
    log = [e for e in decisions(home, row["model"]).to_dicts() if e["incident_id"] == row["incident_id"]]
    acts = [entry for entry in log if entry["action"] in ABOUT_INCIDENTS]
    made = {e["decision_id"] for e in log} - {e["decision_id"] for e in acts}
    known = current(decisions(home, row["model"])).to_dicts()
    page = base_url() + path_of(row["model"], "incidents", row["incident_id"])
    return {
        **row,
        "causes": causes,
        "said": acts,
        "decisions": [entry for entry in known if entry["decision_id"] in made],
        "links": {"page": page},
    }


def render(found: dict[str, Any]) -> str:
    """What a person reads of :func:`argument`."""
    evidence = found["evidence"]
    version = f", version {_line(found['version'])}" if found["version"] else ""
    blocks = [
        [headline(found)],
        [
            f"{found['severity']}, {found['state']}: {_line(KINDS.get(found['kind'], found['kind']))} of {_line(found['model'])}{version}",
            _since(found),
            *_size(found),
        ],
        _wrapped(found["diagnosis"]),
        _section("First suspects", [_suspect(cause) for cause in found["causes"]]),
        _section(
            "At the same time", [f"{_line(e['what'])}: {_line(e['detail'])}" for e in evidence.get("same_time", [])]
        ),
        _absorbed(evidence.get("absorbed", [])),
        _what_to_do(found),
        _section("What people did", [_said(entry) for entry in found["said"]]),
        _section("Decisions", [line for entry in found["decisions"] for line in decided(entry)]),
        [f"{_line(found['incident_id'])}", found["links"]["page"]],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def headline(row: Mapping[str, Any]) -> str:
    """What an incident says and where, as one line."""
    title, segment = _line(row["title"] or row["incident_id"]), _line(row["segment"])
    return f"{title} in {segment}" if segment and segment not in title else title


def decided(entry: dict[str, Any]) -> list[str]:
    """The state of a decision, and how to settle one that waits."""
    name = _line(entry["decision_id"])
    action = ACTIONS.get(entry["action"], entry["action"])
    lines = [f"{action}, {entry['status']} ({_line(entry['actor'])}): {_line(entry['reason'])}"]
    if entry["status"] == "pending":
        lines.append(f'  mlobs approve {name} -m "…"   or   mlobs reject {name} -m "…"')
    return lines


def _line(text: Any) -> str:
    return plain("" if text is None else text, LONGEST)


def _since(found: dict[str, Any]) -> str:
    nights = f"{found['nights']} night{'s' if found['nights'] != 1 else ''}"
    end = f", over since {found['resolved_as_of']}" if found["resolved_as_of"] else f", as of {found['as_of']}"
    return f"since {found['since']}; found on {found['opened_as_of']}, seen on {nights}, last on {found['last_as_of']}{end}"


def _size(found: dict[str, Any]) -> list[str]:
    metric = found["metric"]
    if not metric or found["value"] is None:
        return []
    size = f"{_line(metric_name(metric))} {number(found['value'], metric)} {interval(found['lower'], found['upper'], metric)}".rstrip()
    against = "" if found["baseline"] is None else f", expected {number(found['baseline'], metric)}"
    limit = "" if found["threshold"] is None else f", off from {number(found['threshold'], metric)}"
    labeled = f", {count(found['labeled_rows'])} with labels" if found["labeled_rows"] else ""
    return [f"{size}{against}{limit}; {count(found['rows'])} rows{labeled}"]


def _suspect(cause: dict[str, Any]) -> str:
    share = ""
    if cause["share"] is not None:
        shares = f" [{100 * cause['lower']:.0f}, {100 * cause['upper']:.0f}]" if cause["lower"] is not None else ""
        share = f", {100 * cause['share']:.0f} %{shares} of the change"
    name = _line(cause["segment"] if cause["kind"] == "segment" else cause["subject"] or cause["segment"])
    where = f" in {_line(cause['segment'])}" if cause["segment"] and _line(cause["segment"]) != name else ""
    return f"{cause['rank']}. {cause['kind']} {name}{where}{share}: {_line(cause['detail'])}"


def _absorbed(signals: list[dict[str, Any]]) -> list[str]:
    if not signals:
        return []
    one = len(signals) == 1
    names = sorted({metric_name(str(signal["metric"])) for signal in signals})
    what = f"{len(signals)} other signal{'' if one else 's'} that this explains {'is' if one else 'are'} silent: "
    return _wrapped(what + ", ".join(_line(name) for name in names))


def _what_to_do(found: dict[str, Any]) -> list[str]:
    action = ACTIONS.get(found["recommended_action"], found["recommended_action"] or "")
    advice = found["evidence"].get("advice") or ""
    return _wrapped(f"What to do: {action}. {advice}".rstrip()) if action else []


def _said(entry: dict[str, Any]) -> str:
    evidence = json.loads(entry["evidence"] or "{}")
    until = f" until {_line(evidence['until'])}" if evidence.get("until") else ""
    action = ACTIONS.get(entry["action"], entry["action"])
    return f"{entry['decided_at']:%Y-%m-%d %H:%M} UTC {_line(entry['actor'])} {action}{until}: {_line(entry['reason'])}"


def _section(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    more = [f"  … and {len(lines) - SHOWN} more: mlobs --json explain"] if len(lines) > SHOWN else []
    return [title, *(wrapped for line in lines[:SHOWN] for wrapped in _wrapped(line, "  ")), *more]


def _wrapped(text: str | None, indent: str = "") -> list[str]:
    after = f"{indent}{'   ' if indent else ''}"
    return textwrap.wrap(
        _line(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=after,
        break_on_hyphens=False,
        break_long_words=False,
    )
