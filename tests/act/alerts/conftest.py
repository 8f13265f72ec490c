"""A home with incidents, and real receivers that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlobs_pipelines.store.layout import Home
from tests.act.alerts.world import Server, World


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """``serve("receiver.py", "429:7", "200")`` starts a process; ``start=False`` only picks a free port."""
    servers: list[Server] = []

    def start(program: str, *answers: str, start: bool = True) -> Server:
        server = Server(program, tmp_path / f"{len(servers)}.log", answers)
        servers.append(server)
        return server.start() if start else server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(Home(tmp_path / "home"))
    made.alert()
    return made


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own processes are on this machine, whatever the environment says."""
    for name in ("MLOBS_URL", "MLOBS_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
