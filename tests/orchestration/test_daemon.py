"""The real daemon: a nightly partition and a 30-day backfill through the API that Dagster's own pages use."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlobs_pipelines.orchestration.instance import dagster_home
from mlobs_pipelines.store.layout import Home

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
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
LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }
"""
LINEAGE = "{ assetNodes { assetKey { path } dependencyKeys { path } } }"


class Dagster:
    """A webserver with its daemon, spoken to as its pages do."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            document = json.load(answer)
        assert "errors" not in document, document
        return document["data"]

    def until(self, look: Callable[[], bool], seconds: float, every: float = 0.5) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if look():
                    return
            except OSError:
                pass
            time.sleep(every)
        raise TimeoutError(f"not within {seconds} s")


@pytest.fixture
def dagster(empty_home: Home, log_day: Callable[..., None], spec_text: str) -> Iterator[Dagster]:
    empty_home.spec_file("card_fraud").write_text(spec_text, encoding="utf-8")
    for i in range(DAYS):
        log_day(empty_home, FIRST + dt.timedelta(days=i))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = empty_home.root / "dagster.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "dagster",
                "dev",
                "--workspace",
                "workspace.yaml",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ],
            cwd=ROOT,
            env={**os.environ, "MLOBS_HOME": str(empty_home.root), "DAGSTER_HOME": str(dagster_home(empty_home))},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Dagster(port)

    def loaded() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        (entry,) = server.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
        error = entry["locationOrLoadError"] or {}
        assert error.get("__typename") != "PythonError", error
        return bool(entry["loadStatus"] == "LOADED")

    try:
        server.until(loaded, 120)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


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
