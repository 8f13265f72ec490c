from __future__ import annotations

import datetime as dt
import gzip
import json

import duckdb
import fsspec
import pytest

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest.reference import describe_source, read_reference
from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.ingest.sources import IngestError, list_delivered

DAY = "2024-01-01"
CSV = 'id;t;score;note\nx;2024-01-01T10:00:00;0.5;\ny;2024-01-01T10:00:00;0.25;""\n'


def test_files_globs_folders_and_lists_are_listed_sorted_and_once(world):
    for name in ("b.csv", "sub/a.parquet", "c.jsonl.gz", "notes.txt", ".hidden.csv", "_tmp/d.csv"):
        world.put(f"p/{name}", b"x")
    paths = lambda source: [f.path for f in list_delivered(world.home, source).files]  # noqa: E731
    assert paths("data/p") == ["data/p/b.csv", "data/p/c.jsonl.gz", "data/p/sub/a.parquet"]
    assert paths("data/p/*.csv") == ["data/p/b.csv"]
    assert paths("data/**/*.parquet") == ["data/p/sub/a.parquet"]
    assert paths(["data/p/b.csv", "data/p"]) == paths("data/p")
    assert paths(str(world.home.root / "data/p/b.csv")) == ["data/p/b.csv"]
    assert paths(f"file://{world.home.root}/data/p/b.csv") == ["data/p/b.csv"]
    assert list_delivered(world.home, ["data/x", "data/l"]).missing == ("data/x",)
    assert list_delivered(world.home, ["data/x", "data/l"]).empty == ("data/l",)


@pytest.mark.parametrize("compress", [False, True])
def test_csv_is_read_as_text_with_its_own_delimiter_and_empty_is_missing_but_quoted_empty_is_text(world, compress):
    world.put("p/a.csv" + (".gz" if compress else ""), gzip.compress(CSV.encode()) if compress else CSV)
    world.run(world.spec(features={"categorical": ["note"]}), DAY)
    assert world.rows("predictions", "prediction_id, score, f_note") == [("x", 0.5, None), ("y", 0.25, "")]


def test_a_byte_order_mark_and_quoted_names_are_understood(world):
    world.put("p/a.csv", b'\xef\xbb\xbf"id","t","score","a ""b"""\nx,2024-01-01,0.5,1\n')
    world.run(world.spec(), DAY)
    assert world.rows("predictions", '"f_a ""b"""') == [(1.0,)]


@pytest.mark.parametrize("compress", [False, True])
def test_json_lines_are_read_with_whatever_keys_each_line_has(world, compress):
    lines = [
        {"id": 1, "t": 1704103200, "score": 0.5, "ok": True, "a/b": 1, "nested": {"x": 1}},
        {"t": 1704103200000, "id": "2", "score": 1, "~": None, "": 3},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"id":3,"t":"2024-01-01T10:00:00Z","score":NaN}'
    world.put("p/a.ndjson" + (".gz" if compress else ""), gzip.compress(text.encode()) if compress else text)
    world.run(world.spec(), DAY)
    assert world.rows("predictions", 'prediction_id, event_time, score, "f_a/b", f_ok') == [
        ("1", dt.datetime(2024, 1, 1, 10), 0.5, 1.0, "true"),
        ("2", dt.datetime(2024, 1, 1, 10), 1.0, None, None),
    ]
    assert world.rows("quarantine", "reason") == [("column 'score': the value is missing",)]


def test_a_source_may_be_a_url(world):
    with fsspec.open("memory://bucket/logs/a.csv", "w") as file:
        file.write("id,t,score\nx,2024-01-01,0.5\n")
    world.run(world.spec(predictions={"source": "memory://bucket/logs"}), DAY)
    world.run(world.spec(predictions={"source": "memory://bucket/logs/*.csv"}), DAY)
    assert world.rows("predictions", "prediction_id") == [("x",)]
    with pytest.raises(IngestError, match="there is no memory://bucket/other"):
        world.run(world.spec(predictions={"source": "memory://bucket/other"}), DAY)
    with pytest.raises(IngestError, match="can't be reached") as error:
        world.run(world.spec(predictions={"source": "nosuch://user:secret@host/x"}), DAY)
    assert "secret" not in str(error.value)


def test_a_source_may_be_a_table_of_a_duckdb_file(world):
    path = world.home.root / "data" / "log.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table log as select 'x' as id, timestamp '2024-01-01' as t, 0.5 as score")
        connection.execute("create table truth as select 'x' as id, timestamp '2024-01-01' as at, true as y")
    world.run(
        world.spec(predictions={"source": "data/log.duckdb#log"}, labels={"source": "data/log.duckdb#main.truth"}), DAY
    )
    assert world.rows("predictions", "prediction_id, score") == [("x", 0.5)]
    assert world.rows("labels", "prediction_id, label") == [("x", "1")]
    with pytest.raises(IngestError, match="has no table 'logs'; it has 'log', 'truth'"):
        world.run(world.spec(predictions={"source": "data/log.duckdb#logs"}), "2024-01-02")


def test_a_growing_file_gives_only_its_new_rows(world):
    world.put("p/a.csv", "id,t,score\nx,2024-01-01,0.5\n")
    world.run(world.spec(), DAY)
    world.put("p/a.csv", "id,t,score\nx,2024-01-01,0.5\nlate,2024-01-01,0.5\ny,2024-01-02,0.5\n")
    report = world.run(world.spec(), "2024-01-02")
    assert report.rows_in == 2
    assert world.rows("predictions", "prediction_id, arrival_date::varchar") == [
        ("late", "2024-01-02"),
        ("x", DAY),
        ("y", "2024-01-02"),
    ]


TIMES = {
    "2024-01-01T10:00:00": True,
    "2024-01-01 10:00:00": True,
    "2024-01-01T12:00:00+02:00": True,
    "2024-01-01T10:00:00.000Z": True,
    "1704103200": True,
    "1704103200.0": True,
    "1704103200000": True,
    "1704103200000000": True,
    "1704103200000000000": True,
    "99999999999999999999999": False,
    "-9223372036854775808": False,
    "24 o'clock": False,
}


def test_times_are_read_in_many_spellings(world):
    world.put("p/a.csv", "id,t,score\n" + "".join(f'{i},"{t}",0.5\n' for i, t in enumerate(TIMES)))
    world.put(
        "p/b.parquet", [world.prediction(f"n{i}", t=t) for i, t in enumerate((1704103200, 1704103200000, -(2**63)))]
    )
    world.put(
        "p/c.parquet", [world.prediction("z", t=dt.datetime(2024, 1, 1, 11, tzinfo=dt.timezone(dt.timedelta(hours=1))))]
    )
    world.put("p/d.parquet", [world.prediction("f", t=1704103200.0), world.prediction("g", t=float("nan"))])
    world.run(world.spec(), DAY)
    read = world.rows("predictions", "prediction_id, event_time")
    assert {t for _, t in read} == {dt.datetime(2024, 1, 1, 10)}
    assert {i for i, _ in read} == {str(i) for i, good in enumerate(TIMES.values()) if good} | {"n0", "n1", "z", "f"}


def test_the_reference_is_conformed_to_the_same_fields(world, tmp_path):
    world.put("p/a.parquet", [world.prediction("a", amount=1.5, country="DE")])
    world.put("train.csv", "amount,country,y,score\n2.5,FR,1,0.5\nlots,,0,7\n")
    spec = world.spec(reference={"source": "data/train.csv"})
    world.run(spec, DAY)
    schema = read_schema(world.home, "m")
    with DuckDBEngine(tmp_path / "spill") as engine:
        table = read_reference(world.home, spec, schema, engine)
        assert engine.rows(
            f"select f_amount, f_country, label, score, invalid_fields, failed from {table} order by all"
        ) == [
            (2.5, "FR", "1", 0.5, None, False),
            (None, None, "0", None, '{"amount":"lots"}', False),
        ]
        assert read_reference(world.home, world.spec(), schema, engine) is None
        world.put("train.csv", "amont\n1\n")
        with pytest.raises(
            IngestError, match=r"none of the model's features is in it; 'amount' is not a column \(did you mean 'amont'"
        ):
            read_reference(world.home, spec, schema, engine)


def test_a_source_is_described_with_what_is_wrong_with_it(world):
    world.put("p/a.parquet", [world.prediction("a", amount=1.5, country="DE", card="4111")])
    world.put("p/b.parquet", b"broken")
    spec = world.spec(predictions={"score": "scored", "latency_ms": "latency", "drop": ["card"]}, segments=["countri"])
    found = describe_source(world.home, spec, "predictions")
    assert found.columns == {
        "id": "VARCHAR",
        "t": "VARCHAR",
        "score": "DOUBLE",
        "amount": "DOUBLE",
        "country": "VARCHAR",
    }
    assert found.problems == (
        "predictions.score: data/p/a.parquet has no column 'scored' (did you mean 'score'?)",
        "predictions.source: data/p/b.parquet can't be read as parquet: it is damaged or incomplete",
        "predictions.latency_ms: no file of predictions.source has a column 'latency'",
        "segments: no file of predictions.source has a column 'countri' (did you mean 'country'?)",
    )
    with pytest.raises(IngestError, match=r"labels.source: data/l holds no file"):
        describe_source(world.home, spec, "labels")
