"""Two ways to count, in arrays and in SQL, and one result: every integer of every profile."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest.let_go import let_go
from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.profile import counting
from mlobs_pipelines.profile.bins import read_bins
from mlobs_pipelines.profile.embedded import count
from mlobs_pipelines.profile.night import profile_nights
from mlobs_pipelines.profile.plan import Plan
from mlobs_pipelines.profile.rows import admitted, load_facts
from mlobs_pipelines.profile.sums import summed
from mlobs_pipelines.profile.tables import counted
from mlobs_pipelines.store.layout import Home
from tests.profile.lake import night, write_lake

NIGHTS = 29


def both(home: Home, spec, nights: list[dt.date]) -> tuple[dict[str, list], dict[str, list]]:
    schema, bins = read_schema(home, "m"), read_bins(home.bins_file("m"))
    assert schema is not None
    with DuckDBEngine() as engine:
        plan = Plan(spec, schema, bins, admitted(home, spec, schema))
        arrays = counted(plan, count(engine, home, plan, nights))
        load_facts(engine, home, plan, nights)
        return tuple({name: listed(table) for name, table in found.items()} for found in (arrays, summed(engine, plan)))


def listed(table: pa.Table) -> list[str]:
    return sorted(map(repr, pl.DataFrame(table).iter_rows()))


@pytest.fixture(scope="module", params=["binary", "multiclass", "regression"])
def world(request, tmp_path_factory):
    home, spec, _, _ = write_lake(tmp_path_factory.mktemp("lake"), request.param, NIGHTS)
    profile_nights(home, spec, [night(i) for i in range(NIGHTS)])
    return home, spec


def test_arrays_and_sql_count_the_same(world):
    home, spec = world
    arrays, statements = both(home, spec, [night(i) for i in range(NIGHTS)])
    assert {name: len(found) > 0 for name, found in arrays.items()} == dict.fromkeys(arrays, True)
    assert arrays == statements


@pytest.mark.parametrize("most_bytes", [0, 2**20])
def test_what_does_not_fit_into_arrays_is_put_aside_and_counted_all_the_same(world, monkeypatch, most_bytes):
    home, spec = world
    nights = [night(i) for i in range(20, 26)]
    expected, _ = both(home, spec, nights)
    monkeypatch.setattr(counting, "MOST_BYTES", most_bytes)
    assert both(home, spec, nights)[0] == expected


def test_cuts_are_counted_apart_where_segments_are_many(world, monkeypatch):
    home, spec = world
    nights = [night(i) for i in range(20, 26)]
    expected, _ = both(home, spec, nights)
    monkeypatch.setattr("mlobs_pipelines.profile.cells.MOST_JOINT", 1)
    assert both(home, spec, nights)[0] == expected


def test_labels_of_rows_that_were_let_go_of_are_counted_by_neither(world, tmp_path):
    home, spec = Home(Path(shutil.copytree(world[0].root, tmp_path / "home"))), world[1]
    nights = [night(i) for i in range(21, 24)]
    whole, _ = both(home, spec, nights)
    let_go(home, "m", [night(20)], newest=night(20))
    arrays, statements = both(home, spec, nights)
    assert arrays == statements
    assert arrays["output_profile"] != whole["output_profile"]
    assert arrays["traffic_profile"] == whole["traffic_profile"]


def test_before_features_are_frozen_outputs_and_quality_are_counted(tmp_path: Path):
    home, spec, _, _ = write_lake(tmp_path, "binary", 3)
    profile_nights(home, spec, [night(i) for i in range(3)])
    arrays, statements = both(home, spec, [night(i) for i in range(3)])
    assert arrays["feature_profile"] == []
    assert arrays["quality_profile"]
    assert arrays == statements
