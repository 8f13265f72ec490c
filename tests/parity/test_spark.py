"""Spark counts what the embedded engine counts: every integer of every profile; nights run on either leave the same lake.

One file, so that parallel test processes start one Spark.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import yaml
from polars.testing import assert_frame_equal

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.orchestration import steps
from mlobs_pipelines.profile.bins import read_bins
from mlobs_pipelines.profile.embedded import count
from mlobs_pipelines.profile.night import profile_nights
from mlobs_pipelines.profile.plan import Plan
from mlobs_pipelines.profile.rows import admitted, load_facts
from mlobs_pipelines.profile.sums import summed
from mlobs_pipelines.profile.tables import counted
from mlobs_pipelines.simulate.delivery import write_world
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.layout import nights as nights_in
from mlobs_pipelines.store.read import REFERENCE_TABLES, digest
from tests.profile.lake import night, write_lake
from tests.real.logs import Log, prepare_bike_hour, prepare_elec2, prepare_shelter_outcomes

pytestmark = [pytest.mark.spark, pytest.mark.slow]

NIGHTS = 29
PROFILES = ("feature_profile", "output_profile", "quality_profile", "traffic_profile")
ODD = ["Größe", "Gro\N{COMBINING DIAERESIS}ße", "日曜日", "🦆", "it's \\ \"`", " ", "NULL", "ß\t\n"]
"""Categories that an engine may spell, order or quote in its own way; the first two look alike."""


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


def on_spark(home: Home) -> Home:
    """A copy of the home whose engine is Spark."""
    other = Home(home.root.with_name("on_spark"))
    shutil.copytree(home.root, other.root)
    other.settings_file.write_text("engine: spark\n", encoding="utf-8")
    return other


def derive(home: Home, model: str, taken: Sequence[dt.date]) -> None:
    """Join and count nights that were taken in, in one go."""
    spec = load_spec(home.spec_file(model))
    steps.join(home, spec, taken)
    steps.profile(home, spec, taken)


def assert_equal_lakes(embedded: Home, spark: Home, model: str) -> None:
    for table in PROFILES:
        taken = nights_in(embedded.lake(model) / table)
        assert taken == nights_in(spark.lake(model) / table)
        assert taken
        for day in taken:
            assert_frame_equal(*(pl.read_parquet(home.lake_file(model, table, day)) for home in (embedded, spark)))
        whole = pl.read_parquet(embedded.lake(model) / table / "*.parquet")
        assert whole.height > 0, table
    for table in REFERENCE_TABLES:
        assert_frame_equal(*(pl.read_parquet(home.reference_file(model, table)) for home in (embedded, spark)))
    for day in nights_in(embedded.lake(model) / "label_facts"):
        files = [home.lake_file(model, "label_facts", day) for home in (embedded, spark)]
        one, other = (pl.read_parquet(file) for file in files)
        assert one.schema == other.schema
        assert_frame_equal(one, other, check_row_order=False)
    assert digest(embedded, model) == digest(spark, model)


def corrected(home: Home, folder: str, id_: str, value: str, at: str, when: dt.datetime) -> None:
    """Deliver a file that turns some of the first labels round, and repeats others, on a later night."""
    first = pl.read_parquet(sorted((home.root / folder).glob("*.parquet"))[0])
    some = first.head(30)
    turned = some.with_columns(pl.when(pl.int_range(pl.len()) < 20).then(1 - pl.col(value)).otherwise(pl.col(value)))
    told = turned.with_columns(pl.lit(when).cast(first.schema[at]).alias(at), pl.col(value).cast(first.schema[value]))
    told.unique([id_], keep="first").write_parquet(home.root / folder / "corrections.parquet")


def test_a_simulated_world_that_moves_to_spark_after_six_nights(session, tmp_path: Path) -> None:
    embedded, model = Home(tmp_path / "embedded"), "card_fraud"
    write_world(embedded, seed=11, days=9, payments_per_day=150)
    for i, file in enumerate(sorted((embedded.root / "data" / "predictions").glob("*.parquet"))):
        rows = pl.read_parquet(file)
        place = pl.int_range(pl.len()) + i
        odd = pl.lit(pl.Series(ODD)).gather(place % len(ODD))
        rows.with_columns(
            country=pl.when(place % 5 == 0).then(odd).otherwise("country"),
            amount=pl.when(place % 7 == 0).then(float("nan")).when(place % 7 == 1).then(-0.0).otherwise("amount"),
            distance_km=pl.when(place % 3 == 0).then(None).when(place % 3 == 1).then(2.0).otherwise("distance_km"),
        ).write_parquet(file)
    corrected(embedded, "data/labels", "prediction_id", "is_fraud", "reported_at", dt.datetime(2026, 1, 8, 12))
    spec = load_spec(embedded.spec_file(model))
    all_nights = [dt.date(2026, 1, 1) + dt.timedelta(days=i) for i in range(9)]
    steps.ingest(embedded, spec, all_nights[:6])
    derive(embedded, model, all_nights[:6])
    steps.ingest(embedded, spec, all_nights[6:])
    spark = on_spark(embedded)
    for table in PROFILES:
        shutil.rmtree(spark.lake(model) / table)
    derive(embedded, model, all_nights[6:])
    steps.join(spark, spec, all_nights[6:])
    steps.profile(spark, spec, all_nights)
    facts = pl.read_parquet(embedded.lake(model) / "label_facts" / "*.parquet")
    assert set(facts["sign"]) == {1, -1}
    assert (facts["arrival_date"] > facts["prediction_arrival_date"]).any()
    counted = pl.read_parquet(embedded.lake(model) / "feature_profile" / "*.parquet")
    assert counted["segment"].str.contains("country=日曜日", literal=True).any()
    for home in (embedded, spark):
        steps.measure(home, spec, all_nights, "run")
    assert_equal_lakes(embedded, spark, model)


def silent_elec2(home: Home) -> Log:
    """Prices that go up are reported, and corrected; silence for a day means that they do not."""
    log = prepare_elec2(home, corrected=40, nights=22)
    file = home.root / "data" / log.model / "labels.parquet"
    labels = pl.read_parquet(file)
    labels.filter((pl.col("value") == 1) | pl.col("id").is_duplicated()).write_parquet(file)
    spec = yaml.safe_load(home.spec_file(log.model).read_text(encoding="utf-8"))
    spec["labels"]["mode"] = "positives_only"
    home.spec_file(log.model).write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return log


@pytest.mark.parametrize(
    "prepare",
    [
        silent_elec2,
        lambda home: prepare_bike_hour(home, nights=8),
        lambda home: prepare_shelter_outcomes(home, nights=22),
    ],
    ids=["elec2", "bike_hour", "shelter_outcomes"],
)
def test_real_sets(session, prepare: Callable[[Home], Log], tmp_path: Path) -> None:
    log = prepare(Home(tmp_path / "embedded"))
    steps.ingest(log.home, load_spec(log.home.spec_file(log.model)), log.nights)
    spark = on_spark(log.home)
    for home in (log.home, spark):
        derive(home, log.model, log.nights)
    assert not spark.warehouse_file(log.model).exists()
    assert_equal_lakes(log.home, spark, log.model)
