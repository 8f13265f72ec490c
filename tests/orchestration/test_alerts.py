"""Alerts in Dagster: a night that tells, a sensor that sends, and neither that can harm a night."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest

from mlobs_pipelines.act.alerts import outbox
from mlobs_pipelines.orchestration.alerts import outbox_sensor, tell
from mlobs_pipelines.store.layout import Home
from tests.act.alerts.world import NIGHT, NOW, Server, World, incident


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(Home(tmp_path / "home"))
    made.alert()
    return made


def tick(world: World) -> str:
    with dg.DagsterInstance.ephemeral() as instance:
        found = outbox_sensor(world.home).evaluate_tick(dg.build_sensor_context(instance=instance))
    assert found.run_requests == []
    assert found.skip_message is not None
    return found.skip_message


def test_a_night_tells_at_once_and_the_sensor_sends_what_did_not_go(world: World, tmp_path: Path) -> None:
    server = Server("receiver.py", tmp_path / "log", ("500", "200")).start()
    try:
        world.alert((f"webhook+http://127.0.0.1:{server.port}/?secret=s", "critical"))
        before = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
        world.conclude(incident(opened_as_of=before.date()))
        assert tick(world) == "nothing to send"
        notes = tell(world.home, world.spec, before.date(), now=before)
        assert notes[0] == "alerts: 1 to be tried again"
        assert "HTTP 500" in notes[1]
        assert tick(world) == "1 delivered"
        assert tick(world) == "nothing to send"
        assert len(server.got()) == 2
    finally:
        server.stop()


def test_what_goes_wrong_with_alerts_is_a_note_and_not_the_nights(world: World) -> None:
    assert tell(world.home, world.spec, NIGHT, now=NOW) == []
    world.alert(("pagerduty://k?base=http://127.0.0.1:9", "critical"), ("https://example.com/", "info"))
    wrong, why = tell(world.home, world.spec, NIGHT, now=NOW)  # there is no snapshot to read
    assert wrong.startswith("alerts[1].to: an https:// channel must be a Slack webhook")
    assert why.startswith("alerts of card_fraud are not told: ")
    assert "no results" in why
    assert outbox.pending(world.home) == ([], [])


def test_the_sensor_is_on_without_a_hand(world: World) -> None:
    sensor = outbox_sensor(world.home)
    assert sensor.name == "alerts_outbox"
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
