"""What measuring reads of the lake is the same whether nights are asked for one after the other or alone."""

from __future__ import annotations

import datetime as dt
import random

import polars as pl
import pytest

from mlobs_pipelines.orchestration import profiles
from mlobs_pipelines.orchestration.profiles import Inputs, ProfileReader
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from tests.orchestration.conftest import FIRST

KEYS = ["event_date", "version", "role", "segment", "output", "bin"]
NIGHTS = [FIRST + dt.timedelta(days=i) for i in range(40)]


@pytest.fixture
def model(home: Home, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """Labels come up to five days late, one of them after three weeks; a file is read at a time, and added up at once."""
    monkeypatch.setattr(profiles, "READ_TOGETHER", 1)
    monkeypatch.setattr("mlobs_pipelines.measure.known.LEAST", 0)
    chance = random.Random(3)
    for place, night in enumerate(NIGHTS):
        late = [21] if place == 33 else []
        rows = [
            {
                "arrival_date": night,
                "event_date": night - dt.timedelta(days=days),
                "version": version,
                "role": "production",
                "segment": segment,
                "output": "score",
                "bin": number,
                "rows": int(days == 0),
                "labeled": chance.choice([-1, 1, 1, 2]),
            }
            for days in [*range(min(place, 5) + 1), *late]
            for version in ("1", "2")
            for segment in ("", "country=DE")
            for number in sorted(chance.sample(range(9), 3))
        ]
        outputs = pl.DataFrame(rows, schema_overrides={"bin": pl.Int32})
        if place < 2:  # before the first accepted row nobody knew which sums there are
            outputs = outputs.clear().drop("labeled")
        predicted = outputs.filter(pl.col("event_date") == night).drop("output", "bin")
        for table, frame in (
            ("output_profile", outputs),
            ("traffic_profile", predicted.with_columns(failed=0, latency_bin=0)),
            ("quality_profile", predicted.with_columns(feature=pl.lit("amount"), missing=0)),
            ("feature_profile", predicted.with_columns(feature=pl.lit("amount"), bin=0, value=1, value_sq=1)),
            ("intake", predicted.select("arrival_date", "event_date").unique()),
        ):
            file = home.lake_file("card_fraud", table, night)
            file.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(file)
    return ModelSpec.model_validate(
        {
            "model": "card_fraud",
            "task": "binary",
            "predictions": {"source": "p.parquet", "id": "id", "time": "t", "score": "s"},
            "labels": {"source": "l.parquet", "id": "id", "value": "y", "available_at": "at", "maturity": "5d"},
            "monitors": {"windows": ["1d", "7d"]},
        }
    )


def as_known(inputs: Inputs, first: dt.date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the outputs say before a night, together, and on each night after; and the same over all bins, night by night."""
    outputs = inputs.profiles.outputs.with_columns(
        arrival_date=pl.max_horizontal("arrival_date", pl.lit(first - dt.timedelta(days=1)))
    )
    nightly = inputs.profiles.nightly
    assert nightly is not None
    over_bins = ["arrival_date", *KEYS[:-1]]
    return (
        outputs.group_by("arrival_date", *KEYS).agg(pl.col("rows", "labeled").sum()).sort("arrival_date", *KEYS),
        nightly.group_by(over_bins).agg(pl.col("rows", "labeled").sum()).sort(over_bins),
    )


@pytest.mark.parametrize(
    "chunks",
    [
        [NIGHTS[start : start + 7] for start in range(0, 40, 7)],
        [NIGHTS[20:21], NIGHTS[21:22], NIGHTS[22:23]],
        [NIGHTS[20:24], NIGHTS[30:34], NIGHTS[34:36]],
        [NIGHTS[20:24], NIGHTS[10:12], NIGHTS[24:26]],
    ],
    ids=["a long run", "night by night", "others between them", "an earlier night"],
)
def test_nights_that_are_asked_for_one_after_the_other_rest_on_the_same_rows(home, model, chunks):
    reader = ProfileReader(home, model)
    for chunk in chunks:
        after_others, alone = reader.load(chunk), ProfileReader(home, model).load(chunk)
        for mine, other in zip(as_known(after_others, chunk[0]), as_known(alone, chunk[0]), strict=True):
            assert mine.equals(other)


def test_what_came_before_a_night_is_added_up_and_none_of_it_is_lost(home, model):
    first = NIGHTS[33]
    inputs = ProfileReader(home, model).load([first])
    earliest = first - dt.timedelta(days=21 + 7)  # about the earliest day a label came tonight: its longest window
    files = [pl.read_parquet(home.lake_file("card_fraud", "output_profile", night)) for night in NIGHTS[2:34]]
    stored = pl.concat(files).filter(pl.col("event_date") >= earliest)
    known = inputs.profiles.outputs
    before = known.filter(pl.col("arrival_date") < first)
    assert before.height == before.select(KEYS).unique().height < stored.filter(pl.col("arrival_date") < first).height
    total = pl.col("rows", "labeled").sum()
    assert known.group_by(KEYS).agg(total).sort(KEYS).equals(stored.group_by(KEYS).agg(total).sort(KEYS))
    assert as_known(inputs, first)[1]["labeled"].sum() == stored["labeled"].sum()
