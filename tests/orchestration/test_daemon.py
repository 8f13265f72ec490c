"""The real daemon: a nightly partition and a 30-day backfill through the API that Dagster's own pages use."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlobs_pipelines.store.layout import Home
from tests.orchestration.dagster_dev import Dagster, dagster_dev

pytestmark = pytest.mark.slow

FIRST = dt.date(2026, 1, 1)
DAYS = 31

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
RUN = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
RUNS = "query Runs($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status runs(limit: 9) { id status } } } }"
LINEAGE = "{ assetNodes { assetKey { path } dependencyKeys { path } } }"


@pytest.fixture
def dagster(empty_home: Home, log_day: Callable[..., None], spec_text: str) -> Iterator[Dagster]:
    empty_home.spec_file("card_fraud").write_text(spec_text, encoding="utf-8")
    for i in range(DAYS):
        log_day(empty_home, FIRST + dt.timedelta(days=i))
    with dagster_dev(empty_home) as running:
        yield running


def test_a_night_and_a_backfill_run_from_the_pages_own_api(dagster: Dagster, empty_home: Home) -> None:
    keys = {tuple(node["assetKey"]["path"]) for node in dagster.ask(LINEAGE)["assetNodes"]}
    assert {("card_fraud", "raw_predictions"), ("card_fraud", "label_facts"), ("card_fraud", "metrics")} <= keys

    night = dagster.ask(
        LAUNCH,
        params={
            "selector": {
                "repositoryName": "__repository__",
                "repositoryLocationName": "mlobs",
                "jobName": "card_fraud_nightly",
            },
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": FIRST.isoformat()}]},
        },
    )["launchRun"]
    assert night["__typename"] == "LaunchRunSuccess", night

    def ended() -> bool:
        status = dagster.ask(RUN, id=night["run"]["runId"])["runOrError"]["status"]
        assert status not in {"FAILURE", "CANCELED"}, status
        return bool(status == "SUCCESS")

    dagster.until(ended, 180)
    assert empty_home.store_nights("metrics", "card_fraud").all() == [FIRST]

    days = [(FIRST + dt.timedelta(days=i)).isoformat() for i in range(1, DAYS)]
    produced = [list(key) for key in sorted(keys) if not key[-1].startswith("raw_")]
    backfill = dagster.ask(BACKFILL, params={"partitionNames": days, "assetSelection": [{"path": k} for k in produced]})
    assert backfill["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", backfill
    found: dict[str, Any] = {}

    def filled() -> bool:
        found.update(
            dagster.ask(RUNS, id=backfill["launchPartitionBackfill"]["backfillId"])["partitionBackfillOrError"]
        )
        assert "FAIL" not in found["status"], found
        return bool(found["status"] == "COMPLETED_SUCCESS")

    dagster.until(filled, 300)
    assert [run["status"] for run in found["runs"]] == ["SUCCESS"], "thirty nights are one run"
    assert len(empty_home.store_nights("metrics", "card_fraud").all()) == DAYS
