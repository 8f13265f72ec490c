"""The nightly job of a model, when it runs, and the watch that notices when it did not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from mlobs_pipelines.orchestration import watchdog
from mlobs_pipelines.orchestration.alerts import tell
from mlobs_pipelines.orchestration.checks import last_night, last_tick
from mlobs_pipelines.orchestration.due import last_complete_day
from mlobs_pipelines.orchestration.partitions import partition_tags, ran_before, unfinished
from mlobs_pipelines.orchestration.wiring import Wiring
from mlobs_pipelines.store import storage
from mlobs_pipelines.store.results import publish

WATCH_SECONDS = 900

MOST_MISSED = 31
"""Nights that a schedule makes up for by itself. After a longer silence a person decides: the log may have ended."""


def nightly_job(wiring: Wiring, assets: Sequence[dg.AssetsDefinition]) -> dg.UnresolvedAssetJobDefinition:
    """Every step of the model in one process: DuckDB is parallel inside, and the model's lock is taken once."""
    return dg.define_asset_job(
        wiring.job,
        selection=dg.AssetSelection.assets(*assets)
        - dg.AssetSelection.checks(dg.AssetCheckKey(wiring.key("predictions"), "last_night_came")),
        executor_def=dg.in_process_executor,
        description=f"What arrived of {wiring.model} on a night, from raw tables to metrics.",
        tags={"mlobs/model": wiring.model},
    )


def nightly_schedule(wiring: Wiring) -> dg.ScheduleDefinition:
    """Runs the night that has just ended, with every unfinished night before it, in one run."""

    @dg.schedule(
        name=wiring.job,
        job_name=wiring.job,
        cron_schedule=wiring.spec.schedule,
        execution_timezone=wiring.spec.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Takes in what arrived on the day that ended, in {wiring.spec.timezone}.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        last = last_complete_day(wiring.spec, context.scheduled_execution_time)
        if last < wiring.first:
            return dg.SkipReason(f"the first night of {wiring.model} is {wiring.first}")
        nights = [night for night in unfinished(wiring.home, wiring.spec, last) if night >= wiring.first]
        if len(nights) > MOST_MISSED and ran_before(wiring.home, wiring.model):
            return dg.SkipReason(
                f"{wiring.model} was last run for {nights[0] - dt.timedelta(days=1)}; if its log goes on, "
                f"make up for it with a backfill or with: mlobs run {wiring.model}"
            )
        if len(nights) == 1:
            return dg.RunRequest(run_key=last.isoformat(), partition_key=last.isoformat())
        return dg.RunRequest(run_key=last.isoformat(), tags=partition_tags(nights))

    return schedule


def last_night_sensor(wiring: Wiring) -> dg.SensorDefinition:
    """Evaluates the check ``last_night_came`` without a run, by looking at the names of files.

    A run cannot notice that it was not started; this does. It tells each night once, and again when it comes late.
    """

    @dg.sensor(
        name=f"{wiring.model}_last_night",
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Notices when a night of {wiring.model} did not come.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        tick = last_tick(wiring, dt.datetime.now(dt.UTC))
        if tick is None:
            return dg.SkipReason("the schedule was never due")
        found = last_night(wiring.home, wiring.model, tick)
        told = f"{found.night} {'came' if found.came else 'did not come'}"
        if context.cursor == told:
            return dg.SkipReason(f"{told}: told already")
        recent = 0 < found.missed <= MOST_MISSED
        if recent and watchdog.tell(wiring.home, wiring.model, found.night, "absent", found.detail):
            publish(wiring.home)
            storage.commit(wiring.home, wiring.model)
            tell(wiring.home, wiring.spec, found.night, now=dt.datetime.now(dt.UTC))
        evaluation = dg.AssetCheckEvaluation(
            asset_key=wiring.key("predictions"),
            check_name="last_night_came",
            passed=found.came,
            severity=dg.AssetCheckSeverity.WARN,
            description=found.detail,
        )
        return dg.SensorResult(asset_events=[evaluation], cursor=told)

    return sensor
