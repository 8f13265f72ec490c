"""Findings -> incidents: one for each cause and segment, from the night it is sure to the night it is over.

``evidence`` of an incident is JSON:

- ``members``: the signals that it consists of, as last seen; ``absorbed``: signals it is the cause of, which raise no
  incident of their own; ``same_time``: what else changed when it began, as ``{"what", "detail"}``;
- ``advice``: what to do; ``fingerprint``: what the change looks like, or null; ``onset``: first day it is about;
- ``topics``: what it is about, for matching; ``peak``: how many times the limit its effect was at its worst;
  ``nights``: the nights on which it was seen.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from mlobs_pipelines.judge.diagnosis import Diagnosis
from mlobs_pipelines.judge.findings import Finding, Signal, magnitude, related, topic_of
from mlobs_pipelines.judge.monitors import DECISIONS, INPUT, INTAKE, LABELS, OUTPUT, PERFORMANCE, VOLUME
from mlobs_pipelines.judge.signals import SERIES
from mlobs_pipelines.store.tables import INCIDENTS

CLEAR_NIGHTS = 2
"""An incident is over when each of its numbers was clear on so many known nights in a row."""
REOPENED = 7
"""What comes back within so many nights of its end is the same incident."""
KEPT_ABSORBED = 40

CAUSES: Mapping[tuple[str, str], frozenset[str]] = {
    (INTAKE, "duplicate_rate"): frozenset({VOLUME}),
    (INTAKE, "quarantined_rate"): frozenset({VOLUME, INPUT, OUTPUT, DECISIONS}),
    (VOLUME, ""): frozenset({INPUT, OUTPUT, DECISIONS}),
    (INPUT, "data_fault"): frozenset({OUTPUT, DECISIONS, PERFORMANCE}),
    (INPUT, "input_drift"): frozenset({OUTPUT}),
    (LABELS, ""): frozenset({PERFORMANCE}),
    (DECISIONS, ""): frozenset({OUTPUT}),
    (PERFORMANCE, ""): frozenset({DECISIONS}),
}
"""Layer and what tells its troubles apart -> layers in which they show, too. A broken input silences what it causes."""

SEVERITIES = ("info", "warning", "critical")
MEMBER = (*SERIES, "window_start", "window_end", "value", "lower", "upper", "expected")
MEMBER_NUMBERS = ("effect", "chance", "practical", "rows", "labeled_rows")


@dataclass
class Incident:
    """One incident while a night is judged."""

    row: dict[str, Any]
    evidence: dict[str, Any]
    seen: bool = False

    @staticmethod
    def of(row: Mapping[str, Any]) -> Incident:
        return Incident(dict(row), json.loads(row["evidence"]))

    @property
    def layer(self) -> str:
        return str(self.evidence["topics"][0][0])

    @property
    def open(self) -> bool:
        return self.row["resolved_as_of"] is None

    def about(self, finding: Finding) -> bool:
        """Whether a finding is of the same trouble."""
        return list(finding.topic) in self.evidence["topics"] and related(self.row["segment"], finding.segment)

    def causes(self, finding: Finding) -> bool:
        """Whether a finding is what this incident brings about."""
        layer, metric, _ = self.evidence["topics"][0]
        apart = metric if layer == INTAKE else self.row["kind"] if layer == INPUT else ""
        if finding.layer not in CAUSES.get((layer, apart), ()) or list(finding.topic) in self.evidence["topics"]:
            return False
        if layer == VOLUME and finding.layer == INPUT and finding.leading["family"] == "quality":
            return False
        if layer == PERFORMANCE and finding.topic[1] == "demographic_parity_difference":
            return False  # no label is in it
        begins, ends = finding.leading["window_start"], finding.leading["window_end"]
        overlaps = ends >= self.row["since"] and (self.open or begins <= self.row["until"])
        return overlaps and related(self.row["segment"], finding.segment)

    def absorb(self, signals: Iterable[Signal]) -> None:
        """Keep signals that this incident explains, each series as last seen, the strongest of them."""
        known = {tuple(s[name] for name in SERIES): s for s in self.evidence["absorbed"]}
        known |= {tuple(s[name] for name in SERIES): member(s) for s in signals}
        own = {tuple(s[name] for name in SERIES) for s in self.evidence["members"]}
        kept = sorted((s for key, s in known.items() if key not in own), key=magnitude, reverse=True)
        self.evidence["absorbed"] = kept[:KEPT_ABSORBED]

    def see(self, finding: Finding, night: dt.date) -> None:
        """Take in what tonight says of it."""
        row, evidence = self.row, self.evidence
        self.seen = True
        row["resolved_as_of"] = None
        row["last_as_of"], row["until"] = night, max(row["until"], finding.leading["window_end"])
        if night.isoformat() not in evidence["nights"]:
            evidence["nights"].append(night.isoformat())
        row["nights"] = len(evidence["nights"])
        if list(finding.topic) not in evidence["topics"]:
            evidence["topics"].append(list(finding.topic))
        here = [s for s in finding.here if s["segment"] == row["segment"]]
        known = {tuple(s[name] for name in SERIES): s for s in evidence["members"]}
        known |= {tuple(s[name] for name in SERIES): member(s) for s in here}
        evidence["members"] = list(known.values())
        self.absorb([s for s in (*finding.here, *finding.elsewhere) if s["segment"] != row["segment"]])

    def describe(self, diagnosis: Diagnosis, finding: Finding, text: str) -> None:
        """Say it as it was at its worst; severity only rises."""
        row, evidence, s = self.row, self.evidence, finding.leading
        if (row["kind"], diagnosis.kind) == ("input_drift", "data_fault"):
            row["kind"] = "data_fault"  # it looked like drift at first
        worst = SEVERITIES.index(diagnosis.severity) > SEVERITIES.index(row["severity"] or "info")
        if worst or not row["severity"]:
            row["severity"] = diagnosis.severity
        if magnitude(s) < evidence["peak"] or s["segment"] != row["segment"]:
            row["title"] = self.title(evidence["says"])
            return
        evidence["peak"] = round(magnitude(s), 6)
        evidence["says"] = diagnosis.title
        evidence["advice"], evidence["fingerprint"] = diagnosis.advice, diagnosis.fingerprint
        direction = s["worse"] or (1 if (s["value"] or 0) >= (s["expected"] or 0) else -1)
        limit = max(s["practical"], s["chance"])
        threshold = (
            s["expected"] * 2.718281828459045 ** (direction * limit)
            if s["relative"]
            else s["expected"] + direction * limit
        )
        row |= {
            "title": self.title(diagnosis.title),
            "diagnosis": text,
            "recommended_action": diagnosis.action,
            "metric": s["metric"],
            "value": s["value"],
            "lower": s["lower"],
            "upper": s["upper"],
            "baseline": s["expected"],
            "threshold": threshold,
            "rows": s["rows"],
            "labeled_rows": s["labeled_rows"],
        }

    def title(self, says: str) -> str:
        """What an incident says, of inputs after their names."""
        return f"{self.row['subject']} {says}" if self.layer == INPUT else says

    def written(self, night: dt.date) -> dict[str, Any]:
        """The incident's row of the night."""
        self.row["as_of"] = night
        self.row["state"] = "open" if self.open else "resolved"
        self.row["evidence"] = json.dumps(self.evidence, ensure_ascii=False, sort_keys=True)
        return self.row


def opened(model: str, finding: Finding, kind: str, night: dt.date) -> Incident:
    """A new incident. Its name is made of what it is about and the night it was opened, so a rerun gives the same."""
    about = "|".join((model, *finding.topic, finding.segment))
    key = hashlib.sha256(about.encode()).hexdigest()
    evidence: dict[str, Any] = {
        "members": [],
        "absorbed": [],
        "same_time": [],
        "at_equal_inputs": None,
        "took_over": "",
        "advice": "",
        "says": "",
        "fingerprint": None,
        "onset": finding.since.isoformat(),
        "topics": [list(finding.topic)],
        "peak": 0.0,
        "nights": [],
    }
    row = dict.fromkeys(INCIDENTS) | {
        "incident_id": f"{model}-{night:%Y%m%d}-{finding.layer}-{key[:8]}",
        "model": model,
        "version": "",
        "opened_as_of": night,
        "last_as_of": night,
        "kind": kind,
        "subject": finding.subject,
        "segment": finding.segment,
        "since": finding.since,
        "until": finding.leading["window_end"],
        "dedup_key": key[:32],
        "nights": 0,
        "severity": "",
    }
    return Incident(row, evidence)


def over(incident: Incident, signals: Mapping[tuple[str, ...], Signal]) -> bool:
    """Whether each number of an incident was clear on the last known nights, tonight included; missing data keep it."""
    for kept in incident.evidence["members"]:
        signal = signals.get(tuple(kept[name] for name in SERIES))
        if signal is None or signal["value"] is None:
            return False
        nights = [*[bool(n["clear"]) for n in signal["past"] or []][-(CLEAR_NIGHTS - 1) :], bool(signal["clear"])]
        if len(nights) < CLEAR_NIGHTS or not all(nights):
            return False
    return True


def member(signal: Signal) -> dict[str, Any]:
    """A signal as evidence keeps it."""
    kept = {name: signal[name] for name in MEMBER}
    for name in ("window_start", "window_end"):
        kept[name] = str(kept[name])
    return kept | {name: signal[name] for name in MEMBER_NUMBERS}


def frame(incidents: Sequence[Incident], night: dt.date) -> pl.DataFrame:
    """Rows of ``INCIDENTS``, by name."""
    rows = [incident.written(night) for incident in incidents]
    return pl.DataFrame(rows, schema=INCIDENTS).sort("incident_id")


__all__ = ["Incident", "frame", "member", "opened", "over", "topic_of"]
