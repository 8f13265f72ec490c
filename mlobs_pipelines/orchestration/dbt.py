"""The one dbt project, once per monitored model: its models as assets, its tests as checks, its build as a step.

Read from dbt's manifest, without importing dbt: that would take longer than loading everything else.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from mlobs_pipelines.engine import dbt as project
from mlobs_pipelines.engine.dbt_process import NodeResult
from mlobs_pipelines.join import night as label_join
from mlobs_pipelines.orchestration import evidence
from mlobs_pipelines.orchestration.step import Result, describe, step
from mlobs_pipelines.orchestration.wiring import Wiring

Node = Mapping[str, Any]
"""One of the manifest's nodes."""


def label_facts(wiring: Wiring) -> dg.AssetsDefinition:
    """Accepted predictions and labels -> their indexes and the label facts."""
    spec, home = wiring.spec, wiring.home
    facts = wiring.key("label_facts")
    manifest = project.read_manifest(project.manifest(home))
    specs = model_specs(wiring, manifest, ("staging", "join"), known=("predictions", "labels"))
    checks = test_specs(manifest, specs)

    def work(context: dg.AssetExecutionContext, nights: list[dt.date]) -> Iterator[Result]:
        from mlobs_pipelines.orchestration import steps

        left = steps.to_join(home, spec, nights)
        environment = label_join.prepare(home, spec, left)
        error: dg.Failure | None = None
        try:
            with steps.freezing(home, spec):
                results = project.run_dbt(_build(context), environment)
        except project.DbtError as failed:
            results = tuple(failed.results)
            broken = [result.name for result in results if result.status == "fail"]
            said = f"dbt's tests failed: {', '.join(broken)}" if broken else str(failed)
            error = dg.Failure(said, allow_retries=not broken)
        if error is None and facts in context.selected_asset_keys:
            steps.publish_facts(home, spec, nights, left)
            describe(context, facts, evidence.row_counts(home, spec.model, "label_facts", nights))
        yield from _events(results, specs, checks)
        if error:
            raise error

    return step(wiring, "join", specs, work, checks)


def model_specs(
    wiring: Wiring, manifest: Mapping[str, Any], folders: Sequence[str], known: Sequence[str]
) -> list[dg.AssetSpec]:
    """The stored models in some of the project's folders as assets of this model.

    Args:
        wiring: the monitored model, whose name is the first part of every key.
        manifest: what dbt made of its project.
        folders: folders below ``models/``.
        known: sources that are assets too; what the models read of others is left out.
    """
    nodes = [manifest["nodes"][name] for name in sorted(manifest["nodes"])]
    models = [n for n in nodes if n["resource_type"] == "model" and n["config"]["materialized"] != "ephemeral"]
    found = [model for model in models if model["fqn"][1] in folders]
    names = {*known, *(model["name"] for model in found)}
    return [
        dg.AssetSpec(
            wiring.key(model["name"]),
            deps=[wiring.key(name) for name in _read_by(model) if name in names],
            description=f"{model['description'].strip()}\n\n#### Raw SQL:\n```sql\n{_indented(model)}\n```",
            group_name=wiring.model,
            partitions_def=wiring.partitions,
            code_version=hashlib.sha256(model["raw_code"].encode()).hexdigest(),
            kinds={"dbt", manifest["metadata"]["adapter_type"]},
            metadata={
                "dagster/table_name": model["relation_name"].replace('"', ""),
                "dagster/column_schema": _columns(model),
                "dbt/unique_id": model["unique_id"],
                "dbt/materialization": model["config"]["materialized"],
            },
        )
        for model in found
    ]


def test_specs(manifest: Mapping[str, Any], assets: Sequence[dg.AssetSpec]) -> list[dg.AssetCheckSpec]:
    """The project's tests of some models as checks that stop a run. A test of two models is of the first it names."""
    keys = {asset.metadata["dbt/unique_id"]: asset.key for asset in assets}
    return [
        dg.AssetCheckSpec(
            test["name"],
            asset=keys[tested],
            blocking=True,
            description=test["description"] or None,
            metadata={"dbt/unique_id": name},
        )
        for name, test in sorted(manifest["nodes"].items())
        if test["resource_type"] == "test" and (tested := test["depends_on"]["nodes"][0]) in keys
    ]


def _build(context: dg.AssetExecutionContext) -> list[str]:
    """Arguments for dbt: build and test what the run selects, and nothing that hangs on it."""
    models = [key.path[-1] for key in context.selected_asset_keys]
    tests = [key.name for key in context.selected_asset_check_keys]
    return ["build", "--indirect-selection", "empty", "--select", *sorted(models + tests)]


def _events(
    results: Sequence[NodeResult], assets: Sequence[dg.AssetSpec], checks: Sequence[dg.AssetCheckSpec]
) -> Iterator[Result]:
    """What Dagster shows of the nodes that were run: a model that was built, a test that passed or not."""
    built = {asset.metadata["dbt/unique_id"]: asset for asset in assets}
    tested = {check.metadata["dbt/unique_id"]: check for check in checks if check.metadata}
    for result in results:
        told: dict[str, str | float] = {
            "dbt/unique_id": result.node,
            "status": result.status,
            "Execution Duration": result.seconds,
        }
        if result.node in built and result.status == "success":
            yield dg.MaterializeResult(asset_key=built[result.node].key, metadata=told)
        elif result.node in tested and result.status != "skipped":
            check = tested[result.node]
            yield dg.AssetCheckResult(
                asset_key=check.asset_key,
                check_name=check.name,
                passed=result.status == "pass",
                description=result.message or None,
                metadata={**told, "failed rows": result.failures or 0},
            )


def _read_by(model: Node) -> list[str]:
    """Names of the models and sources that a model reads."""
    return sorted(name.split(".")[-1] for name in model["depends_on"]["nodes"])


def _indented(model: Node) -> str:
    return textwrap.indent(model["raw_code"], "    ")


def _columns(model: Node) -> dg.TableSchema:
    columns = model["columns"].values()
    return dg.TableSchema([dg.TableColumn(c["name"], c["data_type"] or "?", c["description"]) for c in columns])
