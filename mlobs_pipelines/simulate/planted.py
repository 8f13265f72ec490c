"""What is wrong with the demo's world, and what should be said of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from mlobs_pipelines.simulate.faults import (
    BiasedThreshold,
    BrokenUnit,
    DuplicatedFeed,
    Fault,
    NewFraudPattern,
    PopulationShift,
    VanishedFeature,
)
from mlobs_pipelines.simulate.world import FIRST_DAY

INPUT_KNOWN, OUTCOME_KNOWN = 2, 21
"""Days after a fault's first by which it must be found: at once, give or take a night, where rows tell of it; when a
week's labels are final where only labels do."""
ONSET = 7
"""Days from the fault's first within which an incident must say it began."""
UNHARMED = "info"
"""Severity of an incident that nobody has to act on."""


@dataclass(frozen=True)
class Planted:
    """A fault, and the incident that it should become; no kind: it does no harm, and nothing above info should."""

    fault: Fault
    what: str
    kind: str = ""
    subject: str = ""
    segment: str = ""
    action: str = ""
    known_after: int = INPUT_KNOWN

    @property
    def expected(self) -> dict[str, str]:
        """What the incident must say, by column."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "segment": self.segment,
            "recommended_action": self.action,
        }

    @property
    def start(self) -> dt.date:
        """First day of the fault."""
        return self.fault.start

    @property
    def end(self) -> dt.date | None:
        """Last day of the fault; None: it stays."""
        return self.fault.end


@dataclass(frozen=True)
class Found:
    """What became of a planted fault.

    ``verdict``: ``found``: an incident says all that it should; ``missed``: none does, ``incident`` being the one that
    comes nearest, if any, and ``differs`` the columns in which it says something else; ``quiet``: a harmless change
    raised nothing; ``alarmed``: it did, by ``incident``; ``early``: the world ends before it must be found.
    """

    planted: Planted
    verdict: Literal["found", "missed", "quiet", "alarmed", "early"]
    incident: dict[str, Any] | None = None
    differs: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether this is as it should be, as far as can be told yet."""
        return self.verdict in ("found", "quiet", "early")


def found(faults: Sequence[Planted], incidents: pl.DataFrame, last_day: dt.date) -> list[Found]:
    """Match planted faults to incidents, each incident to one fault at most; faults after ``last_day`` are left out.

    An incident is a fault's if kind, subject, segment and recommended action are as expected and it says that it began
    in the fault's first week, and while it lasted. What is left, is above info and began during a harmless change, is
    a false alarm of that.

    Args:
        faults: what was planted.
        incidents: each incident once, with the columns that ``Planted.expected`` names and incident_id, severity,
            since and opened_as_of.
        last_day: last day of the world.
    """
    rows = incidents.sort("opened_as_of", "incident_id").to_dicts()
    present = [f for f in faults if f.start <= last_day]
    matched: dict[int, dict[str, Any]] = {}
    for i, fault in enumerate(present):
        mine = (r for r in rows if r not in matched.values() and fault.kind and not _differs(fault, r))
        if row := next(mine, None):
            matched[i] = row
    free = [r for r in rows if r not in matched.values()]
    return [
        Found(fault, "found", matched[i]) if i in matched else _unmatched(fault, free, last_day)
        for i, fault in enumerate(present)
    ]


def unplanted(verdicts: Sequence[Found], incidents: pl.DataFrame) -> list[dict[str, Any]]:
    """Incidents above info that no planted fault accounts for, the earliest first."""
    named = [v.incident["incident_id"] for v in verdicts if v.incident is not None]
    rest = incidents.filter((pl.col("severity") != UNHARMED) & ~pl.col("incident_id").is_in(named))
    return rest.sort("opened_as_of", "incident_id").to_dicts()


def _unmatched(fault: Planted, free: Sequence[dict[str, Any]], last_day: dt.date) -> Found:
    if not fault.kind:
        alarms = [r for r in free if r["severity"] != UNHARMED and _during(fault, r["since"])]
        return Found(fault, "alarmed", alarms[0]) if alarms else Found(fault, "quiet")
    if last_day < fault.start + dt.timedelta(days=fault.known_after):
        return Found(fault, "early")
    near = [r for r in free if _during(fault, r["since"]) and _same_place(fault, r)]
    if not near:
        return Found(fault, "missed")
    nearest = min(near, key=lambda r: len(_differs(fault, r)))
    return Found(fault, "missed", nearest, _differs(fault, nearest))


def _differs(fault: Planted, incident: dict[str, Any]) -> tuple[str, ...]:
    """Columns in which an incident is not as the fault has it."""
    wrong = [column for column, value in fault.expected.items() if (incident[column] or "") != value]
    since: dt.date | None = incident["since"]
    on_time = since is not None and _during(fault, since) and since < fault.start + dt.timedelta(days=ONSET)
    return tuple(wrong) if on_time else (*wrong, "since")


def _during(fault: Planted, day: dt.date | None) -> bool:
    return day is not None and fault.fault.active(day)


def _same_place(fault: Planted, incident: dict[str, Any]) -> bool:
    """Whether an incident is about what the fault is about, or at least is of its kind."""
    named = {value for value in (fault.subject, fault.segment) if value}
    return incident["kind"] == fault.kind or bool(named & {incident["subject"], incident["segment"]})


def planted(first_day: dt.date = FIRST_DAY) -> tuple[Planted, ...]:
    """The faults of the demo in the order of their days, for a world that begins on ``first_day``."""

    def day(n: int) -> dt.date:
        return first_day + dt.timedelta(days=n)

    return (
        Planted(
            PopulationShift(start=day(8), end=day(22), where={"age_group": "18-24"}, factor=3),
            "three times as many customers of 18 to 24, who behave as ever",
        ),
        Planted(
            DuplicatedFeed(start=day(16), end=day(18)),
            "the feed of predictions is sent twice",
            kind="data_fault",
            action="fix_data",
        ),
        Planted(
            NewFraudPattern(start=day(24), where={"country": "ES"}, rate=0.15),
            "fraud in Spain that no feature tells of",
            kind="concept_drift",
            segment="country=ES",
            action="retrain",
            known_after=OUTCOME_KNOWN,
        ),
        Planted(
            BrokenUnit(start=day(40), end=day(44), feature="amount", where={"country": "NL"}, factor=100),
            "amounts of the Netherlands come in cents",
            kind="data_fault",
            subject="amount",
            segment="country=NL",
            action="fix_data",
        ),
        Planted(
            BiasedThreshold(start=day(48), attribute="age_group", group="65+"),
            "payments of customers over 65 are declined at a lower score",
            kind="fairness",
            subject="age_group",
            segment="age_group=65+",
            action="alert",
        ),
        Planted(
            VanishedFeature(start=day(56), feature="distance_km"),
            "distance_km is missing",
            kind="data_fault",
            subject="distance_km",
            action="fix_data",
        ),
    )
