"""Versions, aliases and tags of a registered model; and an MLflow that is not there."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mlobs_pipelines.registry import Registry, RegistryError
from mlobs_pipelines.registry.connection import patience
from mlobs_pipelines.store.layout import Home
from tests.registry.mlflow_store import client_of, give_store, register, spec_of

X = pd.DataFrame({"a": np.arange(5.0)})


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def silent_server():
    """A server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def line(factor: float) -> LinearRegression:
    return LinearRegression().fit(X, factor * X["a"])


def test_without_a_registry_there_are_no_versions(home):
    registry = Registry.open(home, spec_of())
    assert registry.aliases() == {}
    assert registry.versions() == []
    assert registry.version("1") is None
    assert not (home.root / "mlflow.db").exists(), "asking makes nothing"


def test_a_model_that_is_not_registered_has_no_versions(home):
    give_store(home)
    registry = Registry.open(home, spec_of())
    assert registry.aliases() == {}
    assert registry.versions() == []


def test_versions_aliases_and_tags_are_read_and_set(home):
    uri = give_store(home)
    for factor in (1, 2):
        register(uri, "m", line(factor), X, artifacts=home.root / "a", tags={"factor": str(factor)})
    registry = Registry.open(home, spec_of())
    registry.set_alias("champion", "1")
    registry.set_alias("champion", "2")
    registry.set_tags("2", {"verdict": "better", "odd": "<b>\n\N{SNOWMAN}"})
    assert registry.aliases() == {"champion": "2"}
    assert [(v.version, v.tags["factor"]) for v in registry.versions()] == [("1", "1"), ("2", "2")]
    second = registry.version("2")
    assert second is not None
    assert second.tags["odd"] == "<b>\n\N{SNOWMAN}"
    assert second.created_at.tzinfo is not None
    assert registry.version("3") is None
    registry.delete_tag("2", "verdict")
    registry.delete_tag("2", "verdict")
    registry.delete_alias("champion")
    registry.delete_alias("champion")
    assert registry.aliases() == {}
    assert set(registry.versions()[1].tags) == {"factor", "odd"}


def test_a_version_once_seen_needs_no_mlflow_again(home):
    uri = give_store(home)
    register(uri, "m", line(3), X, artifacts=home.root / "a")
    rows = pl.DataFrame({"a": [2.0]})
    assert Registry.open(home, spec_of("regression")).load("1").predict(rows) == pytest.approx([6.0])
    elsewhere = spec_of("regression", registry={"tracking_uri": "http://127.0.0.1:9"})
    assert Registry.open(home, elsewhere).load("1").predict(rows) == pytest.approx([6.0])
    with pytest.raises(RegistryError, match="does not answer"):
        Registry.open(home, elsewhere).load("2")


def test_a_version_number_that_now_means_another_model_is_fetched_anew(home):
    uri = give_store(home)
    register(uri, "m", line(3), X, artifacts=home.root / "a")
    registry = Registry.open(home, spec_of("regression"))
    registry.load("1")
    client_of(uri).delete_registered_model("m")
    register(uri, "m", line(4), X)
    assert registry.load("1").predict(pl.DataFrame({"a": [2.0]})) == pytest.approx([8.0])


def test_files_that_are_gone_are_an_error_of_one_line(home):
    uri = give_store(home)
    register(uri, "m", line(3), X, artifacts=home.root / "a")
    (next((home.root / "a").rglob("MLmodel"))).unlink()
    with pytest.raises(RegistryError) as caught:
        Registry.open(home, spec_of("regression")).load("1")
    assert "\n" not in str(caught.value)


def test_a_silent_server_is_left_after_seconds(home, silent_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    registry = Registry.open(home, spec_of(registry={"tracking_uri": silent_server}))
    started = time.monotonic()
    with pytest.raises(RegistryError, match="does not answer"):
        registry.aliases()
    assert time.monotonic() - started < 8


def test_a_refusing_server_is_left_at_once_and_no_password_is_told(home):
    registry = Registry.open(home, spec_of(registry={"tracking_uri": "http://me:secret@127.0.0.1:9"}))
    with pytest.raises(RegistryError) as caught:
        registry.versions()
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)


def test_the_limits_are_the_owners_where_he_sets_them_and_gone_afterwards(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    before = dict(os.environ)
    level = logging.getLogger("mlflow").level
    with patience(3):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert dict(os.environ) == before
    assert logging.getLogger("mlflow").level == level


def test_two_threads_leave_the_environment_as_it_was():
    before = dict(os.environ)

    def work() -> None:
        for _ in range(200):
            with patience():
                assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(os.environ) == before
