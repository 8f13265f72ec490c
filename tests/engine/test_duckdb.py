"""The embedded engine."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error


@pytest.fixture
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1, ordered=True) as engine:
        yield engine


def test_a_planned_query_answers_for_each_table_that_it_is_asked_of(engine: DuckDBEngine) -> None:
    first, second = pa.table({"x": [1, 2]}), pa.table({"x": [10, None, 30]})
    doubled = engine.planned(lambda rows: f"select 2 * x as y from {rows}", first.schema)
    negative = engine.planned(lambda rows: f"select -x as y from {rows}", first.schema)
    assert doubled(first)["y"].to_pylist() == [2, 4]
    assert negative(second)["y"].to_pylist() == [-10, None, -30]
    assert doubled(second)["y"].to_pylist() == [20, None, 60]
    assert doubled(first.slice(0, 0)).num_rows == 0


def test_a_planned_query_refuses_a_table_of_other_types(engine: DuckDBEngine) -> None:
    doubled = engine.planned(lambda rows: f"select 2 * x as y from {rows}", pa.schema({"x": pa.int64()}))
    with pytest.raises(Error):
        doubled(pa.table({"x": ["1"]}))
