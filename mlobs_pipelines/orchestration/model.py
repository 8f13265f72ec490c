"""One spec -> everything of one monitored model in Dagster."""

from __future__ import annotations

import datetime as dt
import warnings

import dagster as dg

from mlobs_pipelines.orchestration import assets, dbt
from mlobs_pipelines.orchestration.checks import last_night_came
from mlobs_pipelines.orchestration.explain import explanations
from mlobs_pipelines.orchestration.lock import model_lock
from mlobs_pipelines.orchestration.loop import loop_jobs, loop_sensors
from mlobs_pipelines.orchestration.maintain import maintain_job, maintain_schedule
from mlobs_pipelines.orchestration.marts import marts
from mlobs_pipelines.orchestration.nightly import last_night_sensor, nightly_job, nightly_schedule
from mlobs_pipelines.orchestration.partitions import first_night
from mlobs_pipelines.orchestration.wiring import Wiring
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home


def build_model(home: Home, spec: ModelSpec, *, first: dt.date | None = None) -> dg.Definitions:
    """The asset group, checks, job, schedule and sensor of one model; no row is read.

    Args:
        home: where the model's files are.
        spec: the model.
        first: first partition; default: the first night that the lake or the log knows of.
    """
    wiring = Wiring(home, spec, first or first_night(home, spec))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # backfill policies are beta, and what this rests on
        written = [
            assets.ingest(wiring),
            dbt.label_facts(wiring),
            assets.profiles(wiring),
            assets.metrics(wiring),
            marts(wiring),
            *([explanations(wiring)] if spec.explain.mode == "on" else []),
        ]
        return dg.Definitions(
            assets=[*assets.sources(wiring), *written],
            asset_checks=[last_night_came(wiring)],
            jobs=[nightly_job(wiring, written), maintain_job(wiring), *loop_jobs(wiring)],
            schedules=[nightly_schedule(wiring), maintain_schedule(wiring)],
            sensors=[last_night_sensor(wiring), *loop_sensors(wiring)],
            resources={wiring.lock: model_lock(home, spec.model)},
        )
