"""Rows of a profile are added up by their keys, in the order of those."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.profile.tables import schema_of, totalled, write

SCHEMA = schema_of(None, "output_profile")
KEYS = [name for name in SCHEMA.names if SCHEMA.field(name).type != pa.int64()]
TEXTS = ["", "z", "Z", "é", "e\u0301", "straße", "日本", "\U0001f600", "\ufffd", "a b", "1", "10", "2"]


def rows(count: int, distinct: int, seed: int = 0) -> pa.Table:
    """Rows with so many different values in every key, as text or as categories, and some of zeros."""
    rng = np.random.default_rng(seed)
    texts = [*TEXTS, *(f"v{i}" for i in range(distinct))][:distinct]
    columns = {}
    for name in KEYS:
        number = rng.integers(0, distinct, count)
        if SCHEMA.field(name).type == pa.string():
            columns[name] = pa.array([texts[i] for i in number], pa.string())
            if name != "role":
                columns[name] = columns[name].dictionary_encode()
        elif SCHEMA.field(name).type == pa.date32():
            columns[name] = pa.array([dt.date(1990, 1, 1) + dt.timedelta(days=int(i) * 9) for i in number], pa.date32())
        else:
            columns[name] = pa.array(number - 3, pa.int32())
    sums = {name: rng.integers(-2, 3, count) * 2**52 for name in SCHEMA.names if name not in KEYS}
    return pa.table({**columns, **sums})


def by_polars(table: pa.Table) -> pl.DataFrame:
    frame = pl.DataFrame(table).with_columns(pl.col(pl.Categorical).cast(pl.String))
    sums = [name for name in SCHEMA.names if name not in KEYS]
    summed = frame.group_by(KEYS).agg(pl.col(sums).sum())
    return summed.filter(pl.any_horizontal(pl.col(sums) != 0)).sort(KEYS).select(SCHEMA.names)


@pytest.mark.parametrize(("count", "distinct"), [(0, 3), (1, 1), (5_000, 3), (3_000, 2_000)])
def test_rows_are_added_up_by_their_keys_and_sorted_by_them_and_zeros_are_dropped(count, distinct):
    """With 2,000 values in each of seven keys there are more combinations than 64 bits can number."""
    table = rows(count, distinct)
    found = totalled(table, SCHEMA)
    assert pl.DataFrame(found).with_columns(pl.col(pl.Categorical).cast(pl.String)).equals(by_polars(table))


def test_what_is_written_is_read_as_text_and_in_order(tmp_path: Path):
    table = totalled(rows(5_000, 13), SCHEMA)
    file = tmp_path / "profile.parquet"
    write(table, file)
    with DuckDBEngine(ordered=True, threads=1) as engine:
        described = dict(engine.rows(f"select column_name, column_type from (describe select * from {scan([file])})"))
        assert {described[name] for name in ("version", "role", "segment", "output")} == {"VARCHAR"}
        assert engine.rows(f"select * from {scan([file])}") == list(pl.read_parquet(file).iter_rows())
    assert pl.read_parquet(file).schema["segment"] == pl.String
    assert pl.read_parquet(file).equals(pl.DataFrame(table).with_columns(pl.col(pl.Categorical).cast(pl.String)))
