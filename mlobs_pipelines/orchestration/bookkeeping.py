"""The store's table ``runs``: for every night, the last run that worked on it and how that ended: done or failed."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Literal

import dagster as dg
import polars as pl

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration import evidence, watchdog
from mlobs_pipelines.orchestration.alerts import tell
from mlobs_pipelines.orchestration.wiring import Wiring, one_line
from mlobs_pipelines.store import storage
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.results import publish
from mlobs_pipelines.store.tables import RUNS


def record(
    wiring: Wiring,
    nights: Sequence[dt.date],
    context: dg.AssetExecutionContext,
    status: Literal["done", "failed"],
    error: str | None = None,
) -> None:
    """Write the row of each night; it replaces that of an earlier run. Counts are of what was delivered."""
    run = context.instance.get_run_record_by_id(context.run.run_id)
    started = run.start_time if run else None
    counts = evidence.intake(wiring.home, wiring.model, nights)
    finished_at = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    started_at = dt.datetime.fromtimestamp(started, dt.UTC).replace(tzinfo=None) if started else finished_at
    for night in nights:
        rows = counts.get((night, "predictions"), evidence.Intake())
        labels = counts.get((night, "labels"), evidence.Intake())
        row = {
            "run_id": context.run.run_id,
            "model": wiring.model,
            "arrival_date": night,
            "started_at": started_at,
            "finished_at": finished_at,
            "status": status,
            "rows_in": rows.delivered,
            "rows_quarantined": rows.quarantined + labels.quarantined,
            "labels_in": labels.delivered,
            "error": error,
        }
        with published(wiring.home.store_file("runs", wiring.model, night)) as draft:
            pl.DataFrame([row], schema=RUNS).write_parquet(draft, compression="zstd")
        watchdog.tell(wiring.home, wiring.model, night, status, error or "")
    if status == "failed":
        with contextlib.suppress(UserError):  # the next run that ends publishes and tells it
            publish(wiring.home)
            storage.commit(wiring.home, wiring.model)
            tell(wiring.home, wiring.spec, nights[-1], now=dt.datetime.now(dt.UTC))


@contextlib.contextmanager
def recorded(wiring: Wiring, nights: Sequence[dt.date], context: dg.AssetExecutionContext) -> Iterator[None]:
    """Leave a failed row for the nights when the step fails.

    An error that a person must mend (bad data, a wrong spec) is not tried again: the next try would say the same.
    """
    try:
        yield
    except Exception as error:
        record(wiring, nights, context, "failed", one_line(error))
        if isinstance(error, UserError):
            raise dg.Failure(one_line(error), allow_retries=False) from error
        raise
