"""Places to keep homes at: a folder, and an S3 server that is a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlobs_pipelines.store import storage
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.objects import ObjectStore
from tests.ports import free_port


@dataclass(frozen=True)
class Place:
    """A URL and its file system's options, and homes that are kept there."""

    url: str
    options: dict
    folder: Path
    lease: str = "1s"

    def store(self, **options) -> ObjectStore:
        return ObjectStore(self.url, self.options | options, "mlobs.yaml: storage")

    def home(self, name: str) -> Home:
        home = Home(self.folder / name)
        home.root.mkdir(parents=True, exist_ok=True)
        lines = [f"storage: {self.url}", f"storage_lease: {self.lease}", "storage_options:"]
        if not self.options:
            lines.pop()
        lines += [
            f"  {key}: {{endpoint_url: {value['endpoint_url']}}}"
            for key, value in self.options.items()
            if isinstance(value, dict)
        ]
        lines += [f"  {key}: {value}" for key, value in self.options.items() if not isinstance(value, dict)]
        home.settings_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return home


@contextlib.contextmanager
def before_storage(home: Home) -> Iterator[None]:
    """Within the block a home knows nothing of its object store, as before it was given one."""
    later = home.settings_file.rename(home.root / "later")
    yield
    later.rename(home.settings_file)


@contextlib.contextmanager
def server(**environment: str) -> Iterator[str]:
    """An S3 server on loopback; gives its address."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None and time.monotonic() < deadline, "the S3 server did not come"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def bucket(address: str) -> tuple[str, dict]:
    """A new bucket: its URL, and the options to reach it."""
    import s3fs

    options = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": address}}
    name = f"kept-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem(**options).mkdir(name)
    return f"s3://{name}/homes", options


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    with server() as address:
        yield address


@pytest.fixture
def at_s3(s3_address: str, tmp_path: Path) -> Place:
    return Place(*bucket(s3_address), tmp_path)


@pytest.fixture(params=["folder", "S3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "S3":
        return request.getfixturevalue("at_s3")
    return Place(f"file://{tmp_path / 'kept'}", {}, tmp_path)


@pytest.fixture(autouse=True)
def _no_storage_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(storage.VARIABLE, raising=False)
    monkeypatch.setenv("MLOBS_HASH_KEY", "the same on all machines")
