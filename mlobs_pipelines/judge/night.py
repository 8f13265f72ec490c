"""A night's judgement: its metrics, what was usual and what was known -> signals, incidents and their causes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from mlobs_pipelines.judge import causes
from mlobs_pipelines.judge.causes import Period, Suspect
from mlobs_pipelines.judge.diagnosis import Diagnosis, Fingerprint, diagnose, fingerprint, sentence
from mlobs_pipelines.judge.findings import RARE, Finding, Signal, findings_of, moved
from mlobs_pipelines.judge.incidents import REOPENED, Incident, frame, opened, over
from mlobs_pipelines.judge.monitors import (
    DECISIONS,
    INPUT,
    INTAKE,
    LABELS,
    LAYERS,
    OUTPUT,
    PERFORMANCE,
    SERVICE,
    VOLUME,
    windows_of,
)
from mlobs_pipelines.judge.signals import SERIES, first_role, signals_of
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.tables import CAUSES, METRICS, SIGNALS

BEFORE = 28
"""Days before a trouble that it is compared with."""
AFTER = 14
"""Of a long trouble, the last so many days are looked at for causes."""
AGAIN = 7
"""While it is open, causes are searched anew every so many nights on which it is seen."""

NEARLY_ALL, MOST = 0.7, 0.5
"""A trouble sits in a segment that holds this share of the change, and surely at least that."""

BESIDE = (VOLUME, INTAKE, LABELS, SERVICE)
"""Layers whose troubles are named beside another one that began on the same day."""
GONE = 0.995
"""A feature that is missing on this share of the rows is no column any more."""

ProfileOf = Callable[[dt.date, dt.date], pl.DataFrame]
"""First and last event date -> rows of ``feature_profile`` as known on the night."""


@dataclass(frozen=True)
class Judgement:
    """What a night concludes; schemas ``SIGNALS``, ``INCIDENTS`` and ``CAUSES``, and the metrics with their verdicts."""

    metrics: pl.DataFrame
    signals: pl.DataFrame
    incidents: pl.DataFrame
    causes: pl.DataFrame


def judge_night(
    metrics: pl.DataFrame,
    history: pl.DataFrame,
    previous: pl.DataFrame,
    spec: ModelSpec,
    night: dt.date,
    profile_of: ProfileOf,
) -> Judgement:
    """Judge a night by what was known at its end.

    Args:
        metrics: the night's rows, schema ``METRICS``.
        history: signals of earlier nights, schema ``SIGNALS``.
        previous: incidents as the night before this one in the lake left them, schema ``INCIDENTS``.
        spec: the model.
        night: the night.
        profile_of: where causes are looked for; called only on nights with something to explain.
    """
    signals = signals_of(metrics, history, spec, night)
    judge = _Judge(spec, night, metrics, profile_of)
    short, long = windows_of(spec)
    kept_for = dt.timedelta(days=spec.maturity_days + long + short + REOPENED)
    known = [Incident.of(row) for row in previous.iter_rows(named=True)]
    known = [i for i in known if i.open or i.row["resolved_as_of"] >= night - kept_for]
    found = sorted(findings_of(signals), key=_order)
    incidents = judge.match(found, known)
    unseen = [incident for incident in incidents if incident.open and not incident.seen]
    by_series: dict[tuple[str, ...], Signal] = (
        {tuple(row[name] for name in SERIES): row for row in signals.iter_rows(named=True)} if unseen else {}
    )
    for incident in unseen:
        if over(incident, by_series):
            incident.row["resolved_as_of"] = night
    return Judgement(
        metrics=with_verdicts(metrics, signals, incidents),
        signals=signals.select(list(SIGNALS)).sort(SERIES),
        incidents=frame(incidents, night),
        causes=judge.causes_frame(),
    )


def _order(finding: Finding) -> tuple[int, str]:
    """Causes before what they cause; gaps that rest on labels after performance."""
    late = finding.topic[1] == "equal_opportunity_difference"
    return LAYERS.index(PERFORMANCE if late else finding.layer) * 2 + late, str(finding.topic)


class _Judge:
    def __init__(self, spec: ModelSpec, night: dt.date, metrics: pl.DataFrame, profile_of: ProfileOf) -> None:
        short, _ = windows_of(spec)
        self.spec, self.night, self.profile_of = spec, night, profile_of
        self.role = first_role(metrics)
        self.short = metrics.filter(
            (pl.col("role") == self.role)
            & (pl.col("version") == "")
            & (pl.col("window_end") == night)
            & (pl.col("window_start") == night - dt.timedelta(days=short - 1))
        )
        self.causes: list[dict[str, Any]] = []
        self.tonight: list[Finding] = []
        self.profiles: dict[tuple[dt.date, dt.date], pl.DataFrame] = {}

    def match(self, findings: Sequence[Finding], known: Sequence[Incident]) -> list[Incident]:
        """Give each finding to the incident it belongs to, to its cause, or, if it is sure, to a new incident."""
        incidents = list(known)
        self.tonight = list(findings)
        doubtful: list[Finding] = []
        for finding in findings:
            mine = next((i for i in incidents if i.open and i.about(finding)), None) or next(
                (i for i in incidents if finding.confirmed and self._came_back(i, finding)), None
            )
            if mine is not None:
                self._see(mine, finding, new=False)
                continue
            if causes_of := [i for i in incidents if i.causes(finding)]:
                first = min(causes_of, key=lambda i: (LAYERS.index(i.layer), -i.row["since"].toordinal()))
                first.absorb([*finding.here, *finding.elsewhere])
                continue
            sure = finding.confirmed or (finding.layer == INPUT and _sure(fingerprint(finding, self.short)))
            if not sure or any(_may_cause(other, finding) for other in doubtful):
                doubtful.append(finding)
                continue
            self._open(self._traced(finding), incidents)
        return incidents

    def _open(self, finding: Finding, incidents: list[Incident]) -> None:
        diagnosis, suspects, changes, told = self._diagnose(finding)
        joined = next((i for i in incidents if self._same_onset(i, finding, diagnosis.kind)), None)
        if joined is None:
            joined = opened(self.spec.model, finding, diagnosis.kind, self.night)
            joined.row["version"] = self._version(finding)
            joined.evidence |= {"same_time": changes, **told}
            incidents.append(joined)
        else:
            names = {*str(joined.row["subject"]).split(", "), finding.subject}
            joined.row["subject"] = ", ".join(sorted(names))
        self._tell(joined, finding, diagnosis, suspects, changes)

    def _came_back(self, incident: Incident, finding: Finding) -> bool:
        resolved = incident.row["resolved_as_of"]
        return resolved is not None and (self.night - resolved).days <= REOPENED and incident.about(finding)

    def _same_onset(self, incident: Incident, finding: Finding, kind: str) -> bool:
        """Inputs that break on one day in one segment have one cause."""
        row = incident.row
        return (
            incident.open
            and finding.layer == INPUT == incident.layer
            and row["kind"] == kind
            and row["segment"] == finding.segment
            and abs((row["since"] - finding.since).days) <= 1
        )

    def _see(self, incident: Incident, finding: Finding, *, new: bool) -> None:
        due = incident.row["nights"] % AGAIN == 0
        if due or not incident.seen:
            diagnosis, suspects, changes, told = self._diagnose(finding, None if due else incident.evidence)
            incident.evidence |= told
            self._tell(incident, finding, diagnosis, suspects, changes or incident.evidence["same_time"])
        else:
            incident.see(finding, self.night)

    def _tell(
        self,
        incident: Incident,
        finding: Finding,
        diagnosis: Diagnosis,
        suspects: Sequence[Suspect],
        changes: Sequence[Mapping[str, str]],
    ) -> None:
        incident.see(finding, self.night)
        text = sentence(
            incident.title(diagnosis.title), incident.row, finding, suspects, [c["detail"] for c in changes]
        )
        incident.describe(diagnosis, finding, text)
        name = incident.row["incident_id"]
        if suspects:
            self.causes = [c for c in self.causes if c["incident_id"] != name or c["subject"] != finding.subject]
            place = sum(c["incident_id"] == name for c in self.causes)
            for rank, found in enumerate(suspects, start=place + 1):
                self.causes.append(
                    {**found, "incident_id": name, "rank": rank, "model": self.spec.model, "as_of": self.night}
                )

    def _diagnose(
        self, finding: Finding, told: Mapping[str, Any] | None = None
    ) -> tuple[Diagnosis, list[Suspect], list[dict[str, str]], dict[str, Any]]:
        """What it is, its first suspects, what else happened, and what to remember of the search for causes.

        ``told``: what was remembered, on nights that do not search again.
        """
        total = max((p["rows"] or 0 for p in finding.places if p["segment"] == ""), default=0)
        share = finding.leading["rows"] / total if total and finding.segment else 1.0
        suspects: list[Suspect] = []
        rest: float | None = told.get("at_equal_inputs") if told else None
        version: str = told["took_over"] if told else ""
        changes: list[dict[str, str]] = []
        if told is None:
            before, after = self._periods(finding)
            profile = self._profile(before.first, after.last)
            if finding.layer in (PERFORMANCE, OUTPUT) and profile.height:
                suspects, rest = causes.of_a_mean(
                    profile, self.spec, finding.segment, before, after, labeled=finding.layer == PERFORMANCE
                )
            else:
                suspects = causes.of_places(finding)
            if finding.layer == INPUT:
                first = causes.suspect("feature", finding.subject, finding.segment, None, _how(finding))
                suspects = [first, *suspects]
            version = self._took_over(finding, profile)
            if version:
                changes.append({"what": "version", "detail": f"version {version} took over"})
            changes += self._same_time(finding)
        diagnosis = diagnose(finding, self.short, share_of_rows=share, at_equal_inputs=rest, new_version=version)
        return diagnosis, suspects, changes, {"at_equal_inputs": rest, "took_over": version}

    def _same_time(self, finding: Finding) -> list[dict[str, str]]:
        """What else went off when this did: volume, deliveries, labels, service; and columns that are not there any more."""
        found = []
        for other in self.tonight:
            if other.layer not in BESIDE or other.topic == finding.topic or abs((other.since - finding.since).days) > 1:
                continue
            said = diagnose(other, self.short, share_of_rows=1.0, at_equal_inputs=None, new_version="")
            found.append({"what": other.layer, "detail": said.title})
        gone = sorted({s["subject"] for s in finding.here if s["metric"] == "missing_rate" and s["value"] >= GONE})
        return found + [{"what": "schema", "detail": f"{name} is not delivered any more"} for name in gone]

    def _traced(self, finding: Finding) -> Finding:
        """A performance that is off everywhere, at the segment that nearly all of the change in loss comes from, if it is
        off there, too."""
        if finding.layer != PERFORMANCE or finding.segment:
            return finding
        before, after = self._periods(finding)
        profile = self._profile(before.first, after.last)
        if not profile.height:
            return finding
        suspects, _ = causes.of_a_mean(profile, self.spec, "", before, after, labeled=True)
        total = finding.leading["rows"]
        for s in suspects:
            held = s["kind"] == "segment" and float(str(s["share"])) >= NEARLY_ALL and float(str(s["lower"])) >= MOST
            place = next((p for p in finding.places if p["segment"] == s["segment"]), None)
            if held and place is not None and place["breach"] and place["rows"] <= RARE * total:
                return moved(finding, str(s["segment"]))
        return finding

    def _periods(self, finding: Finding) -> tuple[Period, Period]:
        """The days of the trouble and the days before it; the first window that was off may have begun well."""
        last, long = finding.leading["window_end"], windows_of(self.spec)[1]
        good = finding.since - dt.timedelta(days=long if finding.layer == PERFORMANCE else 1)
        first = max(finding.since, last - dt.timedelta(days=AFTER - 1))
        return Period(good - dt.timedelta(days=BEFORE - 1), good), Period(first, last)

    def _profile(self, first: dt.date, last: dt.date) -> pl.DataFrame:
        if (first, last) not in self.profiles:
            found = self.profile_of(first, last)
            self.profiles[first, last] = found.filter(pl.col("role") == self.role) if found.height else found
        return self.profiles[first, last]

    def _took_over(self, finding: Finding, profile: pl.DataFrame) -> str:
        """The version that served most when the trouble began, if it did not before; one that came later did not begin it."""
        if not profile.height:
            return ""
        before, after = self._periods(finding)
        slack = dt.timedelta(days=windows_of(self.spec)[1] if finding.layer == PERFORMANCE else 2)
        served = causes.versions(profile, Period(before.first, after.last))
        earlier = {version for day, version in served.items() if day < finding.since - slack}
        onset = [served[day] for day in sorted(served) if day >= finding.since][:2]
        new = [version for version in onset if version not in earlier]
        return new[-1] if earlier and new else ""

    def _version(self, finding: Finding) -> str:
        before, after = self._periods(finding)
        served = causes.versions(self._profile(before.first, after.last), after)
        return served[max(served)] if served else ""

    def causes_frame(self) -> pl.DataFrame:
        return pl.DataFrame(self.causes, schema=CAUSES).sort("incident_id", "rank")


def _may_cause(other: Finding, finding: Finding) -> bool:
    """Whether a finding that is not sure yet may turn out to be the cause of one that is: then it can wait."""
    downstream = {VOLUME: {INPUT, OUTPUT}, INPUT: {OUTPUT, DECISIONS}}
    return finding.layer in downstream.get(other.layer, ()) and other.since <= finding.since


def _sure(sign: Fingerprint | None) -> bool:
    return sign is not None and sign.sure


def _how(finding: Finding) -> str:
    s = finding.leading
    return f"{s['metric']} {s['value']:.3g}, usually {s['expected']:.3g}"


def with_verdicts(metrics: pl.DataFrame, signals: pl.DataFrame, incidents: Sequence[Incident]) -> pl.DataFrame:
    """The metrics with their status: ``alert`` for what an open incident above info consists of, ``warn`` for every
    other breach, else as it was."""
    severe = [
        {name: s[name] for name in SERIES} | {"severe": True}
        for i in incidents
        if i.open and i.row["severity"] != "info"
        for s in i.evidence["members"]
    ]
    schema = {**{name: pl.String() for name in SERIES}, "severe": pl.Boolean()}
    alerts = pl.DataFrame(severe, schema=schema).unique(SERIES)
    breaches = signals.filter("breach").select(*SERIES, "window_start", "window_end", breach=pl.lit(True))
    if not breaches.height:
        return metrics
    keys = [*SERIES, "window_start", "window_end"]
    judged = (
        metrics.join(breaches, on=keys, how="left", maintain_order="left")
        .join(alerts, on=SERIES, how="left", maintain_order="left")
        .with_columns(
            status=pl.when((pl.col("version") != "") | pl.col("breach").is_null())
            .then("status")
            .when(pl.col("severe").is_not_null())
            .then(pl.lit("alert"))
            .otherwise(pl.lit("warn"))
        )
    )
    return judged.select(list(METRICS))
