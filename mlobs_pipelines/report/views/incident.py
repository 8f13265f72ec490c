"""The page of an incident."""

from __future__ import annotations

import datetime as dt
from typing import Any

from mlobs_pipelines.report.read import Results


def incident_view(results: Results, model: str, incident_id: str, now: dt.datetime) -> dict[str, Any]:
    """What the page says."""
    return next(row for row in results.incidents(model) if row["incident_id"] == incident_id)
