"""`mlobs alerts`: what was told, what waits, what was given up and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlobs_pipelines.act.alerts.notify import notify
from mlobs_pipelines.act.alerts.send import deliver
from mlobs_pipelines.cli import main
from mlobs_pipelines.store.layout import Home
from tests.act.alerts.world import NIGHT, NOW, Server, World, incident


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(Home(tmp_path / "home"))
    made.alert()
    return made


def mlobs(world: World, *arguments: str):
    return CliRunner().invoke(main, ["--home", str(world.home.root), *arguments])


def test_it_shows_what_was_given_up_with_the_reason_and_sends_it_again(world, tmp_path):
    server = Server("receiver.py", tmp_path / "log", ("404", "200")).start()
    try:
        world.alert(
            (f"webhook+http://127.0.0.1:{server.port}/?secret=SECRET", "critical"),
            ("https://example.com/SECRET", "info"),
        )
        world.conclude(incident())
        notify(world.home, world.spec, NIGHT, now=NOW)
        waits = mlobs(world, "alerts")
        assert "pending" in waits.output
        assert "amount is 100 times what it was" in waits.output
        deliver(world.home, now=NOW)
        shown = mlobs(world, "alerts", "card_fraud")
        assert "dropped" in shown.output
        assert "HTTP 404" in shown.output
        assert "card_fraud: alerts[1].to: an https:// channel must be a Slack webhook" in shown.output
        again = mlobs(world, "alerts", "--retry")
        assert "1 given up before are sent again" in again.output
        assert "1 delivered" in again.output
        found = json.loads(mlobs(world, "--json", "alerts").output)
        assert [(m["state"], m["severity"], m["attempts"]) for m in found["messages"]] == [("delivered", "critical", 1)]
        assert "SECRET" not in waits.output + shown.output + again.output + json.dumps(found)
    finally:
        server.stop()


def test_an_empty_outbox_and_an_unknown_model_say_so(world):
    assert "the outbox is empty" in mlobs(world, "alerts", "--send").output
    wrong = mlobs(world, "alerts", "card_fruad")
    assert wrong.exit_code == 1
    assert "did you mean card_fraud?" in wrong.output
