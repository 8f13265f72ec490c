from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlobs_pipelines.ingest import arrays

from .conftest import World

NIGHT, DAY = "2024-01-01", dt.datetime(2024, 1, 1, 10)
N = 100
FIELDS = {
    "numeric": ["double", "float", "byte", "long", "huge", "text_number"],
    "categorical": ["text", "large", "coded", "number_text"],
}


def delivered(**changed: Any) -> pa.Table:
    """A hundred rows of every kind of column there is, among them rows that are refused, come twice or on another night."""
    number = [None if i % 7 == 3 else [0.5, -0.0, math.nan, 1e300, 5e-324][i % 5] for i in range(N)]
    text = [None if i % 11 == 5 else ["", "a", "é\u0301", "x" * 1024, "\0"][i % 5] + str(i // 30) for i in range(N)]
    text = [t[-1024:] if t else t for t in text]
    columns = {
        "id": [f"id{i if i % 13 else 0}" for i in range(N)],
        "t": pa.array([DAY + dt.timedelta(days=int(i % 17 == 16), minutes=i) for i in range(N)], pa.timestamp("us")),
        "score": [2.0 if i % 19 == 18 else i / N for i in range(N)],
        "double": pa.array(number, pa.float64()),
        "float": pa.array(number, pa.float64()).cast(pa.float32(), safe=False),
        "byte": pa.array([i % 100 - 50 for i in range(N)], pa.int8()),
        "long": pa.array([2**53 + i if i % 4 else None for i in range(N)], pa.int64()),
        "huge": pa.array([2**64 - 1 - i for i in range(N)], pa.uint64()),
        "text_number": [str(i) for i in range(N)],
        "text": pa.array(text, pa.string()),
        "large": pa.array(text, pa.large_string()),
        "coded": pa.array(text, pa.string()).dictionary_encode(),
        "number_text": [i % 3 for i in range(N)],
    }
    columns["float"] = pa.array(
        [None if x is None or math.isinf(x) else x for x in columns["float"].to_pylist()], pa.float32()
    )
    return pa.table(columns | changed)


def taken_in(root: Path, table: pa.Table, kind: str) -> World:
    """A world that took in the table from a Parquet file, whose columns may go as arrays, or from a database."""
    world = World(root)
    if kind == "parquet":
        pq.write_table(table, root / "data" / "p" / "a.parquet", row_group_size=23)
    else:
        with duckdb.connect(str(root / "data" / "p.duckdb")) as database:
            database.execute('create table p as select * from "table"')
    source = "data/p" if kind == "parquet" else "data/p.duckdb#p"
    world.run(world.spec(predictions={"source": source}, features=FIELDS, segments=["coded"]), NIGHT)
    return world


def accepted(world: World) -> list[str]:
    return [repr(row) for row in world.rows("predictions")]


def as_arrays(world: World, night: str = NIGHT) -> bool:
    """Whether Arrow wrote a night's accepted predictions, not the engine."""
    written = pq.read_metadata(world.home.lake_file("m", "predictions", dt.date.fromisoformat(night))).created_by
    return "arrow" in written


@pytest.mark.parametrize("rows", [7, 23, 40, 1000])
def test_columns_that_go_as_arrays_are_stored_as_sql_stores_them(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(arrays, "ROWS", rows)
    as_they_are, by_sql = (taken_in(tmp_path / kind, delivered(), kind) for kind in ("parquet", "database"))
    assert as_arrays(as_they_are) and not as_arrays(by_sql)
    assert accepted(as_they_are) == accepted(by_sql)
    assert len(accepted(by_sql)) not in (0, N)
    assert as_they_are.rows("intake") == by_sql.rows("intake")
    assert as_they_are.rows("segment_values") == by_sql.rows("segment_values")


def test_nights_taken_in_together_are_stored_as_one_by_one(tmp_path, monkeypatch):
    first, *others = nights = [f"2024-01-0{i}" for i in (1, 2, 3)]

    def of(night: str, name: str) -> pa.Table:
        times = [dt.datetime.fromisoformat(night) + dt.timedelta(minutes=i) for i in range(N)]
        ids = [f"{name}-{i if i % 13 else 0}" for i in range(N)]
        return delivered(id=ids, t=pa.array(times, pa.timestamp("us")))

    def world(name: str, *together: list[str]) -> World:
        made = World(tmp_path / name)
        for night in nights:
            made.put(f"p/{night}.parquet", of(night, night))
        made.run(made.spec(features=FIELDS), first)
        made.put("p/late.parquet", of(first, "late"))  # is the second night's
        for some in together:
            made.run(made.spec(features=FIELDS), *some)
        return made

    one_by_one, small = world("one by one", *([night] for night in others)), world("small", others)
    monkeypatch.setattr(arrays, "LEAST", 50)
    together = world("together", others)
    assert all(as_arrays(together, night) and not as_arrays(small, night) for night in others)
    assert accepted(together) == accepted(small) == accepted(one_by_one)
    assert [len(together.rows("predictions", where=f"arrival_date = date '{night}'")) for night in nights] == [
        88,
        176,
        88,
    ]
    assert together.rows("intake") == small.rows("intake") == one_by_one.rows("intake")


@pytest.mark.parametrize(
    "changed",
    [
        {"double": pa.array([math.inf if i == 77 else 1.0 for i in range(N)])},
        {"float": pa.array([-math.inf if i == 77 else 1.0 for i in range(N)], pa.float32())},
        {"text": pa.array(["é" * 1025 if i == 77 else "a" for i in range(N)])},
    ],
    ids=["infinity", "minus infinity", "long text"],
)
def test_a_value_that_has_to_be_noted_is_noted_beside_its_row(tmp_path, changed):
    noted, by_sql = (taken_in(tmp_path / kind, delivered(**changed), kind) for kind in ("parquet", "database"))
    assert not as_arrays(noted)
    assert len(noted.rows("predictions", where="invalid_fields is not null")) == 1
    assert accepted(noted) == accepted(by_sql)


def test_a_hidden_column_is_stored_as_its_hash_and_a_dropped_one_not_at_all(tmp_path):
    world = World(tmp_path)
    pq.write_table(delivered(), tmp_path / "data" / "p" / "a.parquet")
    protected = {"hash": ["text"], "drop": ["large"]}
    fields = {"numeric": ["double"], "categorical": ["text", "coded"]}
    world.run(world.spec(predictions=protected, features=fields), NIGHT)
    assert as_arrays(world)
    kept = {row[0] for row in world.rows("predictions", "f_text") if row[0]}
    assert kept and all(len(value) == 64 for value in kept)


def test_text_that_is_no_utf8_is_a_damaged_file(tmp_path):
    world = World(tmp_path)
    wrong = pa.array([b"\xff\xfe" if i == 50 else b"a" for i in range(N)], pa.binary())
    wrong = pa.Array.from_buffers(pa.string(), N, wrong.buffers())
    pq.write_table(delivered(text=wrong), tmp_path / "data" / "p" / "a.parquet")
    world.put("p/b.parquet", delivered().slice(0, 10))
    world.run(world.spec(features=FIELDS), NIGHT)
    assert [row[0] for row in world.rows("quarantine", "reason", "line is null")] == [
        "the file can't be read as parquet: it is damaged or incomplete"
    ]
    assert all("a.parquet" not in row for row in accepted(world))
