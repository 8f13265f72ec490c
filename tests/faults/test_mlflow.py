"""The loop with a real MLflow server that dies, and with a process of its own that dies: everything happens once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlobs_pipelines.act.decide import decide
from mlobs_pipelines.act.ledger import Ledger
from mlobs_pipelines.act.loop import advance
from mlobs_pipelines.registry import Registry, RegistryError
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store import journal
from mlobs_pipelines.store.layout import Home
from tests.act.small_home import DAYS, day, give_version, incident, spec_of, write_incidents, write_lake
from tests.registry.mlflow_store import Server, client_of

pytestmark = pytest.mark.slow

CHILD = Path(__file__).with_name("loop_child.py")
ROOT = CHILD.parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("mlflow"))
    found.start()
    yield found
    found.kill()


@pytest.fixture
def home(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose registry is the server, with nothing registered yet."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setattr("mlobs_pipelines.store.results.publish", lambda home, specs=(): None)
    if server.process is None:
        server.start()
    client = client_of(server.uri)
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    home = Home(tmp_path / "home")
    write_lake(home)
    return home


def with_champion(home: Home, server: Server, **policy: dict[str, str]) -> ModelSpec:
    spec = spec_of(home, **policy)
    give_version(home, "b", server.uri)
    Registry.open(home, spec).set_alias("champion", "1")
    return spec


def statuses(home: Home, decision_id: str) -> list[str]:
    return [row["status"] for row in Ledger(home, "m").history(decision_id)]


def whole(home: Home) -> None:
    """The log's chain holds, and every decision came to an end once."""
    assert journal.verify(home) == []
    for row in Ledger(home, "m").current():
        ends = [s for s in statuses(home, row["decision_id"]) if s in ("done", "failed", "rejected")]
        assert len(ends) == 1, (row["decision_id"], ends)


def test_a_version_made_by_hand_is_compared_and_a_tag_promotes_it(home: Home, server: Server) -> None:
    spec = with_champion(home, server)
    give_version(home, "a", server.uri, mlobs__trained_through=str(day(20)))
    advance(home, spec)
    assert statuses(home, "m:promote:2:1") == ["pending"]
    client_of(server.uri).set_model_version_tag("m", "2", "mlobs.approve", "ann")
    advance(home, spec)
    assert Registry.open(home, spec).aliases() == {"champion": "2", "previous_champion": "1"}
    assert [row["actor"] for row in Ledger(home, "m").history("m:promote:2:1")][1] == "mlflow:ann"
    whole(home)


@pytest.mark.parametrize(
    ("call", "when"),
    [("log_artifacts", "before"), ("create_model_version", "after"), ("set_registered_model_alias", "after")],
)
def test_a_server_that_is_killed_half_way_and_brought_back(
    home: Home, server: Server, monkeypatch: pytest.MonkeyPatch, call: str, when: str
) -> None:
    from mlflow import MlflowClient

    spec = with_champion(home, server, retrain={"mode": "auto"}, promote={"mode": "auto"})
    decide(home, spec, write_incidents(home, DAYS - 1, [incident("i")]))
    real = getattr(MlflowClient, call)

    def die(self: MlflowClient, *args: object, **kwargs: object) -> None:
        if when == "after":
            real(self, *args, **kwargs)
        server.kill()
        raise ConnectionError("no answer came")

    with monkeypatch.context() as m:
        m.setattr(MlflowClient, call, die)
        with pytest.raises(RegistryError):
            advance(home, spec)
    with pytest.raises(RegistryError):
        advance(home, spec)
    server.start()
    advance(home, spec)
    registry = Registry.open(home, spec)
    assert registry.aliases() == {"champion": "2", "previous_champion": "1"}
    assert [v.version for v in registry.versions()] == ["1", "2"]
    assert statuses(home, "m:promote:2:1")[-1] == "done"
    whole(home)


@pytest.mark.parametrize(
    ("call", "when"),
    [
        ("create_run", "after"),
        ("create_model_version", "after"),
        ("set_model_version_tag", "after"),
        ("set_registered_model_alias", "before"),
    ],
)
def test_a_loop_that_is_killed_and_started_again(home: Home, server: Server, call: str, when: str) -> None:
    spec = with_champion(home, server, retrain={"mode": "auto"}, promote={"mode": "auto"})
    decide(home, spec, write_incidents(home, DAYS - 1, [incident("i")]))
    command = [sys.executable, str(CHILD), str(home.root)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(
        [*command, call, when], check=False, env=environment, capture_output=True, text=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    advance(home, spec)
    registry = Registry.open(home, spec)
    assert registry.aliases() == {"champion": "2", "previous_champion": "1"}
    assert [v.version for v in registry.versions()] == ["1", "2"]
    whole(home)


def test_a_server_that_hangs_is_left_after_seconds_and_nothing_is_lost(
    home: Home, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = with_champion(home, server)
    give_version(home, "a", server.uri, mlobs__trained_through=str(day(20)))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        started = time.monotonic()
        with pytest.raises(RegistryError):
            advance(home, spec)
        assert time.monotonic() - started < 10
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    advance(home, spec)
    assert statuses(home, "m:promote:2:1") == ["pending"]
