"""Bikes rented by the hour: a regression trained on one year and replayed in the next."""

from __future__ import annotations

import polars as pl
import pytest

from tests.real.logs import Log, prepare_bike_hour
from tests.real.replay import compare, metrics, once

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return once(tmp_path_factory, "bike", prepare_bike_hour)


@pytest.mark.parametrize("place", [1, 20, -1])
def test_every_stored_number_is_that_of_the_rows(log: Log, place: int) -> None:
    assert compare(log, log.nights[place]).wrong == []


def test_the_growth_of_a_year_is_seen_as_drift_of_the_label_and_as_underprediction(log: Log) -> None:
    night = log.nights[-1]
    month = metrics(log, night).filter(
        (pl.col("window_end") == night)
        & (pl.col("version") == "")
        & (pl.col("segment") == "")
        & ((pl.col("window_end") - pl.col("window_start")) == pl.duration(days=27))
    )
    said = {(r["metric"], r["subject"]): r for r in month.iter_rows(named=True)}
    assert said["mean_error", ""]["upper"] < -50
    assert said["psi", "label"]["value"] > 0.25
    assert said["psi", "workingday"]["upper"] < 0.1
