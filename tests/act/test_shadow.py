"""Rows that two versions scored in service: joined by id, with final labels, without poisoned days."""

from __future__ import annotations

import polars as pl

from mlobs_pipelines.act.shadow import shadow_rows
from mlobs_pipelines.store.layout import Home
from tests.act.small_home import A_DAY, LAST, MATURITY, day, incident, spec_of, write_incidents
from tests.act.two_versions import FROM, TO, score_of, shadow


def test_both_versions_of_the_same_request_are_side_by_side_with_the_final_label(small: Home) -> None:
    shadow(small)
    rows = shadow_rows(small, spec_of(small), "1", "2", LAST)
    assert rows is not None
    assert rows.height == (TO - FROM) * A_DAY
    assert rows["event_date"].unique().sort().to_list() == [day(n) for n in range(FROM, TO)]
    assert rows["score_champion"].to_list() == rows.select(score_of("1", "a", "b")).to_series().to_list()
    assert rows["score_challenger"].to_list() == rows.select(score_of("2", "a", "b")).to_series().to_list()
    assert set(rows["label"]) == {0, 1}
    assert {"a", "b", "country"} <= set(rows.columns)


def test_the_versions_may_be_given_either_way_round(small: Home) -> None:
    shadow(small)
    spec = spec_of(small)
    there, back = shadow_rows(small, spec, "1", "2", LAST), shadow_rows(small, spec, "2", "1", LAST)
    assert there is not None and back is not None
    assert there["score_champion"].equals(back["score_challenger"], null_equal=True, check_names=False)


def test_only_days_whose_labels_are_final_are_compared(small: Home) -> None:
    shadow(small)
    night = day(FROM + MATURITY + 1)
    rows = shadow_rows(small, spec_of(small), "1", "2", night)
    assert rows is not None
    assert rows["event_date"].unique().sort().to_list() == [day(FROM), day(FROM + 1)]
    assert shadow_rows(small, spec_of(small), "1", "2", day(FROM + 1)) is None


def test_days_of_a_data_fault_are_left_out(small: Home) -> None:
    shadow(small)
    fault = incident("f", "fix_data", since=day(FROM), until=day(FROM), segment="country=DE")
    write_incidents(small, TO, [fault])
    rows = shadow_rows(small, spec_of(small), "1", "2", LAST)
    assert rows is not None
    hit = rows.filter(pl.col("event_date") == day(FROM))
    assert set(hit["country"]) == {"NL"}
    assert set(rows["country"]) == {"DE", "NL"}


def test_versions_that_never_met_have_no_rows_in_common(small: Home) -> None:
    spec = spec_of(small)
    assert shadow_rows(small, spec, "1", "2", LAST) is None
    shadow(small)
    assert shadow_rows(small, spec, "1", "9", LAST) is None
    assert shadow_rows(Home(small.root / "elsewhere"), spec, "1", "2", LAST) is None


def test_a_request_that_failed_under_one_version_is_no_comparison(small: Home) -> None:
    shadow(small, failed=5)
    rows = shadow_rows(small, spec_of(small), "1", "2", LAST)
    assert rows is not None
    assert rows.height == (TO - FROM) * (A_DAY - 5)
