"""A new version is compared with the champion on rows that are fair, and what follows is decided."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from mlobs_pipelines.act import loop
from mlobs_pipelines.act.ledger import Ledger
from mlobs_pipelines.act.rows import RowsError
from mlobs_pipelines.act.scoring import Window, score_both, window_of
from mlobs_pipelines.registry import Registry, RegistryError, Version
from mlobs_pipelines.store.read import table
from tests.act.small_home import (
    DAYS,
    LAST,
    MATURITY,
    day,
    finish_night,
    give_version,
    incident,
    spec_of,
    write_incidents,
)

FINAL = day(DAYS - MATURITY - 1)
NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


def setup(home, champion: str = "b", **policy):
    spec = spec_of(home, **policy)
    give_version(home, champion)
    Registry.open(home, spec).set_alias("champion", "1")
    return spec


def states(home) -> dict[str, str]:
    return {row["decision_id"]: row["status"] for row in Ledger(home, "m").current()}


def tags(home, spec, version: str = "2") -> dict[str, str]:
    found = Registry.open(home, spec).version(version)
    assert found is not None
    return dict(found.tags)


def version_of(created: dt.datetime = NOW, **tags: str) -> Version:
    return Version("2", "", {k.replace("__", "."): v for k, v in tags.items()}, created, "")


def test_it_is_judged_on_final_days_after_its_training_data(small):
    spec = spec_of(small)
    window = window_of(small, spec, version_of(mlobs__trained_through=str(day(20))), LAST)
    assert window == Window(day(21), FINAL)


def test_where_there_are_too_few_it_waits_until_there_are(small):
    spec = spec_of(small)
    assert window_of(small, spec, version_of(mlobs__trained_through=str(FINAL)), LAST) == LAST + dt.timedelta(days=7)
    assert window_of(small, spec, version_of(mlobs__trained_through=str(day(30))), LAST) == LAST + dt.timedelta(days=3)


def test_without_the_tag_rows_after_its_making_are_fair(small):
    made = dt.datetime.combine(day(10), dt.time(9), dt.UTC)
    assert window_of(small, spec_of(small), version_of(made), LAST) == Window(day(11), FINAL)


def test_else_the_newest_quarter_is_taken_with_a_doubt(small):
    window = window_of(small, spec_of(small), version_of(), LAST)
    assert isinstance(window, Window)
    assert (window.first, window.last) == (day(26), FINAL)
    assert "may have been trained on these rows" in window.doubt


def test_both_versions_score_the_same_rows_without_poisoned_ones(small):
    spec = setup(small)
    give_version(small, "a", mlobs__trained_through=str(day(20)))
    write_incidents(small, 30, [incident("f", "fix_data", since=day(25), until=day(25), segment="country=NL")])
    rows = score_both(small, spec, "1", "2")
    assert rows["event_date"].min() == day(21)
    assert set(rows.filter(pl.col("event_date") == day(25))["country"]) == {"DE"}
    better = np.corrcoef(rows["label"], rows["score_challenger"])[0, 1]
    worse = np.corrcoef(rows["label"], rows["score_champion"])[0, 1]
    assert better > 0.6 > 0.2 > abs(worse)


def test_a_better_version_made_by_hand_is_proposed_and_said_so_in_its_tags(small):
    spec = setup(small)
    give_version(small, "a", mlobs__trained_through=str(day(20)))
    loop.do(small, spec, "validate")
    assert states(small) == {"m:validate:2:1": "done", "m:promote:2:1": "pending"}
    found = tags(small, spec)
    assert found["mlobs.verdict"] == "better"
    assert found["mlobs.verdict_metric"] == "roc_auc"
    assert float(found["mlobs.verdict_difference"]) > 0.2
    stored = table(small, "comparisons", "m").filter((pl.col("metric") == "roc_auc") & (pl.col("segment") == ""))
    assert stored.select("champion", "challenger", "verdict").rows() == [("1", "2", "better")]
    assert loop.do(small, spec, "validate") == [], "once"


def test_a_worse_version_is_held(small):
    spec = setup(small, "a")
    give_version(small, "b", mlobs__trained_through=str(day(20)))
    loop.do(small, spec, "validate")
    assert states(small) == {"m:validate:2:1": "done", "m:hold:2:1": "done"}
    assert tags(small, spec)["mlobs.verdict"] == "worse"


def test_one_that_is_as_good_is_for_a_person_to_decide(small):
    spec = setup(small, "a", promote={"mode": "auto"})
    give_version(small, "a", mlobs__trained_through=str(day(20)))
    loop.do(small, spec, "validate")
    assert tags(small, spec)["mlobs.verdict"] == "non_inferior"
    assert states(small)["m:promote:2:1"] == "pending"


def test_by_rule_a_better_one_is_approved_at_once(small):
    spec = setup(small, promote={"mode": "auto"})
    give_version(small, "a", mlobs__trained_through=str(day(20)))
    loop.do(small, spec, "validate")
    assert states(small)["m:promote:2:1"] == "approved"


def test_one_that_may_know_the_rows_is_never_promoted_by_rule(small):
    spec = setup(small, promote={"mode": "auto"})
    give_version(small, "a")
    loop.do(small, spec, "validate")
    row = Ledger(small, "m").find("m:promote:2:1")
    assert row is not None
    assert row["status"] == "pending"
    assert "may have been trained on these rows" in row["reason"]


def test_where_promotion_is_off_it_is_held(small):
    spec = setup(small, promote={"mode": "off"})
    give_version(small, "a", mlobs__trained_through=str(day(20)))
    loop.do(small, spec, "validate")
    assert states(small) == {"m:validate:2:1": "done", "m:hold:2:1": "done"}


def test_a_version_that_waits_for_labels_is_compared_when_they_are_final(small):
    spec = setup(small)
    give_version(small, "a", mlobs__trained_through=str(day(30)))
    assert loop.do(small, spec, "validate") == []
    row = Ledger(small, "m").find("m:validate:2:1")
    assert row is not None
    assert (row["status"], f"from {LAST + dt.timedelta(days=3)} on" in row["reason"]) == ("approved", True)
    loop.do(small, spec, "validate")
    assert len(Ledger(small, "m").history("m:validate:2:1")) == 1, "it is not said twice"


def test_versions_older_than_the_champion_are_left_alone(small):
    spec = setup(small, "b")
    give_version(small, "a")
    Registry.open(small, spec).set_alias("champion", "2")
    assert loop.do(small, spec, "validate") == []
    assert states(small) == {}


def test_unless_someone_names_one_challenger(small):
    spec = setup(small, "a")
    give_version(small, "b")
    Registry.open(small, spec).set_alias("champion", "2")
    Registry.open(small, spec).set_alias("challenger", "1")
    loop.do(small, spec, "validate")
    assert states(small) == {"m:validate:1:2": "done", "m:promote:1:2": "pending"}


def test_without_a_champion_nothing_is_compared(small):
    spec = spec_of(small)
    give_version(small, "a")
    assert loop.do(small, spec, "validate") == []


def test_a_version_that_can_not_score_the_rows_is_told_so_once(small):
    spec = setup(small)
    rename = small.lake("m") / "schema.json"
    rename.write_text(rename.read_text().replace('"b"', '"other"'))
    for path in (small.lake("m") / "predictions").glob("*.parquet"):
        pl.read_parquet(path).rename({"f_b": "f_other"}).write_parquet(path)
    give_version(small, "a", mlobs__trained_through=str(day(20)))
    loop.do(small, spec, "validate")
    assert states(small) == {"m:validate:2:1": "failed"}
    assert tags(small, spec)["mlobs.verdict"] == "failed"
    assert "not logged as features: b" in tags(small, spec)["mlobs.verdict_reason"]
    assert loop.do(small, spec, "validate") == []


def test_mlflow_going_away_half_way_leaves_it_to_the_next_try(small, monkeypatch):
    spec = setup(small)
    give_version(small, "a", mlobs__trained_through=str(day(20)))

    def gone(self, version, tags):
        raise RegistryError("MLflow is gone")

    with monkeypatch.context() as m:
        m.setattr(Registry, "set_tags", gone)
        with pytest.raises(RegistryError):
            loop.do(small, spec, "validate")
    assert states(small) == {"m:validate:2:1": "approved"}
    loop.do(small, spec, "validate")
    assert states(small) == {"m:validate:2:1": "done", "m:promote:2:1": "pending"}
    stored = table(small, "comparisons", "m")
    assert stored.height == stored.unique(["metric", "segment"]).height, "the comparison is there once"


def test_a_new_champion_that_is_worse_than_the_last_is_taken_back_on_a_persons_word(small):
    spec = spec_of(small)
    for column in ("a", "b"):
        give_version(small, column)
    registry = Registry.open(small, spec)
    registry.set_alias("champion", "2")
    registry.set_alias("previous_champion", "1")
    evidence = {"from": "1", "to": "2", "promoted_as_of": str(day(15))}
    Ledger(small, "m").propose(
        "m:promote:2:1", "promote", "done", "x", as_of=day(15), mode="approve", evidence=evidence
    )
    loop.do(small, spec, "validate")
    assert states(small) == {"m:promote:2:1": "done", "m:validate:1:2:since": "done", "m:roll_back:2:1": "pending"}
    ledger = Ledger(small, "m")
    row = ledger.find("m:roll_back:2:1")
    assert row is not None
    ledger.turn(row, "approved", "yes", actor="ann")
    loop.do(small, spec, "promote")
    assert registry.aliases() == {"champion": "1"}
    finish_night(small, LAST + dt.timedelta(days=1))
    assert loop.advance(small, spec) == []


def test_a_fresh_champion_is_not_judged_before_a_week_of_it_is_final(small):
    spec = spec_of(small)
    for column in ("a", "b"):
        give_version(small, column)
    Registry.open(small, spec).set_alias("champion", "2")
    evidence = {"from": "1", "to": "2", "promoted_as_of": str(day(30))}
    Ledger(small, "m").propose(
        "m:promote:2:1", "promote", "done", "x", as_of=day(30), mode="approve", evidence=evidence
    )
    assert loop.do(small, spec, "validate") == []


def test_nothing_to_compare_on_is_one_line(small):
    spec = setup(small)
    give_version(small, "a", mlobs__trained_through=str(LAST))
    with pytest.raises(RowsError, match="are not final before"):
        score_both(small, spec, "1", "2")
