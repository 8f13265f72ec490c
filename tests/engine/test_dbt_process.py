"""dbt's own process: ready before it is asked, and never a reason to hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlobs_pipelines.engine import dbt
from mlobs_pipelines.engine.dbt_process import DbtProcess, Outcome
from mlobs_pipelines.store.layout import Home

pytestmark = pytest.mark.slow

LIST = ("list", "--select", "prediction_index")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = Home(tmp_path_factory.mktemp("home"))
    return {**os.environ, **dbt.environment(home, home.warehouse / "a.duckdb", home.warehouse / "a.dbt")}


def test_it_does_command_after_command_and_says_what_it_does_not_know(environment: dict[str, str]) -> None:
    process = DbtProcess(environment)
    assert process.run(LIST, environment).success
    unknown = process.run(("juggle",), environment)
    assert not unknown.success
    assert "juggle" in unknown.said
    assert process.run(LIST, environment).success
    process.end(60)
    assert not process.alive


def test_a_parse_that_is_damaged_is_made_anew(environment: dict[str, str], tmp_path: Path) -> None:
    damaged = tmp_path / "partial_parse.msgpack"
    damaged.write_bytes(b"cut short")
    environment = {**environment, "DBT_PARTIAL_PARSE_FILE_PATH": str(damaged)}
    process = DbtProcess(environment)
    assert process.run(LIST, environment).success
    process.end(60)


def test_one_that_dies_at_work_is_a_failure_and_no_hang(environment: dict[str, str]) -> None:
    process, outcomes = DbtProcess(environment), list[Outcome]()
    thread = threading.Thread(target=lambda: outcomes.append(process.run(LIST, environment)), daemon=True)
    thread.start()
    os.kill(process.pid, signal.SIGKILL)
    thread.join(60)
    assert [(outcome.success, outcome.said) for outcome in outcomes] == [(False, "exit status -9")]


def test_it_ends_when_the_process_that_would_ask_it_is_killed(environment: dict[str, str]) -> None:
    code = (
        "import os, time; from mlobs_pipelines.engine.dbt_process import DbtProcess; "
        "print(DbtProcess(os.environ).pid, flush=True); time.sleep(600)"
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), environment.get("PYTHONPATH", "")])
    asker = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**environment, "PYTHONPATH": path}
    )
    assert asker.stdout is not None
    child = int(asker.stdout.readline())
    asker.kill()
    asker.wait()
    deadline = time.monotonic() + 60
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
