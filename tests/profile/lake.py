"""A lake made by hand: accepted rows and label facts, as ingest and the join would leave them."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

FIRST = dt.date(2026, 1, 1)
HOSTILE = 'dev"ice; drop table'


def night(i: int) -> dt.date:
    return FIRST + dt.timedelta(days=i)


def spec_of(task: str, **more: Any) -> ModelSpec:
    outputs: dict[str, dict[str, Any]] = {
        "binary": {"score": "s"},
        "multiclass": {"scores": {"cat": "a", "dog's": "b", "emu": "c"}},
        "regression": {"prediction": "p"},
    }
    return ModelSpec.model_validate(
        {
            "model": "m",
            "task": task,
            "predictions": {"source": "a", "id": "i", "time": "t", **outputs[task]},
            "labels": {"source": "b", "id": "i", "value": "y", "available_at": "r"},
            "segments": ["country", ["country", HOSTILE]],
            "features": {"numeric": ["amount"], "categorical": ["country", HOSTILE], "ranges": {"amount": [1, 100]}},
            **more,
        }
    )


def rows_of(task: str, i: int, count: int = 400, seed: int = 0) -> pl.DataFrame:
    """Accepted predictions of night i, a few about the day before."""
    rng = np.random.default_rng([seed, i])
    day = night(i)
    late = rng.random(count) < 0.05
    amount = np.round(rng.lognormal(3, 1, count), 1)
    frame = pl.DataFrame(
        {
            "prediction_id": [f"{i}-{k}" for k in range(count)],
            "version": np.where(rng.random(count) < 0.3, "2", "1"),
            "role": "production",
            "event_time": [dt.datetime.combine(day, dt.time(12))] * count,
            "event_date": [day - dt.timedelta(days=int(x)) for x in late],
            "arrived_at": [dt.datetime.combine(day, dt.time(12))] * count,
            "arrival_date": [day] * count,
            "latency_ms": rng.lognormal(3, 1, count),
            "status": "200",
            "failed": rng.random(count) < 0.02,
            "subject": pl.Series([None] * count, dtype=pl.String),
            "f_amount": pl.Series(
                [None if x < 0.03 else float(a) for x, a in zip(rng.random(count), amount, strict=True)]
            ),
            "f_country": pl.Series(
                [
                    None if x < 0.02 else c
                    for x, c in zip(rng.random(count), rng.choice(["DE", "FR", "IT"], count), strict=True)
                ]
            ),
            f"f_{HOSTILE}": rng.choice(["ios", "web", "O'Brien"], count),
        }
    )
    missing = frame["f_amount"].is_null().to_numpy() & (rng.random(count) < 0.5)
    invalid = pl.Series(
        "invalid_fields", [json.dumps({"amount": "twelve"}) if m else None for m in missing], dtype=pl.String
    )
    outputs: dict[str, Any]
    if task == "binary":
        outputs = {"score": rng.beta(1, 6, count), "prediction": pl.Series([None] * count, dtype=pl.String)}
    elif task == "multiclass":
        shares = rng.dirichlet([2, 1, 1], count)
        outputs = {f"score_{k}": shares[:, k] for k in range(3)}
        outputs["prediction"] = np.array(["cat", "dog's", "emu"])[shares.argmax(axis=1)]
    else:
        outputs = {"prediction": rng.normal(200, 30, count)}
    return frame.with_columns(invalid, **{k: pl.Series(k, v) for k, v in outputs.items()})


def facts_of(task: str, rows: pl.DataFrame, i: int, seed: int = 0) -> pl.DataFrame:
    """On night i, labels of half of the given rows, and corrections of some of them."""
    rng = np.random.default_rng([seed, i, 7])
    known = rows.filter(~pl.col("failed"))
    known = known.filter(pl.Series(rng.random(known.height) < 0.5))
    n = known.height
    labels: Any
    if task == "binary":
        labels = (rng.random(n) < known["score"].to_numpy()).astype(int).astype(str)
    elif task == "multiclass":
        labels = rng.choice(["cat", "dog's", "emu", "yak"], n)
    else:
        labels = known["prediction"].to_numpy() + rng.normal(0, 10, n)
    facts = known.select(
        "prediction_id",
        "version",
        "role",
        "event_date",
        pl.col("arrival_date").alias("prediction_arrival_date"),
        pl.lit(night(i)).alias("arrival_date"),
        pl.lit(1, dtype=pl.Int8).alias("sign"),
        pl.Series("label", labels),
        pl.col("event_time").alias("available_at"),
        pl.lit("label").alias("kind"),
    )
    withdrawn = facts.head(5).with_columns(pl.lit(-1, dtype=pl.Int8).alias("sign"), pl.lit("correction").alias("kind"))
    return pl.concat([facts, withdrawn])


def write_lake(root: Path, task: str, nights: int, **more: Any) -> tuple[Home, ModelSpec, pl.DataFrame, pl.DataFrame]:
    """A lake of so many nights; gives the home, the spec, and all its rows and facts."""
    home, spec = Home(root), spec_of(task, **more)
    kinds = {"amount": "numeric", "country": "categorical", HOSTILE: "categorical"}
    schema = {"features": kinds, "fields": kinds, "decided_on": FIRST.isoformat()}
    home.schema_file("m").parent.mkdir(parents=True)
    home.schema_file("m").write_text(json.dumps(schema))
    all_rows, all_facts = [], []
    before = None
    for i in range(nights):
        rows = rows_of(task, i)
        facts = facts_of(task, rows if before is None else pl.concat([before, rows]), i)
        admitted = [("country", "DE"), ("country", "FR"), (HOSTILE, "ios"), (HOSTILE, "web"), (HOSTILE, "O'Brien")]
        values = pl.DataFrame(
            {"field": [f for f, _ in admitted], "value": [v for _, v in admitted], "arrival_date": [night(i)] * 5}
        )
        for table, frame in (
            ("predictions", rows),
            ("label_facts", facts),
            ("segment_values", values.head(5 if i == 0 else 0)),
        ):
            path = home.lake_file("m", table, night(i))
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(path)
        all_rows.append(rows)
        all_facts.append(facts)
        before = rows
    return home, spec, pl.concat(all_rows), pl.concat(all_facts)
