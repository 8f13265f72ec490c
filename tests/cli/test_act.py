"""`mlobs act`: what is due, done now."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from mlobs_pipelines.act.ledger import Ledger
from mlobs_pipelines.cli import main
from mlobs_pipelines.registry import Registry
from mlobs_pipelines.store.layout import Home
from tests.act.small_home import LAST, give_version, spec_of, write_lake


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("mlobs_pipelines.store.results.publish", lambda home, specs=(): None)
    found = Home(tmp_path / "home")
    write_lake(found)
    return found


def mlobs(home: Home, *words: str):
    return CliRunner().invoke(main, ["--home", str(home.root), *words])


def test_it_says_what_it_did_and_that_nothing_is_left(home):
    spec = spec_of(home)
    for column in ("b", "a"):
        give_version(home, column)
    Registry.open(home, spec).set_alias("champion", "1")
    Ledger(home, "m").propose(
        "m:promote:2:1", "promote", "approved", "x", as_of=LAST, mode="approve", evidence={"from": "1", "to": "2"}
    )
    done = mlobs(home, "act", "m")
    assert done.exit_code == 0
    assert done.output == "m:promote:2:1: done: Version 2 is champion in place of 1\n"
    again = mlobs(home, "--json", "act")
    assert json.loads(again.output) == {"m": []}
    assert mlobs(home, "act").output == "m: nothing is due\n"


def test_without_mlflow_it_fails_with_one_line(home, monkeypatch):
    spec_of(home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = mlobs(home, "act")
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert "m: MLflow at http://127.0.0.1:9 does not answer" in done.output
