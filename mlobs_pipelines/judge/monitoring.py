"""The monitoring itself: a run that failed or did not come is an incident, too."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from mlobs_pipelines.store.tables import INCIDENTS

Outcome = Literal["done", "failed", "absent"]


def run_incident(
    previous: Mapping[str, Any] | None, model: str, night: dt.date, outcome: Outcome, detail: str
) -> pl.DataFrame:
    """The incident about the runs of a model after one more night, schema ``INCIDENTS``: one row, or none.

    Nights that fail one after the other are one incident; the first night that is done ends it.

    Args:
        previous: the incident as it was after the last night that was told, if there was any.
        model: the model.
        night: the night that is told.
        outcome: how it went.
        detail: one line: why it failed, or what is missing.
    """
    row = dict(previous) if previous is not None and previous["resolved_as_of"] is None else None
    if outcome == "done":
        if row is None:
            return pl.DataFrame(schema=INCIDENTS)
        ended = max(night, row["last_as_of"])
        return pl.DataFrame([row | {"state": "resolved", "resolved_as_of": ended, "as_of": ended}], schema=INCIDENTS)
    if row is None:
        key = hashlib.sha256(f"{model}|monitoring".encode()).hexdigest()
        row = dict.fromkeys(INCIDENTS) | {
            "incident_id": f"{model}-{night:%Y%m%d}-monitoring-{key[:8]}",
            "model": model,
            "version": "",
            "opened_as_of": night,
            "since": night,
            "severity": "critical",
            "kind": "monitoring",
            "subject": "",
            "segment": "",
            "recommended_action": "alert",
            "metric": "",
            "state": "open",
            "dedup_key": key[:32],
            "nights": 0,
        }
    said = "the run failed" if outcome == "failed" else "the night was not run"
    first = row["opened_as_of"]
    again = f"mlobs run {model} --from {first} --to {night}" if night > first else f"mlobs run {model} --date {night}"
    evidence: dict[str, Any] = {
        "members": [],
        "absorbed": [],
        "same_time": [],
        "advice": f"Mend what the run says, then: {again}",
        "fingerprint": None,
        "onset": str(first),
    }
    row |= {
        "title": f"{said}: {detail}",
        "diagnosis": f"On {night} {said}: {detail}. Nothing is known of the nights since {first} until they are run.",
        "evidence": json.dumps(evidence, ensure_ascii=False),
        "last_as_of": night,
        "until": night,
        "as_of": night,
        "nights": (night - first).days + 1,
    }
    return pl.DataFrame([row], schema=INCIDENTS)
