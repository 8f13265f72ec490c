"""The simulated world is what its facts say, and the same every time."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from mlobs_pipelines.simulate.champion import score
from mlobs_pipelines.simulate.delivery import LOG_COLUMNS, WorldFacts, write_world
from mlobs_pipelines.simulate.labels import reports
from mlobs_pipelines.simulate.population import NUMERIC
from mlobs_pipelines.simulate.world import World
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home

DAYS, PAYMENTS = 40, 150


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def facts(home: Home) -> WorldFacts:
    return write_world(home, days=DAYS, payments_per_day=PAYMENTS)


def predictions(home: Home) -> pl.DataFrame:
    return pl.read_parquet(home.root / "data/predictions/*.parquet", include_file_paths="file")


def labels(home: Home) -> pl.DataFrame:
    folder = home.root / "data/labels"
    parts = [pl.read_parquet(folder / "*.parquet")]
    for path in folder.glob("*.csv.gz"):
        frame = pl.read_csv(path, schema_overrides={"is_fraud": pl.Int8})
        parts.append(frame.with_columns(pl.col("reported_at").str.to_datetime(time_unit="us")))
    for path in folder.glob("*.jsonl"):
        read = pl.col("reported_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
        parts.append(pl.read_ndjson(path).with_columns(read, pl.col("is_fraud").cast(pl.Int8)))
    return pl.concat(parts)


def test_there_is_one_file_of_predictions_a_day_with_every_column(home: Home, facts: WorldFacts) -> None:
    files = sorted((home.root / "data/predictions").iterdir())
    assert [dt.date.fromisoformat(f.stem) for f in files] == facts.world.calendar
    assert tuple(pl.read_parquet(files[0]).columns) == LOG_COLUMNS


def test_labels_come_as_parquet_csv_and_json_lines(home: Home, facts: WorldFacts) -> None:
    suffixes = {"".join(f.suffixes) for f in (home.root / "data/labels").iterdir()}
    assert suffixes == {".parquet", ".csv.gz", ".jsonl"}
    assert labels(home)["is_fraud"].null_count() == 0


def test_a_file_holds_what_was_logged_that_day(home: Home, facts: WorldFacts) -> None:
    rows = predictions(home)
    day = pl.col("file").str.extract(r"(\d{4}-\d\d-\d\d)\.parquet$")
    assert rows.filter(day != pl.col("logged_at").dt.date().cast(pl.String)).is_empty()


def test_the_facts_count_what_was_delivered(home: Home, facts: WorldFacts) -> None:
    rows = predictions(home)
    bad = (
        pl.col("prediction_id").is_null()
        | pl.col("event_time").is_null()
        | pl.col("prediction_id").str.starts_with("x")
        | (pl.col("fraud_score").is_null() & (pl.col("status_code") < 400))
    )
    good = rows.filter(~bad)
    key = ["prediction_id", "model_version", "role"]
    once = good.unique(key)
    assert facts.total("delivered") == len(rows)
    assert facts.total("malformed") == len(rows) - len(good) > 10
    assert facts.total("duplicates") == len(good) - len(once) > 20
    late = (pl.col("logged_at").min().over(key) - pl.col("event_time")) > pl.duration(days=1)
    assert facts.total("late") == len(good.filter(late).unique(key)) > 40
    assert facts.total("failed") == len(once.filter(pl.col("status_code") >= 400)) > 0
    told = labels(home)
    reported = told.unique(["prediction_id", "reported_at"])
    assert facts.total("labels") == len(told)
    assert facts.total("repeated_labels") == len(told) - len(reported) > 0
    assert facts.total("corrections") == len(reported) - reported["prediction_id"].n_unique() > 10
    unknown = reported.join(good, on="prediction_id", how="anti")
    assert facts.total("orphans") == len(unknown) > 0


def test_a_row_sent_again_is_the_same_but_for_when(home: Home, facts: WorldFacts) -> None:
    rows = predictions(home).drop("file").filter(~pl.col("prediction_id").str.starts_with("x"))
    repeated = rows.filter(pl.struct("prediction_id", "model_version", "role").is_duplicated())
    content = [c for c in LOG_COLUMNS if c != "logged_at"]
    assert len(repeated.unique(content)) * 2 == len(repeated)


def test_versions_follow_one_another_through_shadow_and_canary(home: Home, facts: WorldFacts) -> None:
    rows = predictions(home).filter(pl.col("event_time").is_not_null())
    day = pl.col("event_time").dt.date()

    def seen(start: dt.date | None, end: dt.date | None) -> set[tuple[str, str]]:
        return set(rows.filter((day >= start) & (day < end)).select("model_version", "role").unique().rows())

    day_after = facts.last_day + dt.timedelta(days=1)
    assert seen(facts.first_day, facts.shadow_from) == {("1", "production")}
    assert seen(facts.shadow_from, facts.canary_from) == {("1", "production"), ("2", "shadow")}
    assert seen(facts.canary_from, facts.production_from) == {("1", "production"), ("2", "canary")}
    assert seen(facts.production_from, day_after) == {("2", "production")}


def test_the_same_seed_gives_the_same_bytes(home: Home, facts: WorldFacts, tmp_path: Path) -> None:
    write_world(Home(tmp_path), days=DAYS, payments_per_day=PAYMENTS)
    again = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert again == {p.relative_to(home.root): p.read_bytes() for p in home.root.rglob("*") if p.is_file()}


def test_a_day_does_not_depend_on_how_many_follow() -> None:
    day = dt.date(2026, 1, 4)
    short, long = World(days=5, payments_per_day=50), World(days=50, payments_per_day=50)
    assert short.payments(day).equals(long.payments(day))
    assert not short.payments(day).equals(World(seed=8, days=5, payments_per_day=50).payments(day))


def test_frauds_are_reported_earlier_than_genuine_payments_are_confirmed() -> None:
    world = World(days=20, payments_per_day=2000)
    payments = pl.concat([world.payments(d) for d in world.calendar])
    told = reports(payments, world.rng(world.first_day, 10)).unique(["prediction_id", "reported_at"])
    first = told.sort("reported_at").unique("prediction_id", keep="first", maintain_order=True)
    days = first.join(payments.select("prediction_id", "event_time"), on="prediction_id").with_columns(
        delay=(pl.col("reported_at") - pl.col("event_time")).dt.total_seconds() / 86_400
    )
    median = dict(days.group_by("is_fraud").agg(pl.col("delay").median()).rows())
    assert median[1] < 4 < median[0]
    assert 4.5 < days["delay"].median() < 5.5
    assert days["delay"].min() > 0 and days["delay"].max() <= 14
    last = told.sort("reported_at").unique("prediction_id", keep="last", maintain_order=True)
    truth = last.join(payments, on="prediction_id", suffix="_true")
    assert (truth["is_fraud"] == truth["is_fraud_true"]).all()
    assert 0.005 < (len(told) - len(first)) / len(first) < 0.02
    corrected = last.join(first, on="prediction_id", suffix="_first").filter(
        pl.col("reported_at") > pl.col("reported_at_first")
    )
    known_after = corrected.join(payments.select("prediction_id", "event_time"), on="prediction_id").select(
        (pl.col("reported_at") - pl.col("event_time")) > pl.duration(days=14)
    )
    assert 0 < known_after.to_series().mean() < 0.2, "corrections come within the maturity, mostly"


def test_the_models_know_the_world_and_the_second_knows_it_better() -> None:
    from sklearn.metrics import roc_auc_score

    world = World(days=30, payments_per_day=2500)
    day = world.first_day + dt.timedelta(days=28)
    frames = [world.served(d, world.payments(d)) for d in (day, day + dt.timedelta(days=1))]
    rows = pl.concat(frames).filter(pl.col("fraud_score").is_not_null())
    auc = {k[0]: roc_auc_score(g["is_fraud"], g["fraud_score"]) for k, g in rows.group_by("model_version")}
    assert 0.8 < auc["1"] < auc["2"] < 0.95
    assert score(world.champions.v2, world.training_sample).mean() == pytest.approx(
        world.training_sample["is_fraud"].mean(), rel=0.05
    )


def test_the_spec_is_valid_and_names_columns_that_are_there(home: Home, facts: WorldFacts) -> None:
    spec = load_spec(home.spec_file("card_fraud"))
    p = spec.predictions
    named = {p.id, p.time, p.arrived_at, p.score, p.prediction, p.version, p.role, p.latency_ms, p.status, p.subject}
    named |= {*p.drop, *p.hash, *(spec.features.numeric or []), *(spec.features.categorical or [])}
    assert named == set(LOG_COLUMNS) - {"age_group", "sex"}
    assert set(spec.fairness.attributes) == {"age_group", "sex"}
    training = set(pl.read_parquet_schema(home.root / "data/training.parquet"))
    assert {spec.labels.value, p.score, *NUMERIC, *spec.fairness.attributes} <= training  # type: ignore[union-attr]
