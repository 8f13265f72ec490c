"""A home's own Dagster instance: its settings file, written once and then the owner's."""

from __future__ import annotations

import sys
from pathlib import Path

from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home, default_home

SETTINGS = """\
# Dagster's settings for this home. Written once; change it freely.

storage:
  custom:                       # Dagster's SQLite, with a night's events written at once; Postgres for a team: see Dagster's docs
    module: mlobs_pipelines.orchestration.event_log
    class: BatchedStorage
    config: {base_dir: {env: DAGSTER_HOME}}

concurrency:
  runs:
    max_concurrent_runs: 4      # runs of different models at a time; each uses every core
  pools:
    default_limit: 1            # one pool per model: its runs queue, those of other models do not
    granularity: run            # a run keeps its pool to the end, so two runs' steps never mix

run_retries:
  enabled: true
  max_retries: 1                # a run whose process died is started again, once;
  retry_on_asset_or_op_failure: false   # a step that failed has its own retries, and broken data stays broken

run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  max_runtime_seconds: 21600    # a run that hangs is ended after six hours

retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days: {skipped: 7, failure: 30, success: 90}

telemetry:
  enabled: false

nux:
  enabled: false                # no welcome dialog that asks for an address
"""


def dagster_home(home: Home) -> Path:
    """The folder of the home's Dagster instance; its ``dagster.yaml`` is written where it is missing."""
    folder = home.root / "dagster"
    settings = folder / "dagster.yaml"
    if not settings.exists():
        write_text(settings, SETTINGS)
    return folder


def main() -> None:
    """Print the folder to use as ``DAGSTER_HOME`` for the home given as the first argument."""
    home = Home(Path(sys.argv[1]).absolute()) if len(sys.argv) > 1 else Home(default_home())
    home.models.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{dagster_home(home)}\n")


if __name__ == "__main__":
    main()
