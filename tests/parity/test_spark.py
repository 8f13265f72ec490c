"""Spark counts what the embedded engine counts: every integer of every profile."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pytest

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.profile.bins import read_bins
from mlobs_pipelines.profile.embedded import count
from mlobs_pipelines.profile.night import profile_nights
from mlobs_pipelines.profile.plan import Plan
from mlobs_pipelines.profile.rows import admitted, load_facts
from mlobs_pipelines.profile.sums import summed
from mlobs_pipelines.profile.tables import counted
from tests.profile.lake import night, write_lake

pyspark_sql = pytest.importorskip("pyspark.sql", reason="PySpark is not installed")
pytestmark = [
    pytest.mark.spark,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java"),
]

NIGHTS = 29


@pytest.fixture(scope="module")
def session() -> Iterator[object]:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = pyspark_sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    found = builder.config("spark.sql.shuffle.partitions", "2").config("spark.driver.memory", "1g").getOrCreate()
    yield found
    found.stop()


def listed(table: pa.Table) -> list[str]:
    return sorted(map(repr, pl.DataFrame(table).iter_rows()))


def test_names_and_texts_arrive_whatever_they_contain(session):
    from mlobs_pipelines.engine import sql
    from mlobs_pipelines.engine.spark import SparkEngine

    for hostile in ("it's", "a\\", "\\n", "'", "''", 'say "x"', "`", "\\'", "ü\n–", "--", "/* */"):
        spark = SparkEngine(session)
        table = spark.table(f"select {sql.text(hostile)} as {sql.name(hostile)}")
        assert table.to_pylist() == [{hostile: hostile}]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_profiles_are_equal_row_for_row(session, task, tmp_path):
    from mlobs_pipelines.engine.spark import SparkEngine

    home, spec, _, _ = write_lake(tmp_path, task, NIGHTS)
    profile_nights(home, spec, [night(i) for i in range(NIGHTS)])
    schema, bins = read_schema(home, "m"), read_bins(home.bins_file("m"))
    assert schema is not None
    nights = [night(i) for i in range(25, 29)]
    with DuckDBEngine() as embedded:
        plan = Plan(spec, schema, bins, admitted(embedded, home, spec, schema))
        expected = {
            name: listed(embedded.table(query))
            for name, query in counted(embedded, plan, count(embedded, home, plan, nights)).items()
        }
    spark = SparkEngine(session)
    try:
        assert admitted(spark, home, spec, schema) == plan.admitted
        load_facts(spark, home, plan, nights)
        found = {name: listed(table) for name, table in summed(spark, plan).items()}
    finally:
        spark.close()
    assert all(expected.values())
    assert found == expected
