"""The pages of segments."""

from __future__ import annotations

import datetime as dt
from typing import Any

from mlobs_pipelines.engine import sql
from mlobs_pipelines.report.read import Results


def segment_names(results: Results, model: str) -> list[str]:
    """Segments of a model of which anything was measured."""
    found = results.rows(
        f"select distinct segment from latest_metrics where model = {sql.text(model)} and segment <> '' order by segment"
    )
    return [str(row["segment"]) for row in found]


def segments_view(results: Results, model: str, now: dt.datetime) -> dict[str, Any]:
    """What the page says."""
    return {"model": model, "segments": segment_names(results, model)}


def segment_view(results: Results, model: str, segment: str, now: dt.datetime) -> dict[str, Any]:
    """What the page says."""
    return {"model": model, "segment": segment}
