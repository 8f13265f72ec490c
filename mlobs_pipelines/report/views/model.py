"""The page of a model."""

from __future__ import annotations

import datetime as dt
from typing import Any

from mlobs_pipelines.report.read import Results


def model_view(results: Results, model: str, now: dt.datetime) -> dict[str, Any]:
    """What the page says."""
    return {"model": model, "incidents": results.incidents(model)}
