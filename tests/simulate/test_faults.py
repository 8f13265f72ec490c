"""A planted fault changes what it says, on its days, and nothing else."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mlobs_pipelines.simulate.faults import (
    BiasedThreshold,
    BrokenUnit,
    DuplicatedFeed,
    Fault,
    NewFraudPattern,
    PopulationShift,
    VanishedFeature,
)
from mlobs_pipelines.simulate.world import World

BEFORE, START, END, AFTER = (dt.date(2026, 1, d) for d in (4, 5, 7, 8))
SIZE = {"seed": 3, "days": 10, "payments_per_day": 3000}


def with_and_without(fault: Fault, day: dt.date) -> tuple[pl.DataFrame, pl.DataFrame]:
    return World(**SIZE, faults=[fault]).payments(day), World(**SIZE).payments(day)


@pytest.mark.parametrize(
    "fault",
    [
        BrokenUnit(start=START, end=END),
        VanishedFeature(start=START, end=END),
        NewFraudPattern(start=START, end=END),
        PopulationShift(start=START, end=END),
    ],
    ids=lambda f: type(f).__name__,
)
def test_a_fault_is_there_on_its_days_only(fault: Fault) -> None:
    for day in (START, END):
        assert not with_and_without(fault, day)[0].equals(with_and_without(fault, day)[1])
    for day in (BEFORE, AFTER):
        assert_frame_equal(*with_and_without(fault, day))


def test_a_broken_unit_multiplies_one_feature_in_one_country() -> None:
    broken, sound = with_and_without(BrokenUnit(start=START, where={"country": "NL"}, factor=100), START)
    there = sound["country"] == "NL"
    assert (broken.filter(there)["amount"] / sound.filter(there)["amount"] - 100).abs().max() < 1e-9
    assert_frame_equal(broken.filter(~there), sound.filter(~there))
    assert_frame_equal(broken.drop("amount"), sound.drop("amount"))


def test_a_vanished_feature_is_missing_and_keeps_its_type() -> None:
    gone, sound = with_and_without(VanishedFeature(start=START, feature="distance_km"), START)
    assert gone["distance_km"].null_count() == len(gone)
    assert gone.schema == sound.schema
    assert_frame_equal(gone.drop("distance_km"), sound.drop("distance_km"))


def test_a_new_pattern_changes_the_truth_of_one_segment_and_no_feature() -> None:
    where = {"country": "ES", "channel": "online"}
    new, sound = with_and_without(NewFraudPattern(start=START, where=where, rate=0.5), START)
    there = (sound["country"] == "ES") & (sound["channel"] == "online")
    truth = ["fraud_probability", "is_fraud"]
    assert_frame_equal(new.drop(truth), sound.drop(truth))
    assert new.filter(there)["is_fraud"].mean() > 0.4
    assert_frame_equal(new.filter(~there), sound.filter(~there))


def test_a_population_shift_moves_who_pays_but_not_what_makes_a_fraud() -> None:
    shifted, sound = with_and_without(PopulationShift(start=START, where={"age_group": "18-24"}, factor=4), START)
    young = pl.col("age_group") == "18-24"
    assert shifted.select(young.mean()).item() > 2 * sound.select(young.mean()).item()
    rate = [f.filter(young)["fraud_probability"].mean() for f in (shifted, sound)]
    assert rate[0] == pytest.approx(rate[1], rel=0.35)


def test_a_biased_threshold_declines_more_of_one_group_at_the_same_scores() -> None:
    world = World(**SIZE)
    rows = world.served(START, world.payments(START))
    biased = BiasedThreshold(start=START, group="65+", threshold=0.01).on_decisions(rows, world.rng(START, 5))
    there = rows["age_group"] == "65+"
    assert biased.filter(there)["decision"].mean() > 3 * rows.filter(there)["decision"].mean()
    assert biased["decision"].null_count() == rows["decision"].null_count() > 0
    assert_frame_equal(biased.drop("decision"), rows.drop("decision"))
    assert_frame_equal(biased.filter(~there), rows.filter(~there))


def test_a_duplicated_feed_sends_the_same_rows_again() -> None:
    world = World(**SIZE)
    rows = world.payments(START)
    twice = DuplicatedFeed(start=START, share=0.5).on_delivery(rows, world.rng(START, 12))
    assert 1.4 < len(twice) / len(rows) < 1.6
    assert_frame_equal(twice.unique(maintain_order=True), rows)


def test_faults_add_up() -> None:
    both = World(**SIZE, faults=[BrokenUnit(start=START), VanishedFeature(start=START)]).payments(START)
    alone = World(**SIZE, faults=[BrokenUnit(start=START)]).payments(START)
    assert both["distance_km"].null_count() == len(both)
    assert_frame_equal(both.drop("distance_km"), alone.drop("distance_km"))
