"""What is wrong with the demo's world, and what should be said of it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Planted:
    """A fault, and the incident that it should become; no kind: it does no harm, and nothing above info should."""

    fault: Fault
    what: str
    kind: str = ""
    subject: str = ""
    segment: str = ""
    action: str = ""

    @property
    def start(self) -> dt.date:
        """First day of the fault."""
        return self.fault.start

    @property
    def end(self) -> dt.date | None:
        """Last day of the fault; None: it stays."""
        return self.fault.end


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
