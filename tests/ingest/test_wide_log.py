"""One table with predictions and, once they are known, their labels."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from mlobs_pipelines.ingest.night import ingest_nights
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_row_whose_label_is_not_known_yet_is_no_label_and_nothing_refused(tmp_path: Path, ending: str):
    day = dt.datetime(2026, 1, 1, 12)
    wide = pl.DataFrame(
        {
            "id": ["a", "b", "c"],
            "at": [day] * 3,
            "score": [0.1, 0.2, 0.3],
            "label": [1, None, None],
            "known": [day, None, day],
        }
    )
    write = {"parquet": wide.write_parquet, "csv": wide.write_csv, "jsonl": wide.write_ndjson}[ending]
    write(tmp_path / f"log.{ending}")
    spec = ModelSpec.model_validate(
        {
            "model": "m",
            "task": "binary",
            "predictions": {"source": f"log.{ending}", "id": "id", "time": "at", "score": "score"},
            "labels": {"source": f"log.{ending}", "id": "id", "value": "label", "available_at": "known"},
        }
    )
    report = ingest_nights(Home(tmp_path), spec, [day.date()])
    labels = pl.read_parquet(Home(tmp_path).lake_file("m", "labels", day.date()))
    assert labels["prediction_id"].to_list() == ["a"]
    refused = pl.read_parquet(Home(tmp_path).quarantine_file("m", day.date()))
    assert refused.height == report.rows_quarantined == 1, "the row that was told at a time but has no value"
    assert "label" in refused["reason"][0]
