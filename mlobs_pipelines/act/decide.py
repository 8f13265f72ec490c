"""A night's incidents -> decisions: what is done about each, once, and by whom."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from mlobs_pipelines.act.ledger import MLOBS, UNDER_WAY, Ledger, Mode, Row
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.journal import decisions
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.people import with_people

ADVICE = ("fix_data", "alert", "hold")
"""Actions that are for people: the decision is to advise them."""

HEEDED = ("open", "acknowledged")
"""States of an incident about which something is decided; one that was silenced is left alone."""


def decide(home: Home, spec: ModelSpec, night: dt.date) -> list[str]:
    """Write down what follows from the incidents as a night left them; gives the ids of new decisions.

    - ``fix_data``, ``alert`` and ``hold`` are advice to people: done with being written.
    - ``retrain``, where the spec has an entrypoint and its mode is not off: pending until a person agrees, or approved
      at once. One training covers every incident that asks for it on that night; another waits for the cooldown and
      for the decision about the one before.
    - ``roll_back`` of a promotion that this loop made: pending, or approved at once, by the mode of promotions;
      otherwise advice.
    - A training that nobody agreed to yet is taken back when its incidents are over.

    Deciding a night again changes nothing.
    """
    ledger = Ledger(home, spec.model)
    written = home.store_nights("incidents", spec.model).frames([night])
    if not written:
        return []
    incidents = with_people(pl.concat(written).collect(), decisions(home, spec.model))
    found = _take_back(ledger, incidents)
    heeded = incidents.filter(pl.col("state").is_in(HEEDED) & pl.col("resolved_as_of").is_null())
    rows = heeded.sort("opened_as_of", "incident_id").to_dicts()
    known = {row["decision_id"] for row in ledger.current()}
    for row in rows:
        action = row["recommended_action"]
        decision_id = f"{spec.model}:{action}:{row['incident_id']}"
        if decision_id in known:
            continue
        if action in ADVICE:
            _advise(ledger, decision_id, action, row, night)
        elif action == "roll_back":
            _roll_back(ledger, decision_id, spec, row, night)
        else:
            continue
        found.append(decision_id)
    return found + _retrain(ledger, spec, [r for r in rows if r["recommended_action"] == "retrain"], night)


def _advise(ledger: Ledger, decision_id: str, action: str, incident: Row, night: dt.date, more: str = "") -> None:
    ledger.propose(
        decision_id,
        action,
        "done",
        f"{incident['title']}{more}",
        as_of=night,
        mode="auto",
        evidence=_evidence(incident),
        incident_id=incident["incident_id"],
    )


def _retrain(ledger: Ledger, spec: ModelSpec, incidents: list[Row], night: dt.date) -> list[str]:
    """Propose one training for all incidents that ask for it and that none was proposed for yet."""
    policy = spec.policy.retrain
    if policy.mode == "off" or policy.entrypoint is None or not incidents:
        return []
    before = ledger.current("retrain")
    if ledger.current("retrain", "promote", status=UNDER_WAY):
        return []  # one at a time, and what came of it is settled first
    heard = [r for r in before if r["status"] == "done" or (r["status"] == "rejected" and r["actor"] != MLOBS)]
    if any(night < r["as_of"] + policy.cooldown for r in before if r["status"] == "done"):
        return []
    known = {r["decision_id"] for r in before}
    answered = max((r["as_of"] for r in heard), default=dt.date.min)  # what was open then was part of the answer
    new = [
        r for r in incidents if r["opened_as_of"] > answered and f"{spec.model}:retrain:{r['incident_id']}" not in known
    ]
    if not new:
        return []
    lead, mode = new[0], _mode(policy.mode)
    decision_id = f"{spec.model}:retrain:{lead['incident_id']}"
    others = f" and {len(incidents) - 1} more" if len(incidents) > 1 else ""
    ledger.propose(
        decision_id,
        "retrain",
        "approved" if mode == "auto" else "pending",
        f"{lead['title']}{others}",
        as_of=night,
        mode=mode,
        evidence={**_evidence(lead), "incidents": [r["incident_id"] for r in incidents]},
        incident_id=lead["incident_id"],
    )
    return [decision_id]


def _roll_back(ledger: Ledger, decision_id: str, spec: ModelSpec, incident: Row, night: dt.date) -> None:
    """Undo the newest promotion of this loop; where there is none, going back is for people."""
    promotions = ledger.current("promote", status="done")
    undone = [ledger.evidence(r["decision_id"]).get("from") for r in ledger.current("roll_back", status="done")]
    newest = ledger.evidence(promotions[-1]["decision_id"]) if promotions else {}
    policy = spec.policy.promote
    if not newest or newest.get("to") in undone or policy.mode == "off":
        _advise(
            ledger, decision_id, "alert", incident, night, "; roll back by hand: no promotion of ours is to be undone"
        )
        return
    mode = _mode(policy.mode)
    ledger.propose(
        decision_id,
        "roll_back",
        "approved" if mode == "auto" else "pending",
        str(incident["title"]),
        as_of=night,
        mode=mode,
        evidence={**_evidence(incident), "from": newest["to"], "to": newest["from"]},
        version=str(newest["from"]),
        incident_id=incident["incident_id"],
    )


def _take_back(ledger: Ledger, incidents: pl.DataFrame) -> list[str]:
    """Reject what waits for a person, or was approved by rule and not begun, for incidents that are over by now."""
    over = set(incidents.filter(pl.col("resolved_as_of").is_not_null())["incident_id"])
    found = []
    for row in ledger.current("retrain", "roll_back", status=("pending", "approved")):
        about = set(ledger.evidence(row["decision_id"]).get("incidents", [row["incident_id"]])) - {""}
        by_rule = row["status"] == "pending" or row["actor"] == MLOBS
        if about and about <= over and by_rule and ledger.settle(row, "rejected", "What it was for is over"):
            found.append(row["decision_id"])
    return found


def _evidence(incident: Row) -> dict[str, Any]:
    names = ("metric", "subject", "segment", "value", "lower", "upper", "baseline", "rows", "labeled_rows")
    numbers = {name: incident[name] for name in names if incident[name] not in (None, "")}
    since = incident["since"]
    return {"kind": incident["kind"], "since": since.isoformat() if since else None, **numbers}


def _mode(mode: str) -> Mode:
    return "auto" if mode == "auto" else "approve"
