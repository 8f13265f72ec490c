"""A night whose run fails is an incident that people see, until the night is run well."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration import steps, watchdog
from mlobs_pipelines.orchestration.run import run_model
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import query

pytestmark = pytest.mark.slow

FIRST = dt.date(2026, 1, 1)
SECOND = FIRST + dt.timedelta(days=1)


def shown(home: Home) -> list[tuple[object, ...]]:
    found = query(home, "select kind, severity, state, since, resolved_as_of from incidents")
    return found.rows()


def test_a_failed_run_is_an_incident_until_its_night_is_done(
    home: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    run_model(home, spec, [FIRST])

    def broken(*args: object, **more: object) -> None:
        raise UserError("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(UserError, match="the disk is full"):
        patched.setattr(steps, "measure", broken)
        run_model(home, spec, [SECOND])
    assert shown(home) == [("monitoring", "critical", "open", SECOND, None)]
    assert query(home, "select status, open_incidents from model_health").rows() == [("failed", 1)]
    assert "the disk is full" in query(home, "select title from incidents").item()

    run_model(home, spec, [SECOND])
    assert shown(home) == [("monitoring", "critical", "resolved", SECOND, SECOND)]
    assert query(home, "select status from model_health").item() == "ok"


def test_a_night_that_did_not_come_is_told_once(empty_home: Home, log_day: Callable[..., None]) -> None:
    del log_day
    assert watchdog.tell(empty_home, "m", SECOND, "absent", "the last night in the lake is 2026-01-01")
    assert not watchdog.tell(empty_home, "m", SECOND, "absent", "the last night in the lake is 2026-01-01")
    assert watchdog.tell(empty_home, "m", SECOND, "done")
    assert not watchdog.tell(empty_home, "m", SECOND, "done")
