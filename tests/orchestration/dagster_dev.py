"""``dagster dev`` as a process of its own: a webserver with its daemon, spoken to as its pages do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlobs_pipelines.orchestration.instance import dagster_home
from mlobs_pipelines.store.layout import Home
from tests.ports import free_port

_ROOT = Path(__file__).parents[2]
_STARTS_WITHIN = 240
"""Seconds; beside other tests on two cores it took half a minute."""

_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }
"""


class Dagster:
    """A running webserver with its daemon."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}/graphql"
        self._process, self._log = process, log

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
            assert self._process.poll() is None, self._said()
            with contextlib.suppress(OSError):
                if look():
                    return
            time.sleep(every)
        raise TimeoutError(f"not within {seconds} s; Dagster said: {self._said()}")

    def loaded(self) -> bool:
        """Whether the code location is there; raises what Dagster says where it can't be loaded."""
        (entry,) = self.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
        error = entry["locationOrLoadError"] or {}
        assert error.get("__typename") != "PythonError", error
        return bool(entry["loadStatus"] == "LOADED")

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]


@contextlib.contextmanager
def dagster_dev(home: Home) -> Iterator[Dagster]:
    """A home's Dagster, its code location loaded; ended with all its processes."""
    port = free_port()
    log = home.root / "dagster.log"
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", "workspace.yaml"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=_ROOT,
            env={**os.environ, "MLOBS_HOME": str(home.root), "DAGSTER_HOME": str(dagster_home(home))},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        dagster = Dagster(process, port, log)
        dagster.until(dagster.loaded, _STARTS_WITHIN)
        yield dagster
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
