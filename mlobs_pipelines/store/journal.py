"""The log of decisions and of what people did: ``log/decisions.jsonl``, one JSON object a line, append-only."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl

from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.tables import DECISIONS


def decisions(home: Home, model: str | None = None) -> pl.DataFrame:
    """The log's rows in their order, of all models or of one."""
    path = home.log / "decisions.jsonl"
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            row["as_of"] = dt.date.fromisoformat(row["as_of"]) if row["as_of"] else None
            row["decided_at"] = dt.datetime.fromisoformat(row["decided_at"])
            rows.append(row)
    frame = pl.DataFrame(rows, schema=DECISIONS)
    return frame if model is None else frame.filter(pl.col("model") == model)
