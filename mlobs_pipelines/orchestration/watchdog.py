"""Keeps the incident about a model's runs: opened when one fails or does not come, ended by the next that is done."""

from __future__ import annotations

import datetime as dt

import polars as pl

from mlobs_pipelines.judge.monitoring import Outcome, run_incident
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home


def tell(home: Home, model: str, night: dt.date, outcome: Outcome, detail: str = "") -> bool:
    """Note how a night went; gives whether that is news."""
    known = home.store_nights("monitoring", model).all()
    previous = pl.read_parquet(home.store_file("monitoring", model, known[-1])) if known else None
    rows = run_incident(previous.row(0, named=True) if previous is not None else None, model, night, outcome, detail)
    if not rows.height or (previous is not None and previous.equals(rows)):
        return False
    with published(home.store_file("monitoring", model, rows["as_of"].item())) as draft:
        rows.write_parquet(draft)
    return True
