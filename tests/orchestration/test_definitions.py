"""What a YAML file adds to Dagster: everything, in one text; and what a broken one does not take away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from mlobs_pipelines.orchestration.home import build_home
from mlobs_pipelines.store.layout import Home

SNAPSHOT = Path(__file__).with_name("definitions.txt")


def described(defs: dg.Definitions) -> Iterator[str]:
    """One line for everything that Dagster would show."""
    graph = defs.resolve_asset_graph()
    steps = {key: a for a in defs.assets or () if isinstance(a, dg.AssetsDefinition) for key in a.keys}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        if node.is_external:
            kind = "external"
        else:
            step = steps[key]
            parts = node.partitions_def
            assert isinstance(parts, dg.DailyPartitionsDefinition)
            kind = (
                f"step {step.node_def.name}, pool {step.op.pool}, daily from {parts.start:%Y-%m-%d} {parts.timezone}, "
                f"retries {step.op.retry_policy.max_retries if step.op.retry_policy else 0}, "
                f"{'one run a backfill' if node.backfill_policy == dg.BackfillPolicy.single_run() else 'many runs'}"
            )
        deps = ", ".join(k.to_user_string() for k in sorted(node.parent_keys))
        yield f"asset {key.to_user_string()} <- [{deps}] group {node.group_name}: {kind}"
    for check in sorted(graph.asset_check_keys, key=lambda k: k.to_user_string()):
        blocks = "blocks" if graph.get(check).blocking else "tells"
        yield f"check {check.asset_key.to_user_string()}: {check.name} {blocks}"
    for job in sorted(defs.jobs or (), key=lambda j: j.name):
        resolved = defs.resolve_job_def(job.name)
        steps_run = ", ".join(sorted(n.name for n in resolved.nodes))
        yield f"job {job.name}: {resolved.executor_def.name}: {steps_run}"
    for schedule in sorted(defs.schedules or (), key=lambda s: s.name):
        assert isinstance(schedule, dg.ScheduleDefinition)
        yield (
            f"schedule {schedule.name}: {schedule.cron_schedule} {schedule.execution_timezone} of {schedule.job_name}, "
            f"{schedule.default_status.value.lower()}"
        )
    for sensor in sorted(defs.sensors or (), key=lambda s: s.name):
        yield f"sensor {sensor.name}: every {sensor.minimum_interval_seconds} s, {sensor.default_status.value.lower()}"
    for resource in sorted(defs.resources or {}):
        yield f"resource {resource}"


def test_a_yaml_file_adds_exactly_this(home: Home) -> None:
    """After a wanted change: MLOBS_UPDATE=1 pytest tests/orchestration/test_definitions.py, and read the diff."""
    text = "\n".join(described(build_home(home))) + "\n"
    if os.environ.get("MLOBS_UPDATE"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8")


def test_a_home_without_models_loads(empty_home: Home) -> None:
    assert list(described(build_home(empty_home))) == ["sensor alerts_outbox: every 30 s, running"]


def test_raw_tables_lead_to_the_metrics_through_dbt(home: Home) -> None:
    graph = build_home(home).resolve_asset_graph()
    seen: set[str] = set()
    waiting = [dg.AssetKey(["card_fraud", "metrics"])]
    while waiting:
        key = waiting.pop()
        seen.add(key.path[-1])
        waiting.extend(graph.get(key).parent_keys)
    assert {"raw_predictions", "raw_labels", "predictions", "stg_labels", "label_facts", "output_profile"} <= seen
    assert "dbt" in graph.get(dg.AssetKey(["card_fraud", "label_facts"])).kinds


def test_a_broken_file_takes_down_its_own_model_only(home: Home) -> None:
    alone = set(described(build_home(home)))
    text = home.spec_file("card_fraud").read_text(encoding="utf-8")
    home.spec_file("other").write_text(text.replace("card_fraud", "other").replace("task: binary", "taks: binary"))

    both = build_home(home)

    assert alone <= set(described(both))
    broken = both.resolve_asset_graph().get(dg.AssetKey(["other", "broken_spec"]))
    assert broken.group_name == "other"
    assert "taks" in (broken.description or "")
    assert "task" in (broken.description or "")


def test_a_broken_file_is_a_failing_check_until_it_is_mended(home: Home) -> None:
    path = home.spec_file("other")
    path.write_text("model: other\ntask: juggling\n", encoding="utf-8")
    check = next(c for c in build_home(home).asset_checks or () if c.check_key.name == "spec_is_valid")

    def outcome() -> bool:
        result = dg.materialize([check], instance=instance, selection=dg.AssetSelection.all_asset_checks())
        return result.get_asset_check_evaluations()[0].passed

    with dg.DagsterInstance.ephemeral() as instance:
        assert not outcome()
        path.write_text(home.spec_file("card_fraud").read_text().replace("card_fraud", "other"), encoding="utf-8")
        assert outcome()


def test_two_models_share_nothing_but_the_code(home: Home) -> None:
    text = home.spec_file("card_fraud").read_text(encoding="utf-8")
    home.spec_file("second").write_text(text.replace("card_fraud", "second"), encoding="utf-8")
    graph = build_home(home).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert {parent.path[0] for parent in graph.get(key).parent_keys} <= {key.path[0]}
