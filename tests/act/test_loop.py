"""The loop as a whole: from an incident to another champion, and from a version made by hand."""

from __future__ import annotations

import polars as pl

from mlobs_pipelines.act.decide import decide
from mlobs_pipelines.act.ledger import Ledger
from mlobs_pipelines.act.loop import advance
from mlobs_pipelines.registry import Registry
from mlobs_pipelines.store.read import table
from tests.act.small_home import DAYS, LAST, day, give_version, incident, spec_of, write_incidents


def words(home) -> list[tuple[str, str]]:
    """Every decision and where it stands."""
    return [(row["decision_id"], row["status"]) for row in Ledger(home, "m").current()]


def approve(home, decision_id: str, who: str = "ann") -> None:
    ledger = Ledger(home, "m")
    row = ledger.find(decision_id)
    assert row is not None
    assert row["status"] == "pending"
    ledger.turn(row, "approved", "yes", actor=who)


def test_from_an_incident_to_another_champion_with_a_person_agreeing_twice(small):
    spec = spec_of(small)
    registry = Registry.open(small, spec)
    give_version(small, "b")
    registry = Registry.open(small, spec)
    registry.set_alias("champion", "1")
    night = write_incidents(small, DAYS - 1, [incident("i1")])
    assert decide(small, spec, night) == ["m:retrain:i1"]
    assert advance(small, spec) == [], "nobody agreed yet"

    approve(small, "m:retrain:i1")
    advance(small, spec)
    assert registry.aliases() == {"champion": "1", "challenger": "2"}
    assert words(small) == [("m:retrain:i1", "done"), ("m:validate:2:1", "done"), ("m:promote:2:1", "pending")]
    stored = table(small, "comparisons", "m").filter((pl.col("metric") == "roc_auc") & (pl.col("segment") == ""))
    assert stored.select("champion", "challenger", "as_of", "verdict").rows() == [("1", "2", LAST, "better")]

    approve(small, "m:promote:2:1")
    assert advance(small, spec)
    assert registry.aliases() == {"champion": "2", "previous_champion": "1"}
    assert words(small)[-1] == ("m:promote:2:1", "done")
    assert advance(small, spec) == [], "and that is that"


def test_by_rule_it_needs_nobody(small):
    spec = spec_of(small, retrain={"mode": "auto"}, promote={"mode": "auto"})
    give_version(small, "b")
    registry = Registry.open(small, spec)
    registry.set_alias("champion", "1")
    decide(small, spec, write_incidents(small, DAYS - 1, [incident("i1")]))
    advance(small, spec)
    assert registry.aliases() == {"champion": "2", "previous_champion": "1"}
    rows = Ledger(small, "m").history("m:promote:2:1")
    assert [(r["status"], r["actor"], r["mode"]) for r in rows] == [
        (status, "mlobs", "auto") for status in ("approved", "running", "done")
    ]


def test_without_a_registry_or_a_night_nothing_is_due(small):
    spec = spec_of(small)
    assert advance(small, spec) == []
    assert not (small.root / "mlflow.db").exists()


def test_a_round_at_a_time(small):
    spec = spec_of(small, promote={"mode": "auto"})
    give_version(small, "b")
    Registry.open(small, spec).set_alias("champion", "1")
    give_version(small, "a", mlobs__trained_through=str(day(20)))
    advance(small, spec, until_quiet=False)
    assert Registry.open(small, spec).aliases()["champion"] == "1"
    advance(small, spec, until_quiet=False)
    assert Registry.open(small, spec).aliases()["champion"] == "2"
