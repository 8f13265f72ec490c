from __future__ import annotations

import datetime as dt
import json

import pyarrow as pa
import pytest

from mlobs_pipelines.ingest.sources import IngestError


def _schema(world):
    return json.loads(world.home.schema_file("m").read_text())


def _table(n=2000, **columns):
    base = {"id": [str(i) for i in range(n)], "t": [dt.datetime(2024, 1, 1)] * n, "score": [0.5] * n}
    return pa.table({**base, **columns})


def test_kinds_are_inferred_from_types_and_values(world):
    n = 2000
    columns = {
        "x10": [float(i) for i in range(n)],
        "x2": list(range(n)),
        "flag": [i % 2 == 0 for i in range(n)],
        "country": ["DE"] * n,
        "number_as_text": [str(i) if i % 3 else None for i in range(n)],
        "when": [dt.datetime(2024, 1, 1)] * n,
        "when_as_text": ["2024-01-01T00:00:00Z"] * n,
        "session": [f"s{i:06d}" for i in range(n)],
        "nested": [{"a": 1}] * n,
        "list": [[1.0]] * n,
        "y": [1] * n,
        "nothing": pa.nulls(n, pa.string()),
    }
    world.put("p/a.parquet", _table(n, **columns))
    world.run(world.spec(), "2024-01-01")
    schema = _schema(world)
    assert schema["features"] == {
        "country": "categorical",
        "flag": "categorical",
        "nothing": "categorical",
        "number_as_text": "numeric",
        "x2": "numeric",
        "x10": "numeric",
    }
    assert list(schema["features"]) == ["country", "flag", "nothing", "number_as_text", "x2", "x10"]
    assert set(schema["left_out"]) == {"when", "when_as_text", "session", "nested", "list"}
    assert schema["decided_on"] == "2024-01-01"
    assert world.rows("predictions", "distinct f_flag, f_country") == [("false", "DE"), ("true", "DE")]


def test_listed_features_are_taken_as_listed_and_a_list_left_out_is_inferred(world):
    world.put("p/a.parquet", [world.prediction("a", code=7, amount=1.5, country="DE", region="X")])
    world.run(world.spec(features={"categorical": ["code"]}), "2024-01-01")
    assert _schema(world)["features"] == {"code": "categorical", "amount": "numeric"}
    assert world.rows("predictions", "f_code") == [("7",)]
    world.put("q/a.parquet", [world.prediction("a", code=7, amount=1.5, country="DE")])
    world.run(
        world.spec(
            model="n",
            predictions={"source": "data/q"},
            features={"numeric": ["code"], "categorical": []},
            segments=["country"],
        ),
        "2024-01-01",
    )
    found = json.loads(world.home.schema_file("n").read_text())
    assert (found["features"], found["fields"]) == ({"code": "numeric"}, {"code": "numeric", "country": "categorical"})


def test_the_schema_is_decided_once_and_later_types_are_conformed_to_it(world):
    world.put("p/a.parquet", [world.prediction("a", amount=1.5, country="DE", bulk="x" * 2000)])
    world.put(
        "p/b.parquet",
        [
            world.prediction("b", t="2024-01-02", amount="2.5", country=49.0),
            world.prediction("c", t="2024-01-02", amount="much", country=None),
        ],
    )
    world.run(world.spec(), "2024-01-01", "2024-01-02")
    assert world.rows("predictions", "prediction_id, f_amount, f_country, invalid_fields", "prediction_id != 'a'") == [
        ("b", 2.5, "49", None),
        ("c", None, None, '{"amount":"much"}'),
    ]
    ((bulk, invalid),) = world.rows("predictions", "f_bulk, invalid_fields", "prediction_id = 'a'")
    assert bulk is None
    assert invalid == json.dumps({"bulk": "x" * 200}, separators=(",", ":"))


def test_embeddings_have_one_size_and_a_norm(world):
    world.put(
        "p/a.parquet",
        [
            world.prediction("a", e=[3.0, 4.0]),
            world.prediction("b", e=[1.0, 0.0]),
            world.prediction("c", e=[1.0]),
            world.prediction("d", e=[1.0, float("nan")]),
            world.prediction("e", e=None),
        ],
    )
    world.run(world.spec(features={"embedding": ["e"]}), "2024-01-01")
    assert world.rows("predictions", "prediction_id, n_e, invalid_fields is not null") == [
        ("a", 5.0, False),
        ("b", 1.0, False),
        ("c", None, True),
        ("d", None, True),
        ("e", None, False),
    ]


def test_columns_that_differ_only_by_case_across_files_are_one_field(world):
    world.put("p/a.parquet", [world.prediction("a", Amount=1.0)])
    world.put("p/b.parquet", [world.prediction("b", amount=2.0)])
    world.run(world.spec(), "2024-01-01")
    assert _schema(world)["features"] == {"Amount": "numeric"}
    assert world.rows("predictions", "f_Amount") == [(1.0,), (2.0,)]


def test_a_column_listed_twice_is_refused(world):
    world.put("p/a.parquet", [world.prediction("a", x=1)])
    with pytest.raises((IngestError, ValueError), match="x"):
        world.run(world.spec(features={"numeric": ["x"], "categorical": ["x"]}), "2024-01-01")


def test_rows_of_a_night_before_the_schema_was_decided_are_settled_without_its_fields(world):
    world.put("p/b.parquet", [world.prediction("b", t="2024-01-02", amount=2.5)])
    world.run(world.spec(), "2024-01-02")
    assert _schema(world)["decided_on"] == "2024-01-02"
    late = [world.prediction("a", amount=1.5), world.prediction("a", score=0.9, amount=1.0)]
    world.put("p/a.parquet", [*late, world.prediction("b", amount=2.0)])
    world.run(world.spec(), "2024-01-01")
    assert world.rows("predictions", "prediction_id, arrival_date") == [
        ("a", dt.date(2024, 1, 1)),
        ("b", dt.date(2024, 1, 2)),
    ]
    assert len(world.rows("quarantine", "reason")) == 2
