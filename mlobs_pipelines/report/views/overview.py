"""The overview."""

from __future__ import annotations

import datetime as dt
from typing import Any

from mlobs_pipelines.report.read import Results


def overview_view(results: Results, now: dt.datetime) -> dict[str, Any]:
    """What the page says."""
    return {"models": results.models}
