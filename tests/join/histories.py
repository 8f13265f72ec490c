"""Random histories of predictions and labels, the lake they make, and the facts they must give, by brute force."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

FIRST = dt.date(2026, 3, 25)
PREDICTIONS = {
    "prediction_id": pl.String,
    "version": pl.String,
    "role": pl.String,
    "event_date": pl.Date,
    "arrival_date": pl.Date,
    "failed": pl.Boolean,
}
KEY = ["prediction_id", "version", "role"]
FACTS = [*KEY, "event_date", "prediction_arrival_date", "arrival_date", "sign", "label", "available_at", "kind"]


def night(i: int) -> dt.date:
    return FIRST + dt.timedelta(days=i)


def spec_of(task: str = "binary", mode: str = "explicit", maturity: int = 3, model: str = "m") -> ModelSpec:
    output = {"binary": {"score": "s"}, "regression": {"prediction": "p"}}[task]
    return ModelSpec.model_validate(
        {
            "model": model,
            "task": task,
            "predictions": {"source": "a", "id": "i", "time": "t", **output},
            "labels": {
                "source": "b",
                "id": "i",
                "value": "y",
                "available_at": "r",
                "mode": mode,
                "maturity": f"{maturity}d",
            },
        }
    )


@dataclass
class History:
    """What arrived: rows of the lake's predictions and labels."""

    predictions: pl.DataFrame
    labels: pl.DataFrame

    def write(self, home: Home, spec: ModelSpec, nights: list[dt.date]) -> None:
        """Write these nights into the lake as ingest would: a file of each table a night."""
        for table, frame in (("predictions", self.predictions), ("labels", self.labels)):
            for n in nights:
                path = home.lake_file(spec.model, table, n)
                path.parent.mkdir(parents=True, exist_ok=True)
                frame.filter(pl.col("arrival_date") == n).write_parquet(path)


def prediction(
    id_: str, event: int, arrival: int, version: str = "1", role: str = "production", failed: bool = False
) -> Any:
    return (id_, version, role, night(event), night(arrival), failed)


def label(id_: str, value: Any, arrival: int, hour: int = 12) -> Any:
    return (id_, value, dt.datetime.combine(night(arrival), dt.time(hour)), night(arrival))


def history(predictions: list[Any], labels: list[Any], kind: Any = pl.String) -> History:
    schema = {"prediction_id": pl.String, "label": kind, "available_at": pl.Datetime("us"), "arrival_date": pl.Date}
    return History(
        pl.DataFrame(predictions, schema=PREDICTIONS, orient="row"), pl.DataFrame(labels, schema=schema, orient="row")
    )


def random_history(seed: int, nights: int, ids: int, values: list[Any], kind: Any = pl.String) -> History:
    """Late and failed predictions, ids shared by versions and roles, labels early, late, repeated and corrected."""
    rng = np.random.default_rng(seed)
    predictions, labels = [], []
    for k in range(ids):
        id_ = f"{seed}'{k}"
        for version, role in [("1", "production"), ("2", "production"), ("2", "shadow")][: rng.choice([1, 1, 2, 3])]:
            if rng.random() < 0.05:
                continue
            arrival = int(rng.integers(nights))
            event = arrival - int(rng.choice([0, 0, 0, 1, 6]))
            predictions.append(prediction(id_, event, arrival, version, role, bool(rng.random() < 0.1)))
        for _ in range(rng.choice([0, 0, 1, 1, 2, 3, 5])):
            value = values[rng.integers(len(values))]
            labels.append(label(id_, value, int(rng.integers(nights)), int(rng.integers(24))))
    made = history(predictions, labels, kind)
    return History(
        made.predictions, made.labels.unique(["prediction_id", "available_at"], keep="first", maintain_order=True)
    )


def expected(made: History, spec: ModelSpec, nights: list[dt.date]) -> pl.DataFrame:
    """The facts by the definition: ask on every night what is believed, and write down what changed."""
    labels: dict[str, list[Any]] = {}
    for row in made.labels.iter_rows(named=True):
        labels.setdefault(row["prediction_id"], []).append(row)
    positives_only = spec.labels is not None and spec.labels.mode == "positives_only"
    facts = []
    for p in made.predictions.iter_rows(named=True):
        if p["failed"]:
            continue
        silent_on = max(p["event_date"] + dt.timedelta(days=spec.maturity_days), p["arrival_date"])
        believed: tuple[Any, Any] | None = None
        for n in nights:
            if n < p["arrival_date"]:
                continue
            known = [x for x in labels.get(p["prediction_id"], []) if x["arrival_date"] <= n]
            now, kind = believed, "label"
            if known:
                last = max(known, key=lambda x: (x["arrival_date"], x["available_at"]))
                if believed is None or believed[0] != last["label"]:
                    now = (last["label"], last["available_at"])
            elif positives_only and n == silent_on:
                now, kind = ("0", None), "silence"
            if now == believed:
                continue
            kind = kind if believed is None else "correction"
            about = (*(p[c] for c in KEY), p["event_date"], p["arrival_date"], n)
            if believed is not None:
                facts.append((*about, -1, *believed, kind))
            assert now is not None
            facts.append((*about, 1, *now, kind))
            believed = now
    schema = {
        **dict.fromkeys(KEY, pl.String),
        "event_date": pl.Date,
        "prediction_arrival_date": pl.Date,
        "arrival_date": pl.Date,
        "sign": pl.Int8,
        "label": made.labels.schema["label"],
        "available_at": pl.Datetime("us"),
        "kind": pl.String,
    }
    return in_order(pl.DataFrame(facts, schema=schema, orient="row"))


def in_order(facts: pl.DataFrame) -> pl.DataFrame:
    return facts.select(FACTS).sort(*KEY, "arrival_date", "sign")


def stored(home: Home, spec: ModelSpec) -> pl.DataFrame:
    """All label facts of the lake."""
    return in_order(pl.read_parquet(home.lake(spec.model) / "label_facts" / "*.parquet"))


def files(folder: Path) -> dict[str, list[Any]]:
    """Every file's rows; in which order they stand in it says nothing."""
    return {path.name: in_order(pl.read_parquet(path)).rows() for path in sorted(folder.glob("*.parquet"))}
