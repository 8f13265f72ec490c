"""What had arrived before the measured nights is added up, and what arrived on them is left as it came."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from mlobs_pipelines.measure.daily import summed
from mlobs_pipelines.measure.known import united, without
from mlobs_pipelines.store.tables import day_number

FIRST = dt.date(2026, 1, 10)
KEYS = ["event_date", "version", "segment", "bin"]


def profile(seed: int = 5, rows: int = 4000) -> pl.DataFrame:
    """Labels that came up to nine days late, among them some that were taken back and a bin that is none (-1)."""
    rng = np.random.default_rng(seed)
    event = rng.integers(0, 12, rows)
    arrival = event + rng.integers(0, 9, rows)
    frame = pl.DataFrame(
        {
            "arrival_date": pl.Series([dt.date(2026, 1, 1) + dt.timedelta(days=int(a)) for a in arrival]),
            "event_date": pl.Series([dt.date(2026, 1, 1) + dt.timedelta(days=int(e)) for e in event]),
            "version": rng.choice(["1", "", "ü"], rows),
            "segment": rng.choice(["", "country=DE", "country=(missing)"], rows),
            "bin": pl.Series(rng.integers(-1, 4, rows), dtype=pl.Int32),
            "labeled": pl.Series(rng.integers(-2, 3, rows)),
            "loss": pl.Series(rng.integers(-(2**60), 2**60, rows) // 1000),
        }
    )
    keys = ["arrival_date", *KEYS]
    return frame.group_by(keys).agg(pl.col("labeled", "loss").sum()).sort(keys)


def by(frame: pl.DataFrame, *more: str) -> pl.DataFrame:
    keys = [*more, *KEYS]
    return frame.group_by(keys).agg(pl.col("labeled", "loss").sum()).sort(keys)


def test_what_arrived_before_has_one_row_for_each_day_and_key_and_the_same_sums() -> None:
    before = profile()
    after = united(before, day_number(FIRST), "bin")
    early = after.filter(pl.col("arrival_date") < FIRST)
    assert early.schema == before.schema
    assert early.height == early.select(KEYS).unique().height < before.filter(pl.col("arrival_date") < FIRST).height
    assert early["arrival_date"].unique().to_list() == [FIRST - dt.timedelta(days=1)]
    assert by(early).equals(by(before.filter(pl.col("arrival_date") < FIRST)))


def test_what_arrives_on_the_nights_is_left_as_it_came() -> None:
    before = profile()
    after = united(before, day_number(FIRST), "bin")
    late = pl.col("arrival_date") >= FIRST
    assert by(after.filter(late), "arrival_date").equals(by(before.filter(late), "arrival_date"))


def test_rows_in_any_order_are_united_alike() -> None:
    ordered, shuffled = profile(), profile().sample(fraction=1.0, shuffle=True, seed=1)
    keys = ["arrival_date", *KEYS]
    one, other = (united(frame, day_number(FIRST), "bin").sort(keys) for frame in (ordered, shuffled))
    assert one.equals(other)


def test_sums_that_nobody_filled_in_count_as_nothing() -> None:
    holes = profile().with_columns(labeled=pl.when(pl.col("bin") == 0).then(None).otherwise("labeled"))
    filled = holes.with_columns(pl.col("labeled").fill_null(0))
    first = day_number(FIRST)
    early = pl.col("arrival_date") < FIRST
    assert by(united(holes, first, "bin").filter(early)).equals(by(united(filled, first, "bin").filter(early)))


def test_nothing_is_united_where_nothing_came_before() -> None:
    frame = profile()
    assert united(frame, 0, "bin").equals(frame)
    assert united(frame.clear(), day_number(FIRST), "bin").height == 0


def test_without_a_key_the_rest_keep_their_sums() -> None:
    frame = profile()
    rest = ["arrival_date", "event_date", "version", "segment"]
    expected = frame.group_by(rest).agg(pl.col("labeled", "loss").sum()).sort(rest)
    assert without(frame, "bin").sort(rest).equals(expected)


def test_sums_by_sorting_and_by_counting_are_the_same() -> None:
    rng = np.random.default_rng(3)
    key, column = rng.integers(0, 50, 1000), rng.integers(-(2**62), 2**62, 1000) // 1000
    places = rng.permutation(1000)
    for rows in (None, places):
        counted, counts = summed(key, 50, {"x": column}, rows)
        ordered, sums = summed(key, 10**9, {"x": column}, rows)
        assert counted.tolist() == ordered.tolist()
        assert counts["x"].tolist() == sums["x"].tolist()
