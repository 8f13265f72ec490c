"""The log as it is delivered: late rows, rows sent twice, malformed rows, one file a day in more than one format."""

from __future__ import annotations

import datetime as dt
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import polars as pl

from mlobs_pipelines.simulate import labels
from mlobs_pipelines.simulate.champion import NAME, TRAINING, score
from mlobs_pipelines.simulate.faults import Fault
from mlobs_pipelines.simulate.population import FEATURES
from mlobs_pipelines.simulate.world import CANARY_DAY, SHADOW_DAY, SWITCH_DAY, World
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home

LATE_SHARE = 0.01
TWICE_SHARE = 0.005
UNLOGGED_SHARE = 0.001
"""Payments whose prediction was never logged: their labels wait for ever."""
UNREADABLE_SHARE = 0.0005
"""Rows with an infinite distance: the row is good, the value is not."""
MALFORMED_A_DAY = 0.7
CSV_DAY, JSON_DAY = 20, 21
"""Days whose labels come as csv.gz and as JSON lines, as if another system had sent them."""

LOG = ("prediction_id", "event_time", "logged_at", "model_version", "role", "fraud_score", "decision", "latency_ms")
LOG_COLUMNS = (*LOG, "status_code", "customer_id", "card_number", *FEATURES, "age_group", "sex")


@dataclass(frozen=True)
class WorldFacts:
    """What was planted, counted from what was delivered by the last night.

    ``nights``: one row a night: night, delivered (rows in the predictions file), duplicates, malformed, late,
    failed, labels (rows in the labels file), repeated_labels, corrections, orphans (labels of payments that were
    never logged).
    """

    first_day: dt.date
    last_day: dt.date
    nights: pl.DataFrame
    shadow_from: dt.date | None
    canary_from: dt.date | None
    production_from: dt.date | None
    world: World

    def total(self, column: str) -> int:
        """A count over all nights."""
        return int(self.nights[column].sum())


def write_world(
    home: Home, *, seed: int = 7, days: int = 60, payments_per_day: int = 2500, faults: Sequence[Fault] = ()
) -> WorldFacts:
    """Make a world and deliver it; see :func:`deliver`."""
    return deliver(home, World(seed=seed, days=days, payments_per_day=payments_per_day, faults=tuple(faults)))


def deliver(home: Home, world: World) -> WorldFacts:
    """Write data/predictions, data/labels, data/training.parquet and models/card_fraud.yaml into a home."""
    sent, reported = [], []
    for day in world.calendar:
        payments = world.payments(day)
        reported.append(labels.reports(payments, world.rng(day, 10)))
        sent.append(_sent(world, day, payments))
    predictions = (
        pl.concat(sent).with_columns(night=pl.col("logged_at").dt.date()).sort("logged_at", maintain_order=True)
    )
    predictions = predictions.filter(pl.col("night") <= world.last_day)
    told = pl.concat(reported).with_columns(night=pl.col("reported_at").dt.date())
    told = told.filter(pl.col("night") <= world.last_day).sort("reported_at", "prediction_id", maintain_order=True)

    data = home.root / "data"
    for (night,), rows in predictions.partition_by("night", as_dict=True, maintain_order=True).items():
        _write(rows.select(LOG_COLUMNS), data / "predictions" / f"{night}.parquet")
    others = {CSV_DAY: ".csv.gz", JSON_DAY: ".jsonl"}
    for (night,), rows in told.partition_by("night", as_dict=True, maintain_order=True).items():
        suffix = others.get((night - world.first_day).days, ".parquet")
        _write(rows.drop("night"), data / "labels" / f"{night}{suffix}")
    _write_training(world, home.root / TRAINING)
    text = resources.files("mlobs_pipelines.simulate").joinpath(f"{NAME}.yaml").read_text(encoding="utf-8")
    home.models.mkdir(parents=True, exist_ok=True)
    home.spec_file(NAME).write_text(text, encoding="utf-8")

    def nth(day: int) -> dt.date | None:
        return world.calendar[day] if day < world.days else None

    return WorldFacts(
        first_day=world.first_day,
        last_day=world.last_day,
        nights=_count(world, predictions, told),
        shadow_from=nth(SHADOW_DAY),
        canary_from=nth(CANARY_DAY),
        production_from=nth(SWITCH_DAY),
        world=world,
    )


def _sent(world: World, day: dt.date, payments: pl.DataFrame) -> pl.DataFrame:
    """The rows of a day on their way to the log; ``planted`` says what is wrong with one: late, malformed or nothing."""
    rng = world.rng(day, 11)
    rows = world.served(day, payments.filter(pl.Series(rng.random(len(payments)) >= UNLOGGED_SHARE)))
    count = len(rows)
    late = rng.random(count) < LATE_SHARE
    seconds = np.where(late, rng.integers(1, 6, count) * 86_400, 0) + rng.integers(1, 20, count)
    unreadable = pl.Series(rng.random(count) < UNREADABLE_SHARE)
    rows = rows.with_columns(
        (pl.col("event_time") + pl.duration(seconds=pl.lit(pl.Series(seconds))))
        .cast(pl.Datetime("us"))
        .alias("logged_at"),
        pl.when(unreadable).then(np.inf).otherwise("distance_km").alias("distance_km"),
        pl.Series("planted", np.where(late, "late", "")),
    )
    once = rows.filter(pl.Series(rng.random(count) < TWICE_SHARE))
    next_day = pl.Series(rng.integers(0, 2, len(once)) * 86_400)
    again = once.with_columns(
        (pl.col("logged_at") + pl.duration(seconds=pl.lit(next_day))).cast(pl.Datetime("us")).alias("logged_at")
    )
    rows = pl.concat([rows, again])
    for fault in world.faults:
        if fault.active(day):
            rows = fault.on_delivery(rows, world.rng(day, 12))
    return pl.concat([rows, _malformed(rows.filter(pl.col("planted") == ""), rng)]).select(*LOG_COLUMNS, "planted")


def _malformed(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """A few rows that cannot be accepted: no id, no time, no score, or a score that is no probability."""
    picked = rows.sample(min(int(rng.poisson(MALFORMED_A_DAY)), len(rows)), seed=int(rng.integers(2**31)))
    kind = pl.Series(rng.integers(0, 4, len(picked)))
    return picked.with_columns(
        pl.when(kind == 0).then(None).otherwise(pl.format("x{}", "prediction_id")).alias("prediction_id"),
        pl.when(kind == 1).then(None).otherwise("event_time").alias("event_time"),
        pl.when(kind == 2)
        .then(None)
        .when(kind == 3)
        .then(1.7)
        .otherwise(pl.col("fraud_score").fill_null(0.5))
        .alias("fraud_score"),
        pl.lit(200, pl.Int16).alias("status_code"),
        pl.lit("malformed").alias("planted"),
    )


def _write_training(world: World, path: Path) -> None:
    sample = world.training_sample
    probability = pl.Series("fraud_score", score(world.champions.v1, sample))
    columns = ["prediction_id", "event_time", "fraud_score", *FEATURES, "age_group", "sex", "is_fraud"]
    _write(sample.with_columns(probability).select(columns), path)


def _write(frame: pl.DataFrame, path: Path) -> None:
    with published(path) as draft:
        if path.suffix == ".parquet":
            frame.write_parquet(draft, compression="zstd")
        elif path.suffix == ".jsonl":
            frame.with_columns(pl.selectors.datetime().dt.to_string("%Y-%m-%dT%H:%M:%SZ")).write_ndjson(draft)
        else:
            text = io.BytesIO()
            frame.write_csv(text)
            draft.write_bytes(gzip.compress(text.getvalue(), mtime=0))


def _count(world: World, predictions: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    good = pl.col("planted") != "malformed"
    first = pl.struct("prediction_id", "model_version", "role").is_first_distinct()
    kept = predictions.with_columns(good=good).with_columns(first=pl.when("good").then(first.over("good")))
    by_night = kept.group_by("night").agg(
        pl.len().alias("delivered"),
        (pl.col("good") & ~pl.col("first")).sum().alias("duplicates"),
        (~pl.col("good")).sum().alias("malformed"),
        (pl.col("first") & (pl.col("planted") == "late")).sum().alias("late"),
        (pl.col("first") & (pl.col("status_code") >= 400)).sum().alias("failed"),
    )
    logged = predictions.filter(good).select("prediction_id").unique()
    said = told.with_columns(repeated=~pl.struct("prediction_id", "reported_at").is_first_distinct())
    said = said.with_columns(
        correction=~pl.col("repeated") & (pl.col("reported_at") > pl.col("reported_at").min().over("prediction_id"))
    ).join(logged.with_columns(known=True), on="prediction_id", how="left")
    labels_by_night = said.group_by("night").agg(
        pl.len().alias("labels"),
        pl.col("repeated").sum().alias("repeated_labels"),
        pl.col("correction").sum().alias("corrections"),
        (pl.col("known").is_null() & ~pl.col("repeated")).sum().alias("orphans"),
    )
    calendar = pl.DataFrame({"night": world.calendar})
    counted = calendar.join(by_night, on="night", how="left").join(labels_by_night, on="night", how="left")
    return counted.with_columns(pl.exclude("night").fill_null(0).cast(pl.Int64)).sort("night")
