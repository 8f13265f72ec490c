"""Which rows a model may learn from, and with which label."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from mlobs_pipelines.act.rows import Poisoned, RowsError, matured_days, matured_rows, newest_night, poisoned
from mlobs_pipelines.store.tables import INCIDENTS
from tests.act.small_home import A_DAY, DAYS, LAST, MATURITY, day, incident, rows_of, spec_of, write_incidents


def rewrite(home, table, number, change):
    path = home.lake_file("m", table, day(number))
    change(pl.read_parquet(path)).write_parquet(path)


def test_only_days_whose_labels_are_final_are_taken(small):
    spec = spec_of(small)
    assert newest_night(small, "m") == LAST
    assert matured_days(small, spec, LAST) == [day(n) for n in range(DAYS - MATURITY)]
    rows = matured_rows(small, spec, day(0), LAST, LAST)
    assert rows["event_date"].max() == LAST - dt.timedelta(days=MATURITY)
    assert rows.height == A_DAY * (DAYS - MATURITY)
    assert rows.columns == ["prediction_id", "event_date", "label", "a", "b", "country"]


def test_the_past_is_as_it_was_known_then(small):
    spec = spec_of(small)
    rows = matured_rows(small, spec, day(0), LAST, day(12))
    assert rows["event_date"].max() == day(12 - MATURITY)


def test_labels_are_ones_and_noughts_and_belong_to_their_rows(small):
    rows = matured_rows(small, spec_of(small), day(3), day(3), LAST)
    truth = rows_of(3).sort("prediction_id")
    assert rows["prediction_id"].to_list() == truth["prediction_id"].to_list()
    assert rows["label"].cast(pl.String).to_list() == truth["label"].to_list()
    assert rows["a"].to_list() == truth["f_a"].to_list()


def test_a_corrected_label_counts_from_the_night_it_came(small):
    name = f"{day(3)}-0"
    before = rows_of(3)["label"][0]
    fact = {"prediction_id": name, "event_date": day(3), "version": "1", "role": "production", "kind": "correction"}
    corrected = [
        {**fact, "label": before, "sign": -1, "arrival_date": day(20)},
        {**fact, "label": str(1 - int(before)), "sign": 1, "arrival_date": day(20)},
    ]
    rewrite(
        small,
        "label_facts",
        20,
        lambda f: pl.concat([f, pl.DataFrame(corrected, schema=f.schema)]),
    )
    spec = spec_of(small)

    def label(as_of):
        rows = matured_rows(small, spec, day(3), day(3), as_of)
        return str(rows.filter(pl.col("prediction_id") == name)["label"].item())

    assert label(day(19)) == before
    assert label(day(20)) != before


def test_failed_requests_shadows_and_rows_without_a_label_are_left_out(small):
    def spoil(frame):
        first = pl.int_range(frame.height)
        return frame.with_columns(failed=first == 0, role=pl.when(first == 1).then(pl.lit("shadow")).otherwise("role"))

    rewrite(small, "predictions", 3, spoil)
    rewrite(small, "label_facts", 4, lambda f: f.filter(pl.col("prediction_id") != f"{day(3)}-2"))
    rows = matured_rows(small, spec_of(small), day(3), day(3), LAST)
    assert rows.height == A_DAY - 3


def test_an_id_that_two_versions_answered_is_one_row(small):
    rewrite(small, "predictions", 3, lambda f: pl.concat([f, f.with_columns(version=pl.lit("2"))]))
    rewrite(small, "label_facts", 4, lambda f: pl.concat([f, f.with_columns(version=pl.lit("2"))]))
    rows = matured_rows(small, spec_of(small), day(3), day(3), LAST)
    assert rows.height == A_DAY
    assert rows["prediction_id"].n_unique() == A_DAY


def test_poisoned_days_are_left_out_whole_or_in_their_segment(small):
    spec = spec_of(small)
    rows = matured_rows(
        small,
        spec,
        day(1),
        day(4),
        LAST,
        [Poisoned(day(1), day(2), "country=NL", "x"), Poisoned(day(4), day(4), "", "y")],
    )
    left = {number: set(rows.filter(pl.col("event_date") == day(number))["country"]) for number in (1, 2, 3, 4)}
    assert left == {1: {"DE"}, 2: {"DE"}, 3: {"DE", "NL"}, 4: set()}


def test_a_poisoned_segment_of_numbers_is_found_by_value_however_it_is_written(small):
    rewrite(small, "predictions", 3, lambda f: f.with_columns(f_a=pl.lit(12345678.5)))
    for said, left in (("12345678.5", 0), ("1.23456785E7", 0), ("12345678", A_DAY), ("(other)", A_DAY)):
        bad = [Poisoned(day(3), day(3), f"a={said}", "x")]
        assert matured_rows(small, spec_of(small), day(3), day(3), LAST, bad).height == left


def test_a_row_without_a_value_of_the_poisoned_segment_stays(small):
    rewrite(small, "predictions", 3, lambda f: f.with_columns(f_country=pl.lit(None, pl.String)))
    rows = matured_rows(small, spec_of(small), day(3), day(3), LAST, [Poisoned(day(3), day(3), "country=NL", "x")])
    assert rows.height == A_DAY


def test_data_faults_poison_and_nothing_else_does():
    nights = [
        incident("f", "fix_data", since=day(3), until=day(3), as_of=day(3)),
        incident("f", "fix_data", since=day(3), until=day(5), as_of=day(6), segment="country=NL"),
        incident("open", "fix_data", since=day(9), until=None, as_of=day(12)),
        incident("mild", "fix_data", since=day(1), until=day(2), as_of=day(6), severity="info"),
        incident("drift", "hold", since=day(1), until=day(2), as_of=day(6)),
        incident("concept", "retrain", since=day(1), until=day(2), as_of=day(6)),
    ]
    assert poisoned(pl.DataFrame(nights, schema=INCIDENTS)) == [
        Poisoned(day(3), day(5), "country=NL", "f"),
        Poisoned(day(9), day(12), "", "open"),
    ]
    assert poisoned(pl.DataFrame(schema=INCIDENTS)) == []


def test_a_model_without_rows_or_labels_says_what_to_do(tmp_path, small):
    spec = spec_of(small)
    with pytest.raises(RowsError, match="run it first"):
        matured_rows(type(small)(tmp_path / "empty"), spec, day(0), LAST, LAST)
    with pytest.raises(RowsError, match="no labels in its spec"):
        matured_rows(small, spec.model_copy(update={"labels": None}), day(0), LAST, LAST)


def test_incidents_of_later_nights_are_not_known_yet(small):
    from mlobs_pipelines.act.rows import known_incidents

    write_incidents(small, 10, [incident("i", "fix_data", until=day(10))])
    write_incidents(small, 12, [incident("i", "fix_data", until=day(12))])
    assert known_incidents(small, "m", day(11))["until"].to_list() == [day(10)]
    assert known_incidents(small, "m", day(12))["until"].to_list() == [day(12)]
    assert known_incidents(small, "m", day(9)).height == 0
