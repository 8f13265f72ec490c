"""A home with one small model, and its log of some days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

FIRST = dt.date(2026, 1, 1)

SPEC = """\
model: card_fraud
task: binary
owner: payments-ml@example.com
predictions:
  source: data/predictions/*.parquet
  id: prediction_id
  time: event_time
  score: fraud_score
labels:
  source: data/labels/*.parquet
  id: prediction_id
  value: is_fraud
  available_at: reported_at
segments: [country]
"""


def write_day(home: Home, day: dt.date, rows: int = 60, bad: int = 0) -> None:
    """Log ``rows`` predictions of a day, ``bad`` of them with an impossible score, and their labels of the next day."""
    noon = dt.datetime.combine(day, dt.time(12))
    numbers = range(rows)
    scores = [(i * 37 % 100) / 100 for i in numbers]
    ids = [f"{day}-{i}" for i in numbers]
    predictions = pl.DataFrame(
        {
            "prediction_id": ids,
            "event_time": [noon + dt.timedelta(minutes=i) for i in numbers],
            "fraud_score": [9.9 if i < bad else s for i, s in enumerate(scores)],
            "amount": [10.0 + i % 17 for i in numbers],
            "country": ["DE" if i % 3 else "FR" for i in numbers],
        }
    )
    labels = pl.DataFrame(
        {
            "prediction_id": ids,
            "is_fraud": [int((i * 53 % 100) / 100 < s) for i, s in enumerate(scores)],
            "reported_at": [noon + dt.timedelta(days=1, minutes=i) for i in numbers],
        }
    )
    for table, frame in (("predictions", predictions), ("labels", labels)):
        path = home.root / "data" / table / f"{day}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)


@pytest.fixture
def empty_home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.models.mkdir(parents=True)
    return home


@pytest.fixture
def home(empty_home: Home) -> Home:
    """A home with the model's file and a log of three days."""
    empty_home.spec_file("card_fraud").write_text(SPEC, encoding="utf-8")
    for i in range(3):
        write_day(empty_home, FIRST + dt.timedelta(days=i))
    return empty_home


@pytest.fixture
def log_day() -> Callable[..., None]:
    return write_day


@pytest.fixture
def spec() -> ModelSpec:
    import yaml

    return ModelSpec.model_validate(yaml.safe_load(SPEC))


@pytest.fixture
def spec_text() -> str:
    return SPEC
