"""What was planted is matched to what was found, strictly: the right words, or it was not found."""

from __future__ import annotations

import datetime as dt
from importlib import resources
from typing import Any

import polars as pl
import pytest

from mlobs_pipelines.simulate.planted import Found, Planted, found, planted, unplanted
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.tables import INCIDENTS

LAST = dt.date(2026, 3, 1)
FAULTS = planted()


def incident_of(fault: Planted, **otherwise: Any) -> dict[str, Any]:
    """The incident that a fault should become."""
    return {
        "incident_id": f"id-{fault.start}",
        "opened_as_of": fault.start,
        "since": fault.start,
        "severity": "critical",
        **fault.expected,
        **otherwise,
    }


def table(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema_overrides=INCIDENTS, schema=None if rows else INCIDENTS)


def verdicts(*rows: dict[str, Any], last: dt.date = LAST) -> dict[str, Found]:
    return {type(v.planted.fault).__name__: v for v in found(FAULTS, table(*rows), last)}


def harmful() -> list[Planted]:
    return [f for f in FAULTS if f.kind]


def test_the_demo_has_the_six_faults_that_it_promises() -> None:
    assert sorted(type(f.fault).__name__ for f in FAULTS) == [
        "BiasedThreshold",
        "BrokenUnit",
        "DuplicatedFeed",
        "NewFraudPattern",
        "PopulationShift",
        "VanishedFeature",
    ]
    assert [f.start for f in FAULTS] == sorted(f.start for f in FAULTS)


def test_every_fault_is_found_where_an_incident_says_all_of_it() -> None:
    said = verdicts(*map(incident_of, harmful()))
    assert {name: v.verdict for name, v in said.items()} == {
        "PopulationShift": "quiet",
        "DuplicatedFeed": "found",
        "NewFraudPattern": "found",
        "BrokenUnit": "found",
        "BiasedThreshold": "found",
        "VanishedFeature": "found",
    }
    assert all(v.right for v in said.values())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("kind", "input_drift"),
        ("subject", "hour"),
        ("segment", "country=DE"),
        ("segment", ""),
        ("recommended_action", "retrain"),
        ("since", dt.date(2026, 2, 9)),
        ("since", dt.date(2026, 2, 15)),
        ("since", None),
    ],
)
def test_an_incident_that_says_one_thing_wrong_is_not_the_fault(column: str, value: object) -> None:
    unit = next(f for f in FAULTS if f.subject == "amount")
    said = verdicts(incident_of(unit, **{column: value}))["BrokenUnit"]
    assert said.verdict == "missed" and not said.right
    if column != "since":
        assert said.incident is not None
        assert said.differs == (column,)


def test_nothing_found_is_missed_and_a_fault_that_stays_may_not_be_told_of_late() -> None:
    assert {v.verdict for n, v in verdicts().items() if n != "PopulationShift"} == {"missed"}
    pattern = next(f for f in FAULTS if f.kind == "concept_drift")
    late = verdicts(incident_of(pattern, since=pattern.start + dt.timedelta(days=7)))["NewFraudPattern"]
    assert (late.verdict, late.differs) == ("missed", ("since",))


def test_one_incident_is_one_fault_at_most() -> None:
    twice = (FAULTS[1], FAULTS[1])
    said = found(twice, table(incident_of(FAULTS[1])), LAST)
    assert [v.verdict for v in said] == ["found", "missed"]


@pytest.mark.parametrize(("severity", "verdict"), [("info", "quiet"), ("warning", "alarmed"), ("critical", "alarmed")])
def test_a_harmless_change_must_raise_nothing_above_info(severity: str, verdict: str) -> None:
    shift = next(f for f in FAULTS if not f.kind)
    alarm = incident_of(shift, kind="input_drift", subject="age_group", severity=severity)
    assert verdicts(alarm)["PopulationShift"].verdict == verdict
    beside = incident_of(FAULTS[1])  # the duplicated feed falls into the same days
    assert verdicts(beside)["PopulationShift"].verdict == "quiet"


def test_what_cannot_be_known_yet_is_not_missed() -> None:
    day = FAULTS[0].start
    assert list(verdicts(last=day)) == ["PopulationShift"]
    pattern = next(f for f in FAULTS if f.kind == "concept_drift")
    before = verdicts(last=pattern.start + dt.timedelta(days=20))["NewFraudPattern"]
    assert before.verdict == "early" and before.right
    assert verdicts(last=pattern.start + dt.timedelta(days=21))["NewFraudPattern"].verdict == "missed"


def test_alarms_that_nothing_accounts_for_are_named() -> None:
    stray = incident_of(FAULTS[1], incident_id="stray", kind="service", since=LAST, opened_as_of=LAST)
    quiet = incident_of(FAULTS[1], incident_id="quiet", kind="service", since=LAST, severity="info")
    rows = [incident_of(f) for f in harmful()]
    said = found(FAULTS, table(*rows, stray, quiet), LAST)
    assert [r["incident_id"] for r in unplanted(said, table(*rows, stray, quiet))] == ["stray"]


def test_faults_name_what_the_spec_watches() -> None:
    with resources.as_file(resources.files("mlobs_pipelines.simulate").joinpath("card_fraud.yaml")) as file:
        spec = load_spec(file)
    watched = {field for cut in spec.segment_fields for field in cut} | set(spec.fairness.attributes)
    features = {*(spec.features.numeric or ()), *(spec.features.categorical or ()), *spec.fairness.attributes}
    for fault in harmful():
        assert not fault.segment or fault.segment.split("=")[0] in watched
        assert not fault.subject or fault.subject in features
        lag = spec.maturity_days if fault.kind == "concept_drift" else 0
        assert lag < fault.known_after
