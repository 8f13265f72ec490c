"""A home with a lake of some weeks, written straight to its files, and versions in a registry of its own."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import yaml
from sklearn.linear_model import LogisticRegression

from mlobs_pipelines.ingest.schema import Schema, write_schema
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.tables import INCIDENTS, METRICS
from tests.registry.mlflow_store import give_store, register

FIRST = dt.date(2026, 1, 1)
DAYS = 40
A_DAY = 120
LAST = FIRST + dt.timedelta(days=DAYS - 1)
MATURITY = 5

SPEC: dict[str, Any] = {
    "model": "m",
    "task": "binary",
    "predictions": {"source": "data/p", "id": "id", "time": "t", "score": "s"},
    "labels": {"source": "data/l", "id": "id", "value": "is_bad", "available_at": "at", "maturity": f"{MATURITY}d"},
    "features": {"numeric": ["a", "b"], "categorical": ["country"]},
    "segments": ["country"],
    "threshold": 0.5,
    "policy": {
        "retrain": {"entrypoint": "tests.act.trainers:good", "mode": "approve", "cooldown": "7d"},
        "promote": {"mode": "approve", "metric": "roc_auc"},
    },
}


def day(number: int) -> dt.date:
    """The day of this number; the first is 0."""
    return FIRST + dt.timedelta(days=number)


def spec_of(home: Home, **policy: Mapping[str, Any]) -> ModelSpec:
    """Write the model's file, with parts of its policy replaced."""
    merged = {part: {**SPEC["policy"][part], **policy.get(part, {})} for part in SPEC["policy"]}
    home.models.mkdir(parents=True, exist_ok=True)
    home.spec_file("m").write_text(yaml.safe_dump({**SPEC, "policy": merged}), encoding="utf-8")
    return load_spec(home.spec_file("m"))


def rows_of(number: int, seed: int = 0) -> pl.DataFrame:
    """A day's rows with the truth: bad is what has a large a."""
    rng = np.random.default_rng([seed, number])
    a, b = rng.normal(size=(2, A_DAY))
    return pl.DataFrame(
        {
            "prediction_id": [f"{day(number)}-{i}" for i in range(A_DAY)],
            "event_date": day(number),
            "f_a": a,
            "f_b": b,
            "f_country": rng.choice(["DE", "NL"], A_DAY),
            "label": np.where(rng.random(A_DAY) < 1 / (1 + np.exp(-3 * a)), "1", "0"),
        },
        schema_overrides={"event_date": pl.Date},
    )


def write_lake(home: Home, days: int = DAYS) -> None:
    """Predictions of some days, each labelled on the day after it."""
    kinds = {"a": "numeric", "b": "numeric", "country": "categorical"}
    write_schema(home, "m", Schema(kinds, kinds, FIRST))
    for number in range(days):
        rows = rows_of(number)
        keys = {"version": pl.lit("1"), "role": pl.lit("production"), "arrival_date": pl.lit(day(number))}
        predictions = rows.drop("label").with_columns(**keys, failed=pl.lit(False), score=pl.lit(0.5))
        _write(home, "predictions", number, predictions)
        labels = rows_of(max(number - 1, 0)).select("prediction_id", "event_date", "label")
        facts = labels.with_columns(**keys, sign=pl.lit(1, pl.Int8), kind=pl.lit("label"))
        _write(home, "label_facts", number, facts if number else facts.head(0))
    finish_night(home, day(days - 1))


def _write(home: Home, table: str, number: int, frame: pl.DataFrame) -> None:
    path = home.lake_file("m", table, day(number))
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)


def finish_night(home: Home, night: dt.date) -> None:
    """Let a night count as measured."""
    path = home.store_file("metrics", "m", night)
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(schema=METRICS).write_parquet(path)


def incident(name: str, action: str = "retrain", **more: Any) -> dict[str, Any]:
    """An open critical incident of concept drift, with whatever else is said of it."""
    kinds = {"fix_data": "data_fault", "retrain": "concept_drift", "hold": "input_drift"}
    base = {
        "incident_id": name,
        "model": "m",
        "opened_as_of": day(20),
        "last_as_of": day(20),
        "state": "open",
        "severity": "critical",
        "kind": kinds.get(action, "performance"),
        "subject": "",
        "segment": "",
        "title": f"Title of {name}",
        "recommended_action": action,
        "evidence": json.dumps({"advice": "do it"}),
        "since": day(18),
        "until": day(20),
        "metric": "roc_auc",
        "value": 0.7,
        "nights": 1,
    }
    return {**base, **more}


def write_incidents(home: Home, number: int, incidents: Sequence[Mapping[str, Any]]) -> dt.date:
    """Store what a night knows of incidents; gives the night."""
    night = day(number)
    rows = [{"as_of": night, **i} for i in incidents]
    path = home.store_file("incidents", "m", night)
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema=INCIDENTS).write_parquet(path)
    return night


def model_on(column: str) -> LogisticRegression:
    """A model that looks at one column alone: a tells, b does not."""
    rows = pl.concat([rows_of(n, seed=9) for n in range(10)])
    inputs = pd.DataFrame({"a": rows["f_a"].to_numpy(), "b": rows["f_b"].to_numpy()})
    weights = LogisticRegression().fit(inputs, rows["label"].cast(pl.Int64).to_numpy())
    place = ["a", "b"].index(column)
    weights.coef_ = np.where(np.arange(2) == place, 2.0, 0.0).reshape(1, 2)
    return weights


EXAMPLE = pd.DataFrame({"a": [0.0], "b": [1.0]})


def give_version(home: Home, column: str = "a", uri: str | None = None, **tags: str) -> str:
    """Register a model by hand; gives its version."""
    artifacts = None if uri else home.root / "mlartifacts"
    named = {key.replace("__", "."): value for key, value in tags.items()}
    return register(uri or _own(home), "m", model_on(column), EXAMPLE, artifacts=artifacts, tags=named)


def _own(home: Home) -> str:
    if not (home.root / "mlflow.db").exists():
        give_store(home)
    return f"sqlite:///{home.root / 'mlflow.db'}"
