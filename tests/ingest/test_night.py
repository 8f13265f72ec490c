from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error
from mlobs_pipelines.ingest.deliveries import arrival_dates
from mlobs_pipelines.ingest.sources import IngestError

D1, D2, D3 = "2024-01-01", "2024-01-02", "2024-01-03"


def test_rows_are_taken_in_on_the_night_they_arrive_under_their_own_event_date(world):
    world.put(
        "p/a.parquet",
        [
            {**world.prediction("a"), "logged": "2024-01-03T01:00:00"},
            {**world.prediction("b"), "logged": "2024-01-01T11:00:00"},
        ],
    )
    spec = world.spec(predictions={"arrived_at": "logged"})
    assert arrival_dates(world.home, spec) == [dt.date(2024, 1, 1), dt.date(2024, 1, 3)]
    report = world.run(spec, D1, D2, D3)
    assert [n.rows_in for n in report.nights] == [1, 0, 1]
    assert world.rows("predictions", "prediction_id, event_date, arrival_date") == [
        ("a", dt.date(2024, 1, 1), dt.date(2024, 1, 3)),
        ("b", dt.date(2024, 1, 1), dt.date(2024, 1, 1)),
    ]


def test_every_night_writes_every_table_even_if_empty(world):
    world.put("p/a.parquet", [world.prediction("a")])
    world.run(world.spec(), D1, D2)
    for table in ("predictions", "labels", "intake", "segment_values"):
        assert world.home.lake_file("m", table, dt.date(2024, 1, 2)).exists(), table
    assert world.home.quarantine_file("m", dt.date(2024, 1, 2)).exists()


def test_a_file_that_comes_late_is_taken_in_on_the_next_night_and_only_once(world):
    world.put("p/a.parquet", [world.prediction("a")])
    world.run(world.spec(), D1)
    world.run(world.spec(), D2)
    world.put(
        "p/b.parquet", [world.prediction("b"), world.prediction("a"), world.prediction("c", t="2024-01-03T00:00:00")]
    )
    world.run(world.spec(), D3)
    world.run(world.spec(), "2024-01-04")
    assert world.rows("predictions", "prediction_id, event_date::varchar, arrival_date::varchar") == [
        ("a", D1, D1),
        ("b", D1, D3),
        ("c", D3, D3),
    ]
    assert world.rows("intake", "arrival_date::varchar, event_date::varchar, delivered, accepted, duplicates") == [
        (D1, D1, 1, 1, 0),
        (D3, D1, 1, 1, 0),
        (D3, D3, 1, 1, 0),
    ]


def test_the_latest_night_can_be_run_again_and_a_closed_one_stays(world):
    world.put("p/a.parquet", [world.prediction("a")])
    world.run(world.spec(), D1)
    world.put("p/b.parquet", [world.prediction("b")])
    world.run(world.spec(), D1)
    assert len(world.rows("predictions")) == 2
    world.run(world.spec(), D2)
    world.put("p/c.parquet", [world.prediction("c")])
    report = world.run(world.spec(), D1)
    assert report.nights[0].closed
    assert len(world.rows("predictions")) == 2
    assert world.run(world.spec(), D2).nights[0].rows_in == 1


def test_rows_of_nights_that_were_never_run_wait_for_them(world):
    world.put(
        "p/a.parquet",
        [world.prediction("a"), world.prediction("b", t=f"{D2}T00:00:00"), world.prediction("c", t=f"{D3}T00:00:00")],
    )
    world.run(world.spec(), D1)
    world.run(world.spec(), D3)
    assert [r[0] for r in world.rows("predictions", "prediction_id")] == ["a", "c"]
    world.run(world.spec(), D2)
    assert world.rows("predictions", "prediction_id", f"arrival_date = date '{D2}'") == [("b",)]


def test_deleting_the_cache_changes_nothing(world):
    for n, day in enumerate((D1, D2, D3)):
        world.put(f"p/{n}.parquet", [world.prediction(f"{n}{i}", t=f"{day}T10:00:00", score=i) for i in (0, 0.5, 7)])
        world.put(f"l/{n}.csv", f"id,y,at\n{n}0,1,{day}T12:00:00\n{n}0,0,{day}T12:00:00\n{n}0.5,2,{day}\nbroken\n")
        world.run(world.spec(), day)
    before = world.tables()
    world.home.sources_file("m").unlink()
    world.run(world.spec(), D3)
    assert world.tables() == before
    world.home.sources_file("m").unlink()
    world.run(world.spec(), "2024-01-04")
    after = world.tables()
    assert {k: v for k, v in after.items() if "2024-01-04" not in k} == before
    assert all(not v for k, v in after.items() if "2024-01-04" in k)


def test_the_scratch_folder_is_gone_after_a_run_and_after_a_failure(world):
    world.put("p/a.parquet", [world.prediction("a")])
    world.run(world.spec(), D1)
    with pytest.raises(IngestError):
        world.run(world.spec(predictions={"source": "data/nowhere"}), D2)
    assert not (world.home.root / "tmp").exists()


def test_a_conflicting_row_is_quarantined_and_the_first_stays(world):
    world.put(
        "p/a.parquet",
        [
            world.prediction("a", t="2024-01-01T10:00:00", score=0.1),
            world.prediction("a", t="2024-01-01T09:00:00", score=0.2),
        ],
    )
    world.put("p/b.parquet", [world.prediction("a", t="2024-01-02T09:00:00", score=0.3)])
    report = world.run(world.spec(), D1, D2)
    assert world.rows("predictions", "score") == [(0.2,)]
    assert [n.rows_quarantined for n in report.nights] == [1, 1]
    assert {r[0].split(":")[0] for r in world.rows("quarantine", "reason")} == {
        "conflicts with an earlier row of the same id"
    }
    assert world.rows("quarantine", "raw::json->>'score'") == [("0.1",), ("0.3",)]


def test_the_same_id_in_another_version_or_role_is_another_prediction(world):
    world.put(
        "p/a.parquet",
        [
            world.prediction("a", v="1", r="production"),
            world.prediction("a", v="2", r="production"),
            world.prediction("a", v="2", r="shadow"),
        ],
    )
    world.run(world.spec(predictions={"version": "v", "role": "r"}), D1)
    assert len(world.rows("predictions")) == 3


def test_duplicates_count_once_within_a_file_across_files_and_across_nights(world):
    spec = world.spec(predictions={"arrived_at": "logged"})
    row = world.prediction("a")
    world.put("p/a.parquet", [{**row, "logged": "2024-01-01T10:00:00"}, {**row, "logged": "2024-01-01T11:00:00"}])
    world.put("p/b.parquet", [{**row, "logged": "2024-01-01T12:00:00"}])
    world.put("p/c.parquet", [{**row, "logged": "2024-01-02T12:00:00"}])
    report = world.run(spec, D1, D2)
    assert [(n.rows_in, n.duplicates) for n in report.nights] == [(3, 2), (1, 1)]
    assert len(world.rows("predictions")) == 1


def test_files_with_the_same_bytes_are_one_delivery(world):
    a = world.put("p/a.parquet", [world.prediction("a")])
    shutil.copy(a, a.with_name("copy of a.parquet"))
    assert world.run(world.spec(), D1).nights[0].rows_in == 1


def test_two_labels_at_once_are_both_quarantined_and_a_later_one_is_a_correction(world):
    world.put("p/a.parquet", [world.prediction("a")])
    world.put(
        "l/a.parquet",
        [
            world.label("a", 1),
            world.label("a", 0),
            world.label("b", 1),
            world.label("b", 1),
            world.label("b", 0, at="2024-01-03T00:00:00"),
        ],
    )
    report = world.run(world.spec(), D1, D2, D3)
    assert world.rows("labels", "prediction_id, label, arrival_date::varchar") == [("b", "0", D3), ("b", "1", D2)]
    assert (report.nights[1].labels_in, report.nights[1].rows_quarantined, report.nights[1].duplicates) == (4, 2, 1)


def test_a_label_that_contradicts_one_taken_in_before_is_quarantined_once(world):
    world.put("p/a.parquet", [world.prediction("a")])
    world.put("l/a.parquet", [world.label("a", 1, at="2024-01-01T12:00:00")])
    world.run(world.spec(), D1)
    world.put("l/b.parquet", [world.label("a", 0, at="2024-01-01T12:00:00")])
    world.run(world.spec(), D2)
    world.home.sources_file("m").unlink()
    world.run(world.spec(), D3)
    assert world.rows("labels", "label") == [("1",)]
    assert world.rows("quarantine", "arrival_date::varchar, source") == [(D2, "labels")]


def test_refused_rows_of_unknown_date_belong_to_the_night_that_sees_them_first(world):
    world.put("p/a.parquet", [world.prediction("a"), world.prediction("b", t="yesterday")])
    world.run(world.spec(), D1)
    world.run(world.spec(), D2)
    world.put("p/b.parquet", [world.prediction("b", t="yesterday"), world.prediction("c", t="tomorrow")])
    world.run(world.spec(), D3)
    assert world.rows("quarantine", "arrival_date::varchar, raw::json->>'t'") == [(D1, "yesterday"), (D3, "tomorrow")]


def test_nights_before_any_accepted_row_leave_the_schema_open(world):
    world.put("p/a.parquet", [world.prediction("a", score=2.0, amount=1.0)])
    world.put("p/b.parquet", [world.prediction("b", t=f"{D2}T00:00:00", amount=1.0, country="DE")])
    world.run(world.spec(), D1)
    assert not world.home.schema_file("m").exists()
    world.run(world.spec(), D2)
    assert world.rows("predictions", "f_amount, f_country") == [(1.0, "DE")]


def test_new_and_vanished_columns_are_noted(world):
    world.put("p/a.parquet", [world.prediction("a", amount=1.0, country="DE")])
    world.put("p/b.parquet", [world.prediction("b", t=f"{D2}T00:00:00", amount=1.0, device="ios")])
    notes = world.run(world.spec(), D1, D2).nights[1].notes
    assert any("new column 'device'" in n for n in notes)
    assert any("no column 'country'" in n for n in notes)


def test_segment_values_are_admitted_by_frequency_and_stop_at_a_hundred(world):
    many = [world.prediction(str(i), country=f"c{i % 150:03d}", age=i % 3) for i in range(450)]
    world.put("p/a.parquet", [*many, world.prediction("x", country="c149", age=1)])
    world.put("p/b.parquet", [world.prediction("y", t=f"{D2}T00:00:00", country="new", age=7)])
    world.run(world.spec(segments=["country", ["country", "age"]]), D1, D2)
    assert world.rows("segment_values", "count(*)", "field = 'country'") == [(100,)]
    assert world.rows("segment_values", "count(*)", "value in ('c149', 'c000', 'c098')") == [(3,)]
    assert world.rows("segment_values", "value", "field = 'age' and arrival_date = date '2024-01-02'") == [("7",)]


def test_multiclass_and_regression_rows_are_conformed(world):
    world.put(
        "p/a.parquet",
        [
            {"id": "a", "t": D1, "pa": 0.5, "pb": 0.5},
            {"id": "b", "t": D1, "pa": 0.5, "pb": 0.4},
            {"id": "c", "t": D1, "pa": 0.2, "pb": 0.8},
        ],
    )
    world.put("l/a.parquet", [{"id": "a", "y": "B", "at": D1}])
    spec = world.spec(task="multiclass", predictions={"score": None, "scores": {"A": "pa", "B": "pb"}})
    world.run(spec, D1)
    assert world.rows("predictions", "prediction_id, score_0, score_1, prediction") == [
        ("a", 0.5, 0.5, "A"),
        ("c", 0.2, 0.8, "B"),
    ]
    assert "sum to 0.9" in world.rows("quarantine", "reason")[0][0]
    world.put("q/a.parquet", [{"id": 1, "t": D1, "yhat": 2.5}, {"id": 2, "t": D1, "yhat": float("inf")}])
    regression = world.spec(
        model="r", task="regression", predictions={"source": "data/q", "score": None, "prediction": "yhat"}, labels=None
    )
    world.run(regression, D1)
    assert world.rows("predictions", "prediction_id, prediction", model="r") == [("1", 2.5)]


def test_failed_requests_may_lack_a_score(world):
    rows = [
        world.prediction(str(i), score=s, status=st)
        for i, (s, st) in enumerate([(None, "500"), (None, "200"), (7.0, "timeout"), (0.5, "OK"), (0.5, None)])
    ]
    world.put("p/a.parquet", rows)
    world.run(world.spec(predictions={"status": "status"}), D1)
    assert world.rows("predictions", "prediction_id, score, failed, invalid_fields") == [
        ("0", None, True, None),
        ("2", None, True, '{"score":"7.0"}'),
        ("3", 0.5, False, None),
        ("4", 0.5, False, None),
    ]
    assert len(world.rows("quarantine")) == 1


def test_labels_of_models_without_predictions_yet_count_once_over_the_nights(world):
    world.put("p/a.parquet", [world.prediction("x", score=7.0)])
    world.put("l/a.parquet", [world.label("a", 1, at=D1)])
    world.run(world.spec(), D1)
    world.put("l/b.parquet", [world.label("a", 1, at=D1), world.label("b", 1, at=D1)])
    world.run(world.spec(), D2)
    assert world.rows("labels", "prediction_id, arrival_date::varchar") == [("a", D1), ("b", D2)]


def test_a_file_that_ends_the_engine_is_quarantined_and_the_night_goes_on(world):
    world.put("p/a.parquet", [world.prediction("a")])
    world.put("p/b.parquet", [world.prediction("b")])
    world.put("l/a.parquet", [world.label("a", 1, at=D1)])

    class Fragile(DuckDBEngine):
        """Dies, as DuckDB does at an internal error, when it takes in the second file."""

        dead = False

        def run(self, statement: str) -> None:
            if "predictions_1.parquet" in statement and statement.startswith("insert"):
                self.dead = True
            if self.dead:
                raise Error("FATAL Error: the database has been invalidated")
            super().run(statement)

        def rows(self, query: str) -> list[tuple[Any, ...]]:
            if self.dead:
                raise Error("FATAL Error: the database has been invalidated")
            return super().rows(query)

    report = world.run(world.spec(), D1, engine_factory=Fragile)
    assert (report.rows_in, report.rows_quarantined, report.labels_in) == (2, 1, 1)
    assert world.rows("predictions", "prediction_id") == [("a",)]
    world.run(world.spec(), D2)
    assert world.rows("predictions", "prediction_id, arrival_date::varchar") == [("a", D1), ("b", D2)]


def test_a_full_disk_stops_the_night_instead_of_blaming_the_file(world):
    world.put("p/a.parquet", [world.prediction("a")])

    class Full(DuckDBEngine):
        def run(self, statement: str) -> None:
            if statement.startswith("insert"):
                raise Error("IO Error: failed to offload data block: No space left on device")
            super().run(statement)

    with pytest.raises(IngestError, match="the disk is full"):
        world.run(world.spec(), D1, engine_factory=Full)
    assert world.run(world.spec(), D1).rows_in == 1


def test_a_file_that_changes_while_it_is_read_is_left_to_the_next_night(world):
    world.put("p/a.parquet", [world.prediction("a")])
    file = world.put("p/b.parquet", [world.prediction("b", score=0.1)])

    class Slow(DuckDBEngine):
        """While it writes the accepted rows, somebody delivers another file in the place of the one it reads."""

        def copy(self, query: str, path: Path, **how: Any) -> None:
            super().copy(query, path, **how)
            if file.exists() and "predictions_1.parquet" in query:
                file.unlink()
                world.put("p/b.parquet", [world.prediction("b", score=0.9), world.prediction("c", score=0.9)])

    report = world.run(world.spec(labels=None), D1, engine_factory=Slow)
    assert world.rows("predictions", "prediction_id") == [("a",)]
    assert (report.rows_in, report.rows_quarantined) == (2, 1)
    assert "was changed while it was read" in world.rows("quarantine", "reason")[0][0]
    world.run(world.spec(labels=None), D2)
    assert world.rows("predictions", "prediction_id, score") == [("a", 0.5), ("b", 0.9), ("c", 0.9)]


def test_what_came_before_is_found_whether_or_not_the_numbers_of_its_keys_are_kept(world):
    world.put("p/a.parquet", [world.prediction(str(i)) for i in range(20)])
    world.put("l/a.parquet", [world.label(str(i), at=f"{D1}T11:00:00") for i in range(20)])
    world.run(world.spec(), D1)
    again = [world.prediction(str(i), t=f"{D1}T10:00:00") for i in range(10, 30)]
    for number, night in enumerate((D2, D3, "2024-01-04")):
        world.put(f"p/{number}.parquet", [*again, world.prediction(f"new{number}", t=f"{night}T10:00:00")])
        world.put(f"l/{number}.csv", f"id,y,at\n5,0,{D1}T11:00:00\nnew{number},1,{night}T11:00:00\n")
        if night == D3:
            shutil.rmtree(world.home.keys_folder("m"))
        world.run(world.spec(), night)
    assert world.rows("predictions", "count(*)::int, count(distinct prediction_id)::int") == [(33, 33)]
    assert world.rows("labels", "count(*)::int") == [(23,)]
    assert world.rows("quarantine", "count(*)::int, min(reason)") == [
        (1, "conflicts with an earlier label of the same id and time: another value")
    ]
    kept = [file.name[:10] for file in sorted((world.home.keys_folder("m") / "predictions").iterdir())]
    assert kept == [D1, D2, D3], "of every night but the one that ran last, which the next one looks at first"


def test_rows_that_have_no_numbers_of_their_own_are_told_apart_all_the_same(world):
    named = [{**world.prediction(i), "file_row_number": 7} for i in ("a", "b", "b", "c")]
    world.put("p/a.parquet", named)
    path = world.home.root / "data" / "log.duckdb"
    with DuckDBEngine() as engine:
        engine.attach(path, "log")
        rows = "select unnest(['c', 'd', 'd', 'e']) as id, timestamp '2024-01-01 10:00:00' as t, 0.5 as score"
        engine.run(f"create table log.held as {rows}; create view log.seen as select * from log.held")
        engine.run("detach log")
    for table in ("held", "seen"):
        spec = world.spec(predictions={"source": ["data/p", f"data/log.duckdb#{table}"]}, labels=None, model=table)
        report = world.run(spec, D1)
        assert (report.rows_in, report.nights[0].duplicates, report.rows_quarantined) == (8, 2, 1)
        ids = world.rows("predictions", "prediction_id", model=table)
        assert ids == [("a",), ("b",), ("c",), ("d",), ("e",)]


def test_minus_zero_is_zero_and_what_is_no_number_is_none(world):
    odd = [-0.0, float("nan"), float("inf"), None, 1.5]
    world.put("p/a.parquet", [world.prediction(str(i), amount=x) for i, x in enumerate(odd)])
    world.put("p/b.csv", "id,t,score,amount\n5,2024-01-01,-0.0,-0.0\n")
    world.run(world.spec(), D1)
    assert world.rows("predictions", "prediction_id, f_amount::varchar, score::varchar, invalid_fields") == [
        ("0", "0.0", "0.5", None),
        ("1", None, "0.5", None),
        ("2", None, "0.5", '{"amount":"inf"}'),
        ("3", None, "0.5", None),
        ("4", "1.5", "0.5", None),
        ("5", "0.0", "0.0", None),
    ]
