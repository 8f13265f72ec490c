"""Files are taken away once they were read; what was accepted stays."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from mlobs_pipelines.ingest.night import ingest_nights
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

DAY = dt.date(2026, 1, 1)


def deliver(root: Path, name: str, ids: list[str], day: dt.date = DAY) -> Path:
    path = root / "data" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    at = [dt.datetime.combine(day, dt.time(12))] * len(ids)
    pl.DataFrame({"id": ids, "at": at, "score": [0.5] * len(ids)}).write_parquet(path)
    return path


def accepted(home: Home) -> list[str]:
    return sorted(pl.read_parquet(home.lake_file("m", "predictions", DAY))["prediction_id"].to_list())


def test_the_latest_night_run_again_keeps_rows_whose_file_is_gone_and_takes_in_new_ones_otherwise(tmp_path: Path):
    home = Home(tmp_path)
    source = {"source": "data/*.parquet", "id": "id", "time": "at", "score": "score"}
    spec = ModelSpec.model_validate({"model": "m", "task": "binary", "predictions": source})
    first = deliver(tmp_path, "first", ["a", "b"])
    deliver(tmp_path, "second", ["c"])
    ingest_nights(home, spec, [DAY])
    deliver(tmp_path, "third", ["d"])
    ingest_nights(home, spec, [DAY])
    assert accepted(home) == ["a", "b", "c", "d"]
    first.unlink()
    report = ingest_nights(home, spec, [DAY])
    assert accepted(home) == ["a", "b", "c", "d"]
    assert "taken away" in report.notes[0]
