"""Sensors start what is due, once, and ask MLflow only when that can matter; jobs do it."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mlobs_pipelines.act.ledger import Ledger
from mlobs_pipelines.orchestration.loop import loop_jobs, loop_sensors
from mlobs_pipelines.orchestration.wiring import Wiring
from mlobs_pipelines.registry import Registry
from mlobs_pipelines.store.journal import decisions, verify
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import query
from tests.act.small_home import DAYS, FIRST, LAST, day, finish_night, give_version, spec_of, write_lake
from tests.orchestration.dagster_dev import dagster_dev
from tests.registry.mlflow_store import Server, client_of


@pytest.fixture
def wiring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wiring:
    """A model with forty days of rows, in a home without a registry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("mlobs_pipelines.store.results.publish", lambda home, specs=(): None)
    home = Home(tmp_path / "home")
    write_lake(home)
    return Wiring(home, spec_of(home), FIRST)


def tick(
    wiring: Wiring, name: str, instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[list[str], str | None]:
    """Run keys that a sensor asks for, and its cursor; a reason to skip counts as no key."""
    sensor = next(s for s in loop_sensors(wiring) if s.name == f"m_{name}")
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        found = sensor.evaluate_tick(context)
    return [str(request.run_key) for request in found.run_requests or []], found.cursor


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def propose(wiring: Wiring, decision_id: str, status: str, **evidence: str) -> None:
    action = decision_id.split(":")[1]
    Ledger(wiring.home, "m").propose(
        decision_id, action, status, "x", as_of=LAST, mode="approve", evidence=evidence, version="2"
    )


def champion(wiring: Wiring) -> Registry:
    give_version(wiring.home, "b")
    registry = Registry.open(wiring.home, wiring.spec)
    registry.set_alias("champion", "1")
    return registry


def test_without_a_registry_and_a_decision_nothing_is_due(wiring, instance):
    for name in ("retrain", "validate_candidate", "promote"):
        assert tick(wiring, name, instance)[0] == []


def test_an_approved_training_is_started_once(wiring, instance):
    propose(wiring, "m:retrain:i", "pending")
    assert tick(wiring, "retrain", instance)[0] == []
    ledger = Ledger(wiring.home, "m")
    ledger.turn(ledger.current()[0], "approved", "yes", actor="ann")
    first, _ = tick(wiring, "retrain", instance)
    assert len(first) == 1
    assert tick(wiring, "retrain", instance)[0] == first, "the same key starts nothing again"


def test_while_a_job_is_at_it_no_other_is_started(wiring, instance):
    propose(wiring, "m:retrain:i", "approved")
    job = next(j for j in loop_jobs(wiring) if j.name == "m_retrain")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert tick(wiring, "retrain", instance)[0] == []
    instance.delete_run(run.run_id)
    assert len(tick(wiring, "retrain", instance)[0]) == 1


def test_what_failed_without_a_word_in_the_log_is_tried_again_after_a_pause_that_doubles(wiring, instance, monkeypatch):
    propose(wiring, "m:retrain:i", "approved")
    job = next(j for j in loop_jobs(wiring) if j.name == "m_retrain")
    sensor = next(s for s in loop_sensors(wiring) if s.name == "m_retrain")
    now = time.time()
    keys: set[str] = set()
    for pause in (30, 60, 120):
        with dg.build_sensor_context(instance=instance) as context:
            (request,) = sensor.evaluate_tick(context).run_requests or []
        keys.add(str(request.run_key))
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=request.tags)
        monkeypatch.setattr(time, "time", lambda: now)  # noqa: B023
        instance.report_run_failed(run)
        monkeypatch.setattr(time, "time", lambda: now + pause - 1)  # noqa: B023
        assert tick(wiring, "retrain", instance) == ([], "due"), "too early"
        now += pause + 1
        monkeypatch.setattr(time, "time", lambda: now)  # noqa: B023
    assert len(keys) == 3, "each try has its own key, else it would start nothing"


def test_a_new_version_is_noticed_and_compared_by_the_job(wiring, instance):
    registry = champion(wiring)
    keys, cursor = tick(wiring, "validate_candidate", instance)
    assert keys == []
    assert cursor is not None
    give_version(wiring.home, "a", mlobs__trained_through=str(day(20)))
    keys, cursor = tick(wiring, "validate_candidate", instance, cursor)
    assert len(keys) == 1
    assert cursor == "due", "it is looked at until it is done"
    job = next(j for j in loop_jobs(wiring) if j.name == "m_validate_candidate")
    assert job.execute_in_process(instance=instance).success
    assert registry.versions()[1].tags["mlobs.verdict"] == "better"
    assert tick(wiring, "validate_candidate", instance, cursor)[0] == []


def test_a_store_that_did_not_change_is_not_asked_again(wiring, instance, monkeypatch):
    champion(wiring)
    _, cursor = tick(wiring, "validate_candidate", instance)

    def asked(self):
        raise AssertionError("MLflow was asked")

    with monkeypatch.context() as m:
        m.setattr(Registry, "aliases", asked)
        assert tick(wiring, "validate_candidate", instance, cursor)[0] == []
        finish_night(wiring.home, LAST + dt.timedelta(days=1))
        with pytest.raises(AssertionError, match="was asked"):
            tick(wiring, "validate_candidate", instance, cursor)


def test_a_version_that_waits_for_labels_is_looked_at_once_a_night(wiring, instance):
    champion(wiring)
    give_version(wiring.home, "a", mlobs__trained_through=str(day(DAYS - 10)))
    job = next(j for j in loop_jobs(wiring) if j.name == "m_validate_candidate")
    job.execute_in_process(instance=instance)
    before, _ = tick(wiring, "validate_candidate", instance)
    finish_night(wiring.home, LAST + dt.timedelta(days=1))
    after, _ = tick(wiring, "validate_candidate", instance)
    assert len(before) == len(after) == 1
    assert before != after


def test_a_pending_promotion_waits_for_a_word_and_a_tag_is_one(wiring, instance):
    registry = champion(wiring)
    give_version(wiring.home, "a")
    propose(wiring, "m:promote:2:1", "pending", **{"from": "1", "to": "2"})
    assert tick(wiring, "promote", instance)[0] == []
    registry.set_tags("2", {"mlobs.approve": "ann"})
    assert len(tick(wiring, "promote", instance)[0]) == 1
    job = next(j for j in loop_jobs(wiring) if j.name == "m_promote")
    assert job.execute_in_process(instance=instance).success
    assert registry.aliases() == {"champion": "2", "previous_champion": "1"}
    assert tick(wiring, "promote", instance)[0] == []


def test_without_mlflow_a_sensor_skips_with_the_reason_and_a_job_fails_with_one_line(wiring, instance, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    sensor = next(s for s in loop_sensors(wiring) if s.name == "m_validate_candidate")
    with dg.build_sensor_context(instance=instance) as context:
        found = sensor.evaluate_tick(context)
    assert "does not answer" in str(found.skip_message)
    job = next(j for j in loop_jobs(wiring) if j.name == "m_validate_candidate")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    said = failure.step_failure_data.user_failure_data
    assert said is not None
    assert "does not answer" in str(said.description)


def test_looking_costs_no_import_of_mlflow_where_nothing_can_be_due(tmp_path):
    code = (
        "import sys, dagster as dg, mlobs_pipelines.orchestration.loop\n"
        "sys.exit(any(m in sys.modules for m in ('mlflow', 'sklearn', 'shap')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_with_a_real_daemon_a_version_made_by_hand_is_compared_and_a_tag_promotes_it_though_mlflow_dies_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path / "mlflow")
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    home = Home(tmp_path / "home")
    write_lake(home)
    spec = spec_of(home)
    give_version(home, "b", server.uri)
    registry = Registry.open(home, spec)
    registry.set_alias("champion", "1")
    try:
        with dagster_dev(home) as dagster:
            give_version(home, "a", server.uri, mlobs__trained_through=str(day(20)))

            def status(decision_id: str) -> str:
                row = Ledger(home, "m").find(decision_id)
                return str(row["status"]) if row else ""

            def dies_while(decision_id: str, at_it: tuple[str, ...]) -> None:
                """Kill MLflow as soon as the loop is at it, let the loop meet a dead server, and bring it back."""
                dagster.until(lambda: status(decision_id) in at_it, 180, every=0.05)
                server.kill()
                time.sleep(8)
                assert verify(home) == []
                server.start()

            dies_while("m:validate:2:1", ("approved", "running"))
            dagster.until(lambda: status("m:promote:2:1") == "pending", 180)
            client_of(server.uri).set_model_version_tag("m", "2", "mlobs.approve", "ann")
            dies_while("m:promote:2:1", ("approved", "running"))
            dagster.until(lambda: status("m:promote:2:1") == "done", 180)
            assert registry.aliases() == {"champion": "2", "previous_champion": "1"}
            dagster.until(lambda: query(home, "select * from comparisons").height > 0, 60)
            log = decisions(home, "m")
            assert sorted(log.filter(status="done")["decision_id"]) == ["m:promote:2:1", "m:validate:2:1"], "each once"
            said = log.filter(~pl.col("reason").str.starts_with("Waits: "))
            assert said.filter(action="promote")["status"].to_list()[:2] == ["pending", "approved"]
            assert said.filter(action="promote", status="approved")["actor"].to_list() == ["mlflow:ann"]
            assert verify(home) == []
            assert [v.version for v in registry.versions()] == ["1", "2"]
    finally:
        server.kill()
