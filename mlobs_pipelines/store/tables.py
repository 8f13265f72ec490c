"""Schemas of the evaluation store's tables, columns in the order in which they are written and shown."""

from __future__ import annotations

import polars as pl

METRICS = pl.Schema(
    {
        "model": pl.String(),
        "version": pl.String(),
        "role": pl.String(),
        "family": pl.String(),
        "metric": pl.String(),
        "subject": pl.String(),
        "segment": pl.String(),
        "window_start": pl.Date(),
        "window_end": pl.Date(),
        "as_of": pl.Date(),
        "value": pl.Float64(),
        "lower": pl.Float64(),
        "upper": pl.Float64(),
        "rows": pl.Int64(),
        "labeled_rows": pl.Int64(),
        "baseline": pl.Float64(),
        "reference": pl.String(),
        "status": pl.String(),
        "error_bound": pl.Float64(),
        "run_id": pl.String(),
    }
)
"""One row per number. ``error_bound``: the largest distance of ``value`` to the exact one, from binning and from
fixed point; 0 is exact, null where there is no value."""

METRICS_KEY = (
    "model",
    "version",
    "role",
    "family",
    "metric",
    "subject",
    "segment",
    "window_start",
    "window_end",
    "as_of",
)
"""What identifies a row of ``metrics``, and its order within a night's file."""

RUNS = pl.Schema(
    {
        "run_id": pl.String(),
        "model": pl.String(),
        "arrival_date": pl.Date(),
        "started_at": pl.Datetime("us"),
        "finished_at": pl.Datetime("us"),
        "status": pl.String(),
        "rows_in": pl.Int64(),
        "rows_quarantined": pl.Int64(),
        "labels_in": pl.Int64(),
        "error": pl.String(),
    }
)
"""One row per model and night run."""

TABLES = {"metrics": METRICS, "runs": RUNS}
