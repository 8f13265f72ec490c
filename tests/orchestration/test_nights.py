"""Which nights a model has, and which night its schedule runs."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import pytest

from mlobs_pipelines.ingest import cache
from mlobs_pipelines.orchestration.checks import last_night, last_tick
from mlobs_pipelines.orchestration.nightly import last_night_sensor, nightly_schedule
from mlobs_pipelines.orchestration.partitions import UNKNOWN_START, first_night, unfinished
from mlobs_pipelines.orchestration.wiring import Wiring
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

FIRST = dt.date(2026, 1, 1)


def touch(home: Home, table: str, *nights: dt.date) -> None:
    for night in nights:
        path = home.store_file("metrics", "card_fraud", night) if table == "metrics" else None
        path = path or home.lake_file("card_fraud", table, night)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def intake(home: Home, night: dt.date, accepted: int) -> None:
    path = home.lake_file("card_fraud", "intake", night)
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"arrival_date": night, "source": "predictions", "delivered": accepted, "accepted": accepted}
    pl.DataFrame([{**row, "duplicates": 0, "quarantined": 0}]).write_parquet(path)


def days(first: dt.date, count: int) -> list[dt.date]:
    return [first + dt.timedelta(days=i) for i in range(count)]


def test_partitions_begin_with_the_log_where_its_footers_tell(home: Home, spec: ModelSpec) -> None:
    assert first_night(home, spec) == FIRST


def test_partitions_begin_with_the_day_in_the_models_own_timezone(home: Home, spec: ModelSpec) -> None:
    # 12:00 UTC is already tomorrow on Kiribati.
    there = spec.model_copy(update={"timezone": "Pacific/Kiritimati"})
    assert first_night(home, there) == FIRST + dt.timedelta(days=1)


def test_partitions_never_begin_later_than_the_lake(home: Home, spec: ModelSpec) -> None:
    touch(home, "predictions", FIRST - dt.timedelta(days=40))
    assert first_night(home, spec) == FIRST - dt.timedelta(days=40)


def test_partitions_of_an_unknown_log_begin_at_a_constant(empty_home: Home, spec: ModelSpec) -> None:
    assert first_night(empty_home, spec) == UNKNOWN_START


@pytest.mark.parametrize("never", [dt.datetime(1970, 1, 1), dt.datetime(1, 1, 1), dt.datetime(1899, 12, 31)])
def test_a_time_that_was_never_filled_in_makes_no_partitions(
    empty_home: Home, spec: ModelSpec, never: dt.datetime
) -> None:
    path = empty_home.root / "data" / "predictions" / "a.parquet"
    path.parent.mkdir(parents=True)
    pl.DataFrame({"event_time": [never]}).write_parquet(path)
    assert first_night(empty_home, spec) == UNKNOWN_START


def test_what_a_run_learned_of_a_log_that_is_no_parquet_is_known_from_then_on(
    empty_home: Home, spec: ModelSpec
) -> None:
    facts = cache.Facts("1-1", rows={"2024-05-06": 3, "1970-01-01": 1, cache.UNKNOWN: 2})
    cache.save(empty_home, spec, {"predictions:log.csv#": facts})
    touch(empty_home, "predictions", FIRST)
    assert first_night(empty_home, spec) == dt.date(2024, 5, 6)


def test_a_truncated_file_makes_no_partitions_and_no_error(home: Home, spec: ModelSpec) -> None:
    (home.root / "data" / "predictions" / "0.parquet").write_bytes(b"PAR1")
    assert first_night(home, spec) == FIRST


def test_the_night_after_the_last_finished_one_is_next(home: Home, spec: ModelSpec) -> None:
    done = days(FIRST, 5)
    touch(home, "predictions", *done)
    touch(home, "metrics", *done)
    assert unfinished(home, spec, FIRST + dt.timedelta(days=7)) == days(FIRST + dt.timedelta(days=5), 3)
    assert unfinished(home, spec, done[-1]) == [done[-1]]


def test_a_night_that_was_blocked_is_taken_along_by_the_next(home: Home, spec: ModelSpec) -> None:
    touch(home, "predictions", *days(FIRST, 5))
    touch(home, "metrics", *days(FIRST, 3))
    assert unfinished(home, spec, FIRST + dt.timedelta(days=5)) == days(FIRST + dt.timedelta(days=3), 3)


def test_the_first_run_takes_in_the_whole_log(home: Home, spec: ModelSpec) -> None:
    assert unfinished(home, spec, FIRST + dt.timedelta(days=9)) == days(FIRST, 10)


def test_the_first_run_of_an_unknown_log_is_one_night(empty_home: Home, spec: ModelSpec) -> None:
    assert unfinished(empty_home, spec, FIRST) == [FIRST]


def tick(wiring: Wiring, at: dt.datetime) -> dg.RunRequest | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
        result = nightly_schedule(wiring)(context)
    assert isinstance(result, (dg.RunRequest, dg.SkipReason))
    return result


@pytest.mark.parametrize(
    ("zone", "at", "night"),
    [
        ("UTC", "2026-03-10T02:00+00:00", "2026-03-09"),
        ("America/New_York", "2026-03-10T02:00-04:00", "2026-03-09"),
        ("America/New_York", "2026-03-08T03:00-04:00", "2026-03-07"),  # the day that has no 02:00
        ("Asia/Tokyo", "2026-03-10T02:00+09:00", "2026-03-09"),  # still the 9th in UTC
        ("Pacific/Kiritimati", "2026-03-10T02:00+14:00", "2026-03-09"),
    ],
)
def test_the_schedule_runs_the_day_that_ended_in_the_models_timezone(
    home: Home, spec: ModelSpec, zone: str, at: str, night: str
) -> None:
    touch(home, "predictions", dt.date.fromisoformat(night) - dt.timedelta(days=1))
    touch(home, "metrics", dt.date.fromisoformat(night) - dt.timedelta(days=1))
    wiring = Wiring(home, spec.model_copy(update={"timezone": zone}), FIRST)
    now = dt.datetime.fromisoformat(at).astimezone(ZoneInfo(zone))
    request = tick(wiring, now)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == request.run_key == night
    with dg.partition_loading_context(effective_dt=now):
        assert wiring.partitions.get_last_partition_key() == night


def test_the_schedule_takes_missed_nights_along_in_one_run(home: Home, spec: ModelSpec) -> None:
    touch(home, "predictions", FIRST)
    touch(home, "metrics", FIRST)
    request = tick(Wiring(home, spec, FIRST), dt.datetime(2026, 1, 6, 2, tzinfo=dt.UTC))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key is None
    assert request.tags["dagster/asset_partition_range_start"] == "2026-01-02"
    assert request.tags["dagster/asset_partition_range_end"] == "2026-01-05"


def test_the_schedule_leaves_a_long_silence_to_a_person(home: Home, spec: ModelSpec) -> None:
    touch(home, "predictions", FIRST)
    touch(home, "metrics", FIRST)
    wiring = Wiring(home, spec, FIRST)
    assert isinstance(tick(wiring, dt.datetime(2026, 2, 2, 2, tzinfo=dt.UTC)), dg.RunRequest)
    skipped = tick(wiring, dt.datetime(2026, 2, 3, 2, tzinfo=dt.UTC))
    assert isinstance(skipped, dg.SkipReason)
    assert "last run for 2026-01-01" in str(skipped.skip_message)


def test_the_first_run_of_a_schedule_takes_in_the_log_however_long(home: Home, spec: ModelSpec) -> None:
    request = tick(Wiring(home, spec, FIRST), dt.datetime(2026, 6, 1, 2, tzinfo=dt.UTC))
    assert isinstance(request, dg.RunRequest)
    assert request.tags["dagster/asset_partition_range_start"] == "2026-01-01"


def test_the_schedule_waits_for_the_first_night(home: Home, spec: ModelSpec) -> None:
    assert isinstance(tick(Wiring(home, spec, FIRST), dt.datetime(2026, 1, 1, 2, tzinfo=dt.UTC)), dg.SkipReason)


def test_the_last_tick_leaves_a_night_its_grace(home: Home, spec: ModelSpec) -> None:
    wiring = Wiring(home, spec.model_copy(update={"timezone": "America/New_York"}), FIRST)
    early = last_tick(wiring, dt.datetime(2026, 7, 5, 7, 30, tzinfo=dt.UTC))  # 03:30 there
    late = last_tick(wiring, dt.datetime(2026, 7, 5, 8, 30, tzinfo=dt.UTC))  # 04:30 there
    assert early is not None
    assert late is not None
    assert (early.date(), late.date()) == (dt.date(2026, 7, 4), dt.date(2026, 7, 5))


def test_last_night_came_if_it_brought_rows(home: Home) -> None:
    due = dt.datetime(2026, 1, 3, 2, tzinfo=dt.UTC)
    assert not last_night(home, "card_fraud", due).came
    touch(home, "predictions", FIRST)
    assert "the last night in the lake is 2026-01-01" in last_night(home, "card_fraud", due).detail
    night = FIRST + dt.timedelta(days=1)
    touch(home, "predictions", night)
    intake(home, night, 0)
    assert not last_night(home, "card_fraud", due).came
    intake(home, night, 7)
    assert last_night(home, "card_fraud", due).came


def test_a_backfill_of_old_nights_does_not_make_last_night_come(home: Home) -> None:
    for night in days(FIRST - dt.timedelta(days=90), 30):
        touch(home, "predictions", night)
        intake(home, night, 9)
    assert not last_night(home, "card_fraud", dt.datetime(2026, 1, 3, 2, tzinfo=dt.UTC)).came


def test_the_watch_tells_each_night_once(home: Home, spec: ModelSpec) -> None:
    sensor = last_night_sensor(Wiring(home, spec, FIRST))

    def look(cursor: str | None) -> tuple[list[bool], str | None]:
        with dg.DagsterInstance.ephemeral() as instance:
            data = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
        return [e.passed for e in data.asset_events if isinstance(e, dg.AssetCheckEvaluation)], data.cursor

    told, cursor = look(None)
    assert told == [False]
    assert look(cursor)[0] == []
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    for night in (yesterday - dt.timedelta(days=1), yesterday):  # the schedule may not have been due yet today
        touch(home, "predictions", night)
        intake(home, night, 7)
    assert look(cursor)[0] == [True]
