"""Nights of a month in one file: which nights there are, and which rows are theirs, is the same as in files of their own."""

from __future__ import annotations

import datetime as dt
import os

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error
from mlobs_pipelines.store.compaction import fold, folds, rows_to_let_go
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.nights import LET_GO, Nights, patiently

JANUARY = [dt.date(2026, 1, day) for day in range(1, 32)]
FEBRUARY = [dt.date(2026, 2, day) for day in range(1, 29)]
LATER = dt.date(2026, 3, 1)
SCHEMA = {"arrival_date": pl.Date(), "name": pl.String(), "n": pl.Int64()}


@pytest.fixture
def nights(tmp_path) -> Nights:
    """January and February, a row more each night; the fifth of a month has none."""
    found = Nights(tmp_path / "it's a table")
    for night in (*JANUARY, *FEBRUARY):
        write(found, night, range(0 if night.day == 5 else night.day))
    return found


def write(nights, night, numbers, **more):
    rows = pl.DataFrame([{"arrival_date": night, "name": f"b{n}", "n": n, **more} for n in numbers], schema=None)
    with published(nights.own(night)) as draft:
        (rows if rows.height else pl.DataFrame(schema=SCHEMA)).write_parquet(draft)


def rows_of(nights, wanted):
    return pl.concat([pl.LazyFrame(schema=SCHEMA), *nights.frames(wanted)], how="diagonal").collect()


def names(nights):
    return sorted(path.name for path in nights.folder.iterdir())


def compact(nights, before=LATER, leave=(), since=dt.date.min):
    return [fold(month) for month in folds(nights, before, leave, since)]


def test_a_month_is_one_file_and_every_question_has_the_answer_it_had(nights):
    everything = nights.all()
    some = [JANUARY[0], JANUARY[4], JANUARY[9], FEBRUARY[27], LATER]
    asked = [everything, some, [JANUARY[4]], [LATER]]
    before = [(rows_of(nights, wanted), nights.rows(wanted)) for wanted in asked], nights.states()
    assert compact(nights) == [True, True]
    assert names(nights) == ["2026-01.parquet", "2026-02.parquet"]
    assert nights.all() == everything
    assert [night in nights for night in some] == [True, True, True, True, False]
    for wanted, (rows, counts) in zip(asked, before[0], strict=True):
        assert_frame_equal(rows_of(nights, wanted), rows)
        assert nights.rows(wanted) == counts
    assert nights.states() == before[1], "for who took a night in before, it is the same one"


def test_sql_over_months_and_nights_of_their_own_reads_each_row_once(nights):
    compact(nights, FEBRUARY[0])
    with DuckDBEngine() as engine:
        counted = f"select count(*), count(distinct (arrival_date, n)) from {nights.relation(nights.all())}"
        assert engine.rows(counted) == [(2 * sum(range(29)) - 10 + 29 + 30 + 31,) * 2]
        some = nights.relation([JANUARY[1], FEBRUARY[2]])
        assert engine.rows(f"select arrival_date, count(*) from {some} group by 1 order by 1") == [
            (JANUARY[1], 2),
            (FEBRUARY[2], 3),
        ]
    assert nights.relation([LATER]) is None


def test_only_months_that_ended_before_are_folded(nights):
    compact(nights, JANUARY[-1])
    assert len(names(nights)) == 59
    compact(nights, FEBRUARY[-1])
    assert len(names(nights)) == 1 + 28


def test_a_night_written_again_goes_before_its_month_and_is_folded_in_by_the_next_compaction(nights):
    compact(nights)
    states = nights.states()
    write(nights, JANUARY[9], [77])
    write(nights, JANUARY[10], [])
    assert rows_of(nights, JANUARY[8:12])["n"].to_list() == [*range(9), 77, *range(12)]
    again = nights.states()
    assert {night for night in again if again[night] != states[night]} == {JANUARY[9], JANUARY[10]}
    assert compact(nights) == [True]
    assert names(nights) == ["2026-01.parquet", "2026-02.parquet"]
    assert rows_of(nights, JANUARY[8:12])["n"].to_list() == [*range(9), 77, *range(12)]
    assert nights.states() == again
    assert compact(nights) == []


def test_a_month_of_which_some_nights_were_never_run_takes_them_in_later(nights):
    for night in JANUARY[10:20]:
        nights.own(night).unlink()
    compact(nights)
    assert nights.between(JANUARY[0], JANUARY[-1]) == [*JANUARY[:10], *JANUARY[20:]]
    write(nights, JANUARY[15], [1, 2])
    compact(nights)
    assert nights.between(JANUARY[0], JANUARY[-1]) == [*JANUARY[:10], JANUARY[15], *JANUARY[20:]]
    assert rows_of(nights, JANUARY[14:21])["n"].to_list() == [1, 2, *range(21)]


def test_nights_that_are_being_written_stay_in_files_of_their_own(nights):
    compact(nights, leave={JANUARY[3]})
    assert names(nights) == ["2026-01-04.parquet", "2026-01.parquet", "2026-02.parquet"]


def test_a_column_that_some_nights_lack_is_null_there_and_the_others_keep_it(nights):
    write(nights, JANUARY[30], [1, 2], more=0.5)
    compact(nights)
    assert rows_of(nights, JANUARY[29:])["more"].to_list() == [None] * 30 + [0.5, 0.5]


@pytest.mark.parametrize(
    "odd",
    [
        {"arrival_date": [JANUARY[1]], "name": ["of another night"], "n": [1]},
        {"arrival_date": [None], "name": ["of none"], "n": [1]},
        {"name": ["of none"], "n": [1]},
    ],
)
def test_rows_that_no_column_tells_are_their_nights_stay_in_its_own_file(nights, odd):
    with published(nights.own(JANUARY[0])) as draft:
        pl.DataFrame(odd).write_parquet(draft)
    compact(nights)
    assert names(nights) == ["2026-01-01.parquet", "2026-01.parquet", "2026-02.parquet"]


def test_nights_whose_columns_are_of_other_types_are_left_as_they_are(nights):
    with published(nights.own(JANUARY[0])) as draft:
        pl.DataFrame({"arrival_date": [JANUARY[0]], "name": [3.5], "n": ["x"]}).write_parquet(draft)
    assert compact(nights) == [False, True]
    assert len(names(nights)) == 31 + 1


def test_a_night_that_is_written_while_its_month_is_keeps_its_own_file(nights, monkeypatch):
    (month, _) = folds(nights, LATER)
    settled = os.fsync

    def write_meanwhile(handle):
        monkeypatch.setattr(os, "fsync", settled)
        write(nights, JANUARY[9], [77])
        settled(handle)

    monkeypatch.setattr(os, "fsync", write_meanwhile)
    fold(month)
    assert names(nights)[:2] == ["2026-01-10.parquet", "2026-01.parquet"]
    assert rows_of(nights, [JANUARY[9]])["n"].to_list() == [77]


def test_who_found_a_file_that_was_folded_before_it_was_read_looks_again(nights):
    found = []

    def read():
        frames = nights.frames(JANUARY)
        if not found:
            found.append(compact(nights))
        return pl.concat(frames, how="diagonal").collect()

    assert patiently(read).height == sum(range(32)) - 5

    def ask():
        relation = nights.relation(JANUARY) if found.pop() else f"read_parquet('{nights.folder.parent}/gone.parquet')"
        found.append(True)
        with DuckDBEngine() as engine:
            return engine.rows(f"select count(*) from {relation}")

    found[:] = [False]
    assert patiently(ask, Error) == [(sum(range(32)) - 5,)]


def test_what_is_missing_for_good_is_an_error(nights):
    with pytest.raises(FileNotFoundError):
        patiently(lambda: pl.read_parquet(nights.folder / "nothing.parquet"))


@pytest.mark.parametrize("compacted", [False, True], ids=["in files of their own", "in their month's"])
def test_nights_whose_rows_are_let_go_are_known_and_empty(nights, compacted):
    if compacted:
        compact(nights)
    everything, kept = nights.all(), rows_of(nights, [*JANUARY[20:], *FEBRUARY])
    wanted = folds(nights, LATER, since=JANUARY[20])
    assert [len(one.gone) for one in wanted if one.gone] == [20]
    assert sum(map(rows_to_let_go, wanted)) > 0
    compact(nights, since=JANUARY[20])
    assert nights.all() == everything
    assert nights.rows(JANUARY[19:21]) == {JANUARY[19]: 0, JANUARY[20]: 21}
    assert {night for night, state in nights.states().items() if state == LET_GO} == set(JANUARY[:20])
    assert_frame_equal(rows_of(nights, everything), kept)
    assert names(nights) == ["2026-01.parquet", "2026-02.parquet"]
    assert compact(nights, since=JANUARY[20]) == []


def test_a_month_whose_rows_are_all_let_go_is_known_and_a_night_that_is_written_again_goes_with_the_next(nights):
    compact(nights, since=FEBRUARY[3])
    compact(nights, since=FEBRUARY[9])
    assert nights.all() == [*JANUARY, *FEBRUARY]
    assert rows_of(nights, nights.all())["n"].to_list() == [n for night in FEBRUARY[9:] for n in range(night.day)]
    with DuckDBEngine() as engine:
        assert engine.rows(f"select count(*) from {nights.relation(JANUARY)}") == [(0,)]
    write(nights, JANUARY[9], [77])
    assert rows_of(nights, JANUARY)["n"].to_list() == [77]
    compact(nights, since=FEBRUARY[9])
    assert rows_of(nights, JANUARY).height == 0
    assert "2026-01-10.parquet" not in names(nights)


def test_rows_are_let_go_of_also_where_a_month_cannot_be_folded(nights):
    with published(nights.own(JANUARY[30])) as draft:
        pl.DataFrame({"arrival_date": [JANUARY[30]], "name": [3.5], "n": ["x"]}).write_parquet(draft)
    with published(nights.own(JANUARY[1])) as draft:
        pl.DataFrame({"n": [1]}).write_parquet(draft)
    assert compact(nights, FEBRUARY[0], since=JANUARY[20]) == [False]
    assert nights.rows(JANUARY) == dict.fromkeys(JANUARY[:20], 0) | {n: n.day for n in JANUARY[20:30]} | {
        JANUARY[30]: 1
    }
    assert len(names(nights)) == 1 + 11 + 28
