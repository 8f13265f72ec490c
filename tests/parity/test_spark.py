"""Nights that Spark joins, counts and samples leave the lake that the embedded engine leaves, row for row.

One file, so that parallel test processes start one Spark; few features and nights, for a statement's cost is its planning.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from mlobs_pipelines.act.rows import Poisoned, matured_rows
from mlobs_pipelines.act.shadow import shadow_rows
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.engine.spark import SparkEngine
from mlobs_pipelines.explain.sample import night_rows
from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.orchestration import steps
from mlobs_pipelines.profile.night import profile_nights
from mlobs_pipelines.simulate.delivery import write_world
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import REFERENCE_TABLES, digest
from tests.real.logs import Log, prepare_bike_hour, prepare_elec2, prepare_shelter_outcomes

pytestmark = [pytest.mark.spark, pytest.mark.slow]

PROFILES = ("feature_profile", "output_profile", "quality_profile", "traffic_profile")
ODD = ["Größe", "Gro\N{COMBINING DIAERESIS}ße", "日曜日", "🦆", "it's \\ \"`", " ", "NULL", "ß\t\n"]
"""Categories that an engine may spell, order or quote in its own way; the first two look alike."""
NUMBERS = [2.0, 2.0, -0.0, 0.0, 0.0001, 12345678.5, 1e16, float("nan"), None]
"""Numbers that tie, or that an engine may compare or write in its own way."""
HOSTILE = 'dev"ice; drop `table'


def on_spark(home: Home) -> Home:
    """A copy of the home whose engine is Spark."""
    other = Home(home.root.with_name("on_spark"))
    shutil.copytree(home.root, other.root)
    other.settings_file.write_text("engine: spark\n", encoding="utf-8")
    return other


def respecified(home: Home, model: str, change: Callable[[dict], None]) -> None:
    spec = yaml.safe_load(home.spec_file(model).read_text(encoding="utf-8"))
    change(spec)
    home.spec_file(model).write_text(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True), encoding="utf-8")


def derive(home: Home, model: str, taken: Sequence[dt.date]) -> None:
    """Join nights that were taken in, and count them."""
    spec = load_spec(home.spec_file(model))
    steps.join(home, spec, taken)
    profile_nights(home, spec, taken)


def stored(home: Home, model: str, table: str) -> pl.DataFrame:
    return pl.read_parquet(home.lake(model) / table / "*.parquet")


def assert_equal_lakes(embedded: Home, spark: Home, model: str) -> None:
    for table in (*PROFILES, "label_facts"):
        taken = embedded.lake_nights(model, table).all()
        assert taken == spark.lake_nights(model, table).all()
        assert stored(embedded, model, table).height > 0, table
        for day in taken:
            one, other = (pl.read_parquet(home.lake_file(model, table, day)) for home in (embedded, spark))
            assert_frame_equal(one, other, check_row_order=table != "label_facts")
    for table in REFERENCE_TABLES:
        assert_frame_equal(*(pl.read_parquet(home.reference_file(model, table)) for home in (embedded, spark)))
    assert digest(embedded, model) == digest(spark, model)


def assert_equal_samples(session, homes: Sequence[Home], model: str, bad: Sequence[Poisoned] = ()) -> None:
    """What is explained, learned from and compared on."""
    spec, schema = load_spec(homes[0].spec_file(model)), read_schema(homes[0], model)
    taken = homes[0].lake_nights(model, "predictions").all()
    assert schema is not None
    with DuckDBEngine() as embedded, SparkEngine(session) as spark:
        one, other = (night_rows(engine, homes[0], spec, schema, taken[:3], 20) for engine in (embedded, spark))
        assert one.height == 60
        assert_frame_equal(one, other)
    one, other = (matured_rows(home, spec, taken[0], taken[-1], taken[-1], bad) for home in homes)
    assert one.height > 0
    assert_frame_equal(one, other)
    version = stored(homes[0], model, "predictions")["version"][0]
    said = [shadow_rows(home, spec, version, version, taken[-1]) for home in homes]
    assert said[0] is not None
    assert said[1] is not None
    assert_frame_equal(*said)


def test_names_and_texts_arrive_whatever_they_contain(session):
    from mlobs_pipelines.engine import sql

    hostile = ["it's", "a\\", "\\n", "'", "''", 'say "x"', "`", "\\'", "ü\n–", "--", "/* */"]
    with SparkEngine(session) as spark:
        table = spark.table(f"select {', '.join(f'{sql.text(text)} as {sql.name(text)}' for text in hostile)}")
    assert table.to_pylist() == [dict(zip(hostile, hostile, strict=True))]


def corrected(home: Home, folder: str, id_: str, value: str, at: str, when: dt.datetime) -> None:
    """Deliver a file that turns some of the first labels round, and repeats others, on a later night."""
    first = pl.read_parquet(sorted((home.root / folder).glob("*.parquet"))[0])
    some = first.head(30)
    turned = some.with_columns(pl.when(pl.int_range(pl.len()) < 20).then(1 - pl.col(value)).otherwise(pl.col(value)))
    told = turned.with_columns(pl.lit(when).cast(first.schema[at]).alias(at), pl.col(value).cast(first.schema[value]))
    told.unique([id_], keep="first").write_parquet(home.root / folder / "corrections.parquet")


def odd_world(home: Home) -> str:
    """A small simulated world with odd names, categories and numbers, and late and corrected labels."""
    model = "card_fraud"
    write_world(home, seed=11, days=9, payments_per_day=150)
    training = home.root / "data" / "training.parquet"
    pl.read_parquet(training).rename({"device": HOSTILE}).write_parquet(training)
    for i, file in enumerate(sorted((home.root / "data" / "predictions").glob("*.parquet"))):
        place = pl.int_range(pl.len()) + i
        pl.read_parquet(file).rename({"device": HOSTILE}).with_columns(
            country=pl.when(place % 5 == 0).then(pl.lit(pl.Series(ODD)).gather(place % len(ODD))).otherwise("country"),
            distance_km=pl.lit(pl.Series(NUMBERS)).gather(place % len(NUMBERS)),
        ).write_parquet(file)
    corrected(home, "data/labels", "prediction_id", "is_fraud", "reported_at", dt.datetime(2026, 1, 8, 12))

    def change(spec: dict) -> None:
        spec["features"] = {"numeric": ["amount", "distance_km"], "categorical": ["country", HOSTILE]}
        spec["features"]["ranges"] = {"amount": [0, 100]}
        spec["segments"] = ["country", "distance_km", ["country", HOSTILE]]

    respecified(home, model, change)
    return model


def test_a_simulated_world_that_moves_to_spark_after_six_nights(session, tmp_path: Path) -> None:
    embedded = Home(tmp_path / "embedded")
    model = odd_world(embedded)
    spec = load_spec(embedded.spec_file(model))
    empty = dt.date(2026, 3, 1)
    all_nights = [*(dt.date(2026, 1, 1) + dt.timedelta(days=i) for i in range(9)), empty]
    steps.ingest(embedded, spec, all_nights[:6])
    derive(embedded, model, all_nights[:6])
    steps.ingest(embedded, spec, all_nights[6:])
    spark = on_spark(embedded)
    for table in PROFILES:
        shutil.rmtree(spark.lake(model) / table)
    derive(embedded, model, all_nights[6:])
    steps.join(spark, spec, all_nights[6:])
    profile_nights(spark, spec, all_nights)

    facts, segments = stored(embedded, model, "label_facts"), stored(embedded, model, "feature_profile")["segment"]
    assert {("correction", -1), ("correction", 1), ("label", 1)} == set(facts.select("kind", "sign").iter_rows())
    assert (facts["arrival_date"] > facts["prediction_arrival_date"]).any()
    assert {f"country={name}" for name in ODD if name.strip()} <= set(segments)
    assert {f"distance_km={text}" for text in ("0.0001", "12345678.5", "0", "(missing)")} <= set(segments)
    for table in ("predictions", "labels", "label_facts"):
        assert pl.read_parquet(embedded.lake_file(model, table, empty)).height == 0

    bad = [Poisoned(all_nights[0], all_nights[3], "distance_km=12345678.5", "x")]
    assert_equal_samples(session, [embedded, spark], model, bad)
    assert_equal_lakes(embedded, spark, model)
    derive(spark, model, all_nights[-2:])  # the newest nights again
    assert_equal_lakes(embedded, spark, model)


def silent_elec2(home: Home) -> Log:
    """Prices that go up are reported, and corrected; silence for a day means that they do not."""
    log = prepare_elec2(home, corrected=40, nights=21)
    file = home.root / "data" / log.model / "labels.parquet"
    labels = pl.read_parquet(file)
    labels.filter((pl.col("value") == 1) | pl.col("id").is_duplicated()).write_parquet(file)
    respecified(home, log.model, lambda spec: spec["labels"].update(mode="positives_only"))
    return log


def referenceless_bike_hour(home: Home) -> Log:
    """The first four weeks are the reference: bins are frozen, and features counted, when they are in."""
    log = prepare_bike_hour(home, nights=29)

    def change(spec: dict) -> None:
        del spec["reference"]
        spec["features"].update(numeric=["hour", "temp", "windspeed"], categorical=["workingday", "weathersit"])

    respecified(home, log.model, change)
    return log


@pytest.mark.parametrize(
    "prepare",
    [silent_elec2, referenceless_bike_hour, lambda home: prepare_shelter_outcomes(home, nights=12)],
    ids=["elec2", "bike_hour", "shelter_outcomes"],
)
def test_real_sets(session, prepare: Callable[[Home], Log], tmp_path: Path) -> None:
    log = prepare(Home(tmp_path / "embedded"))
    spec = load_spec(log.home.spec_file(log.model))
    steps.ingest(log.home, spec, log.nights)
    silent = spec.labels is not None and spec.labels.mode == "positives_only"
    if not silent:
        steps.join(log.home, spec, log.nights)
    spark = on_spark(log.home)
    if silent:  # each engine joins; of the others the facts are those of the embedded one
        steps.join(log.home, spec, log.nights)
        steps.join(spark, spec, log.nights)
    for home in (log.home, spark):
        for part in [log.nights] if spec.reference else [log.nights[:2], log.nights[2:]]:
            profile_nights(home, spec, part)
    assert_equal_lakes(log.home, spark, log.model)
    if log.model == "shelter":
        respecified(spark, log.model, lambda spec: spec["labels"].update(maturity="1d"))
        shutil.copy(spark.spec_file(log.model), log.home.spec_file(log.model))
        assert_equal_samples(session, [log.home, spark], log.model)
