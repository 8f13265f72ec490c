"""Dagster's events of a night are written at once, and read as from Dagster's own storage."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from mlobs_pipelines.orchestration.event_log import BatchedEventLog
from mlobs_pipelines.orchestration.instance import SETTINGS

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-03-02")
PLANNED, DONE = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_MATERIALIZATION


@dg.multi_asset(
    specs=[dg.AssetSpec(name) for name in ("a", "b")],
    check_specs=[dg.AssetCheckSpec("sound", asset="a")],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def assets():
    yield dg.MaterializeResult(asset_key="a", check_results=[dg.AssetCheckResult(check_name="sound", passed=True)])
    yield dg.MaterializeResult(asset_key="b")


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "dagster.yaml").write_text(SETTINGS)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def replay(instance: dg.DagsterInstance) -> str:
    job = dg.Definitions([assets], jobs=[dg.define_asset_job("job")]).resolve_job_def("job")
    tags = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-03-01"}
    return job.execute_in_process(instance=instance, tags=tags).run_id


def test_a_homes_settings_use_it_and_dagsters_own_storage_reads_what_it_wrote(home):
    with dg.DagsterInstance.get() as instance:
        run = replay(instance)
        assert isinstance(instance.event_log_storage, BatchedEventLog)
        written = [event.dagster_event_type for event in instance.all_logs(run)]
    assert written.count(PLANNED) == written.count(DONE) == 2 * 60
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.get() as instance:
        assert not isinstance(instance.event_log_storage, BatchedEventLog)
        assert len(instance.get_materialized_partitions(dg.AssetKey("b"))) == 60
        assert [event.dagster_event_type for event in instance.all_logs(run)] == written
        assert instance.get_run_by_id(run).is_success


def test_a_batch_opens_each_database_once(home, monkeypatch):
    opened = []
    connect = SqliteEventLogStorage._connect

    def counted(self, shard):
        opened.append(shard)
        return connect(self, shard)

    monkeypatch.setattr(SqliteEventLogStorage, "_connect", counted)
    with dg.DagsterInstance.get() as instance:
        replay(instance)
    assert len(opened) < 60  # one by one: four for each night, planned and done, of each asset


def test_a_batch_that_fails_leaves_nothing_behind(home):
    with dg.DagsterInstance.get() as instance:
        run = replay(instance)
        storage = instance.event_log_storage
        events = [e for e in instance.all_logs(run) if e.dagster_event_type == DONE][:3]
        with pytest.raises(AttributeError):
            storage.store_event_batch([*events, None])
        assert len([e for e in instance.all_logs(run) if e.dagster_event_type == DONE]) == 120
        assert len(instance.fetch_materializations(dg.AssetKey("a"), limit=1000).records) == 60
