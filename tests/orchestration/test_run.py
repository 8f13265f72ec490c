"""The nightly job in this process, with the real steps: what it leaves, what stops it and what does not."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
import time
from collections.abc import Callable

import dagster as dg
import polars as pl
import pytest

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration import steps
from mlobs_pipelines.orchestration.instance import dagster_home
from mlobs_pipelines.orchestration.run import run_model
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.lock import exclusive
from mlobs_pipelines.store.read import metrics, query, runs

pytestmark = pytest.mark.slow

FIRST = dt.date(2026, 1, 1)
SECOND = FIRST + dt.timedelta(days=1)
THIRD = FIRST + dt.timedelta(days=2)


@pytest.fixture(autouse=True)
def without_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def materializations(name: str) -> dict[str | None, dg.AssetMaterialization]:
    """By partition, as Dagster's pages show them."""
    with dg.DagsterInstance.get() as instance:
        found = instance.fetch_materializations(dg.AssetKey(["card_fraud", name]), limit=100).records
        return {r.partition_key: r.asset_materialization for r in found if r.asset_materialization}


def checks() -> dict[str, bool]:
    with dg.DagsterInstance.get() as instance:
        records = instance.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION))
        events = [r.event_log_entry.get_dagster_event().asset_check_evaluation_data for r in records]
    return {f"{e.asset_key.path[-1]}.{e.check_name}": e.passed for e in reversed(events)}


def test_a_night_runs_from_raw_tables_to_the_marts(
    home: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(home)))
    told: list[str] = []

    first = run_model(home, spec, [FIRST, SECOND], told.append)
    third = run_model(home, spec, [THIRD])

    assert (first.predictions, first.labels, first.refused) == (120, 60, 0)
    assert (third.predictions, third.labels) == (60, 60)
    assert told
    assert runs(home, "card_fraud").sort("arrival_date").select("arrival_date", "status", "rows_in").rows() == [
        (FIRST, "done", 60),
        (SECOND, "done", 60),
        (THIRD, "done", 60),
    ]
    assert metrics(home, "card_fraud").filter(pl.col("as_of") == THIRD).height == third.metrics > 0
    assert query(home, "select model, last_night from model_health").rows() == [("card_fraud", THIRD)]

    shown = materializations("predictions")
    assert {key: m.metadata["dagster/partition_row_count"].value for key, m in shown.items()} == {
        "2026-01-01": 60,
        "2026-01-02": 60,
        "2026-01-03": 60,
    }
    assert "data:image/svg+xml" in str(shown["2026-01-03"].metadata["accepted per night"].value)
    assert "nights" not in shown["2026-01-01"].metadata, "told once a run, of its last night"
    assert set(materializations("label_facts")) == {"2026-01-01", "2026-01-02", "2026-01-03"}
    passed = checks()
    assert passed.pop("labels.rows_arrived") is True
    assert all(passed.values())
    assert sum(name.startswith("label_facts.") for name in passed) >= 3, "dbt's tests are checks"


def test_broken_data_stops_the_night_and_the_next_good_one_takes_it_along(
    home: Home, spec: ModelSpec, log_day: Callable[..., None]
) -> None:
    run_model(home, spec, [FIRST])
    log_day(home, SECOND, rows=60, bad=40)

    with pytest.raises(UserError, match="broken data: 40 of 60 predictions were refused"):
        run_model(home, spec, [SECOND])

    done = home.store_nights("metrics", "card_fraud").all()
    assert done == [FIRST], "nothing downstream of broken data"
    last = runs(home, "card_fraud").filter(pl.col("arrival_date") == SECOND).row(0, named=True)
    assert (last["status"], last["rows_quarantined"]) == ("failed", 40)
    assert "40 of 60" in last["error"]

    log_day(home, THIRD, rows=300)
    run_model(home, spec, [SECOND, THIRD])
    assert home.store_nights("metrics", "card_fraud").all() == [FIRST, SECOND, THIRD]
    assert set(runs(home, "card_fraud")["status"]) == {"done"}


def test_a_reference_is_frozen_while_labels_are_joined_and_one_that_is_not_there_is_told_of(home: Home) -> None:
    file = home.spec_file("card_fraud")
    file.write_text(
        file.read_text(encoding="utf-8") + "reference: {source: data/reference.parquet}\n", encoding="utf-8"
    )
    spec = load_spec(file)

    with pytest.raises(UserError, match=r"reference.source: .*data/reference.parquet"):
        run_model(home, spec, [FIRST])
    assert home.lake_file("card_fraud", "label_facts", FIRST).exists()
    assert not home.lake_file("card_fraud", "feature_profile", FIRST).exists()

    logged = pl.read_parquet(home.root / "data" / "predictions" / f"{FIRST}.parquet")
    logged.write_parquet(home.root / "data" / "reference.parquet")
    steps.join(home, spec, [FIRST])
    frozen = home.bins_file("card_fraud").read_bytes()
    run_model(home, spec, [FIRST])
    assert home.bins_file("card_fraud").read_bytes() == frozen
    assert runs(home, "card_fraud")["status"].to_list() == ["done"]


def test_drift_never_stops_a_night(home: Home, spec: ModelSpec) -> None:
    path = home.root / "data" / "predictions" / f"{THIRD}.parquet"
    frame = pl.read_parquet(path)
    frame.with_columns(pl.col("amount") * 1000, country=pl.lit("XX"), fraud_score=pl.lit(1.0)).write_parquet(path)

    assert run_model(home, spec, [FIRST, SECOND, THIRD]).refused == 0
    assert home.store_nights("metrics", "card_fraud").all() == [FIRST, SECOND, THIRD]


def test_a_night_without_rows_is_run_and_only_warns(
    home: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(home)))
    silent = THIRD + dt.timedelta(days=2)
    run_model(home, spec, [THIRD, THIRD + dt.timedelta(days=1), silent])
    assert home.store_nights("metrics", "card_fraud").all()[-1] == silent
    assert checks()["predictions.rows_arrived"] is False


def test_who_interrupts_a_run_is_told_so_and_the_same_run_goes_on(
    home: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    with monkeypatch.context() as patch:
        patch.setattr(steps, "profile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_model(home, spec, [FIRST, SECOND])
    assert run_model(home, spec, [FIRST, SECOND]).metrics > 0


def test_an_error_is_one_line_and_leaves_a_failed_row(
    home: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise UserError("the disk is full; make room\nand run again")

    monkeypatch.setattr(steps, "measure", broken)
    with pytest.raises(UserError) as caught:
        run_model(home, spec, [FIRST])
    assert str(caught.value) == "card_fraud: the disk is full; make room and run again"
    assert "Stack Trace" in "".join(getattr(caught.value, "__notes__", [])), "for --debug"
    row = runs(home, "card_fraud").row(0, named=True)
    assert (row["status"], row["error"]) == ("failed", "the disk is full; make room and run again")


def test_a_missing_source_is_one_line(empty_home: Home, spec: ModelSpec) -> None:
    with pytest.raises(UserError, match=r"card_fraud: .*data/predictions") as caught:
        run_model(empty_home, spec, [FIRST])
    assert "\n" not in str(caught.value)


def test_tonight_cannot_be_run_yet(home: Home, spec: ModelSpec) -> None:
    today = dt.datetime.now(dt.UTC).date()
    with pytest.raises(UserError, match="is not over yet in UTC"):
        run_model(home, spec, [today])


def test_nights_with_a_gap_are_refused(home: Home, spec: ModelSpec) -> None:
    with pytest.raises(UserError, match="consecutive"):
        run_model(home, spec, [FIRST, THIRD])


def test_a_run_waits_for_another_run_of_its_model(home: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    started = threading.Event()

    def ingest(*args: object, **kwargs: object) -> None:
        events.append("this")
        raise UserError("enough")

    def other() -> None:
        with exclusive(home.lock_file("card_fraud")):
            started.set()
            time.sleep(3)
            events.append("other")

    monkeypatch.setattr(steps, "ingest", ingest)
    thread = threading.Thread(target=other)
    thread.start()
    started.wait()
    with pytest.raises(UserError, match="enough"):
        run_model(home, spec, [FIRST])
    thread.join()
    assert events == ["other", "this"]


def test_nights_before_the_known_log_can_be_run(home: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dt.date] = []

    def ingest(home: Home, spec: ModelSpec, nights: list[dt.date], **kwargs: object) -> None:
        asked.extend(nights)
        raise UserError("enough")

    monkeypatch.setattr(steps, "ingest", ingest)
    before = FIRST - dt.timedelta(days=1)
    with pytest.raises(UserError, match="enough"):
        run_model(home, spec, [before, FIRST])
    assert asked == [before, FIRST]
