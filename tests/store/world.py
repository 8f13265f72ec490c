"""A store as nights leave it, written straight away, and snapshots of it."""

from __future__ import annotations

import datetime as dt
import shutil

import polars as pl

from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.tables import INCIDENTS, METRICS, RUNS

FIRST = dt.date(2026, 1, 1)


def night(i):
    return FIRST + dt.timedelta(days=i)


def spec_of(model="m", task="binary"):
    output = {"binary": {"score": "s"}, "regression": {"prediction": "p"}}[task]
    return ModelSpec.model_validate(
        {
            "model": model,
            "task": task,
            "owner": "ml's@example.com",
            "predictions": {"source": "a", "id": "i", "time": "t", **output},
        }
    )


def number(metric="roc_auc", family="performance", value=0.5, end=0, days=1, as_of=None, status="ok", **more):
    row = {
        "model": "m",
        "version": "",
        "role": "production",
        "family": family,
        "metric": metric,
        "subject": "",
        "segment": "",
        "window_start": night(end - days + 1),
        "window_end": night(end),
        "as_of": night(end if as_of is None else as_of),
        "value": value,
        "rows": 100,
        "labeled_rows": 10,
        "status": status,
        "error_bound": 0.0,
        "run_id": "r",
    }
    return {**dict.fromkeys(METRICS), **row, **more}


def conclude(home, rows, model="m", status="done", error=None):
    """Write metrics and runs as the nights in ``rows`` (by as_of) would."""
    frame = pl.DataFrame([{**row, "model": model} for row in rows], schema=METRICS)
    for (as_of,), part in frame.group_by("as_of"):
        for name, table in (("metrics", part), ("runs", run(model, as_of, status, error))):
            path = home.store_file(name, model, as_of)
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".draft")
            table.write_parquet(draft)
            draft.replace(path)


def trouble(home, model, severity, as_of=9, **more):
    """An open incident of a model, as the files of a night have it."""
    row = dict.fromkeys(INCIDENTS) | {"incident_id": f"{model}-{severity}", "model": model, "severity": severity}
    row |= {"state": "open", "opened_as_of": night(as_of), "last_as_of": night(as_of), "since": night(as_of)}
    row |= {"evidence": "{}", "kind": "data_fault", "as_of": night(as_of)} | more
    path = home.store_file("incidents", model, night(as_of))
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([row], schema=INCIDENTS).write_parquet(path)


def run(model, arrival, status="done", error=None):
    at = dt.datetime.combine(arrival, dt.time(3))
    return pl.DataFrame([("r", model, arrival, at, at, status, 100, 1, 10, error)], schema=RUNS, orient="row")


def begun(built, folder):
    """A fresh home with an empty store and a snapshot of another one, which only lacks rows."""
    folder.mkdir(parents=True)
    shutil.copy2(built.results, folder)
    return Home(folder)


def back(home):
    """The file that takes turns with the one that is shown."""
    return home.root / ".results.duckdb.back"
