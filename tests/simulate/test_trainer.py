"""What the demo's entrypoint trains beats the champion where the world has changed, and costs nothing elsewhere."""

from __future__ import annotations

import datetime as dt
from importlib import resources

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from mlobs_pipelines.simulate.champion import score
from mlobs_pipelines.simulate.faults import NewFraudPattern
from mlobs_pipelines.simulate.trainer import train
from mlobs_pipelines.simulate.world import FIRST_DAY, World
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.spec.model import ModelSpec

PATTERN = FIRST_DAY + dt.timedelta(days=24)


def spec_of_the_demo() -> ModelSpec:
    with resources.as_file(resources.files("mlobs_pipelines.simulate").joinpath("card_fraud.yaml")) as file:
        return load_spec(file)


@pytest.fixture(scope="module")
def world() -> World:
    return World(payments_per_day=2000, faults=[NewFraudPattern(start=PATTERN, where={"country": "ES"}, rate=0.15)])


def labelled(world: World, first: int, last: int) -> pl.DataFrame:
    """Days as the loop hands them to a trainer: the logged fields and the label."""
    days = [FIRST_DAY + dt.timedelta(days=i) for i in range(first, last + 1)]
    rows = pl.concat([world.payments(d) for d in days])
    return rows.drop("fraud_probability").rename({"is_fraud": "label"})


def test_it_is_what_the_spec_names() -> None:
    assert spec_of_the_demo().policy.retrain.entrypoint == f"{train.__module__}:{train.__name__}"


def test_a_challenger_beats_the_champion_and_is_no_worse_where_nothing_changed(world: World) -> None:
    model = train(labelled(world, 10, 34), spec_of_the_demo())
    rows = labelled(world, 35, 44)
    known = rows["label"].to_numpy()
    old, new = score(world.champions.v2, rows), score(model, rows)
    assert roc_auc_score(known, new) > roc_auc_score(known, old) + 0.1
    for country in ("DE", "FR", "NL", "PL"):
        here = (rows["country"] == country).to_numpy()
        assert roc_auc_score(known[here], new[here]) > roc_auc_score(known[here], old[here]) - 0.005, country
    rate = {c: float(new[(rows["country"] == c).to_numpy()].mean()) for c in ("ES", "DE")}
    assert rate["DE"] == pytest.approx(rows.filter(country="DE")["label"].mean(), abs=0.004)
    assert 3 * rate["DE"] < rate["ES"] < 0.165, "of the days that it learned from, some were before the pattern"


def test_the_same_rows_give_the_same_model_and_gaps_are_no_trouble(world: World) -> None:
    rows, spec = labelled(world, 24, 26), spec_of_the_demo()
    new = rows.head(50).with_columns(
        distance_km=pl.lit(None, pl.Float64), country=pl.lit("IT"), device=pl.lit(None, pl.String)
    )
    one, other = train(rows, spec), train(rows, spec)
    assert np.array_equal(score(one, new), score(other, new))
    assert np.isfinite(score(one, new)).all()
