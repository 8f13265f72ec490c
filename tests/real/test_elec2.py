"""Half-hourly electricity prices, labels half an hour later: a binary model over six weeks."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mlobs_pipelines.measure.night import measure_nights
from mlobs_pipelines.orchestration.profiles import ProfileReader
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.tables import METRICS_KEY
from tests.real.logs import Log, prepare_elec2, prepare_elec2_last_label
from tests.real.replay import compare, metrics, once

pytestmark = pytest.mark.slow

CORRECTED = 40


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return once(tmp_path_factory, "elec2", prepare_elec2)


@pytest.fixture(scope="session")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return once(tmp_path_factory, "elec2-corrected", lambda home: prepare_elec2(home, corrected=CORRECTED))


@pytest.mark.parametrize("place", [0, 21, -1])
def test_every_stored_number_is_that_of_the_rows(log: Log, place: int) -> None:
    found = compare(log, log.nights[place])
    assert found.wrong == []
    assert found.worst.get("roc_auc", 0) < 0.001
    assert sum(found.compared.values()) > 100


def test_features_that_come_alive_are_seen_that_very_night(log: Log) -> None:
    def psi(night: dt.date, feature: str) -> float:
        day = metrics(log, night).filter(
            (pl.col("version") == "")
            & (pl.col("metric") == "psi")
            & (pl.col("subject") == feature)
            & (pl.col("segment") == "")
            & (pl.col("window_start") == night)
            & (pl.col("window_end") == night)
        )
        return float(day["value"].item())

    for feature in ("vicprice", "vicdemand", "transfer"):
        assert psi(dt.date(1997, 5, 4), feature) == 0
        assert psi(dt.date(1997, 5, 5), feature) > 5


def test_features_that_come_alive_are_one_incident_on_that_very_night(log: Log) -> None:
    def incidents(night: dt.date) -> list[tuple[object, ...]]:
        rows = pl.read_parquet(log.home.store_file("incidents", log.model, night))
        found = rows.filter((pl.col("kind") != "performance") & (pl.col("kind") != "concept_drift"))
        return found.select("opened_as_of", "since", "kind", "subject", "segment", "severity").rows()

    alive = dt.date(1997, 5, 5)
    assert incidents(dt.date(1997, 5, 4)) == []
    assert incidents(alive) == [(alive, alive, "data_fault", "transfer, vicdemand, vicprice", "", "critical")]
    assert incidents(log.nights[-1])[0][:2] == (alive, alive), "and it stays that one"


def test_what_was_said_on_a_night_is_what_is_now_said_as_of_that_night(log: Log) -> None:
    spec = load_spec(log.home.spec_file(log.model))
    everything = ProfileReader(log.home, spec).load(log.nights)
    for night in (log.nights[2], log.nights[20], log.nights[-2]):
        ((_, now),) = measure_nights(everything.profiles, spec, everything.schema, everything.bins, [night], "run")
        assert_frame_equal(now, unjudged(metrics(log, night)), check_exact=True)


def unjudged(rows: pl.DataFrame) -> pl.DataFrame:
    """Metrics without the verdicts, which rest on earlier nights."""
    return rows.with_columns(pl.col("status").replace({"warn": "ok", "alert": "ok"}))


def test_a_correction_changes_nothing_before_the_night_it_arrived(log: Log, corrected: Log) -> None:
    for night in log.nights[:19]:
        assert_frame_equal(metrics(corrected, night), metrics(log, night), check_exact=True)


def test_a_correction_changes_what_rests_on_its_labels_and_only_that(log: Log, corrected: Log) -> None:
    arrived = log.nights[19]
    second = corrected.labels.filter(pl.col("available_at") == dt.datetime.combine(arrived, dt.time(12)))
    about = corrected.predictions.join(second.unique("id"), on="id")["time"].dt.date().unique()
    touched = pl.any_horizontal(
        *[(pl.col("window_start") <= day) & (pl.col("window_end") >= day) for day in about.to_list()]
    )
    for night in log.nights[19:]:
        before, after = metrics(log, night), metrics(corrected, night)
        both = before.join(after, on=METRICS_KEY, suffix="_after", nulls_equal=True)
        assert len(both) == len(before), "no number is gone"
        changed = both.filter(
            pl.any_horizontal(
                pl.col(c).ne_missing(pl.col(f"{c}_after")) for c in ("value", "rows", "labeled_rows", "status")
            )
        )
        assert changed.filter(~touched).is_empty()
        assert set(changed["family"]) <= {"performance", "calibration", "drift", "labels", "quality"}
        assert set(changed.filter(pl.col("family").is_in(["drift", "quality"]))["subject"]) <= {"label"}
        restated = after.join(before, on=METRICS_KEY, how="anti", nulls_equal=True).filter(
            pl.col("metric") != "duplicate_rate"
        )
        assert restated.filter(~touched & (pl.col("family") != "quality")).is_empty()
        if night == arrived:
            assert len(restated.filter(pl.col("metric") == "accuracy")) >= len(about)
    assert compare(corrected, arrived, windows_per_length=4).wrong == []
    assert compare(corrected, log.nights[-1]).wrong == []


def test_the_last_label_again_is_right_85_33_percent_of_the_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    log = once(tmp_path_factory, "last-label", prepare_elec2_last_label)
    (night,) = log.nights
    whole = metrics(log, night).filter(
        (pl.col("metric") == "accuracy") & (pl.col("window_end") == night) & (pl.col("version") == "")
    )
    assert whole["rows"].item() == whole["labeled_rows"].item() == 45_312
    assert round(whole["value"].item(), 4) == 0.8533
    assert compare(log, night).wrong == []
