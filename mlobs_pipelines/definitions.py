"""Dagster's door: every spec in the home becomes one model's assets, checks, job, schedule and sensors."""

from __future__ import annotations

import dagster as dg

from mlobs_pipelines.store.layout import Home, default_home


@dg.definitions
def defs() -> dg.Definitions:
    """Every model of the home at ``MLOBS_HOME``; one that can't be used is shown with the reason."""
    from mlobs_pipelines.orchestration.home import build_home

    return build_home(Home(default_home()))
