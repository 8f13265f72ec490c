# No `from __future__ import annotations` here: Dagster reads the types of a step's arguments, not their names.
"""The last of a model's assets: the marts that people query, which dbt defines over the evaluation store."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt.dbt_manifest import validate_manifest

from mlobs_pipelines.engine import dbt as project
from mlobs_pipelines.orchestration import evidence
from mlobs_pipelines.orchestration.bookkeeping import recorded
from mlobs_pipelines.orchestration.dbt import ModelTranslator
from mlobs_pipelines.orchestration.partitions import nights_of
from mlobs_pipelines.orchestration.wiring import Wiring


def marts(wiring: Wiring) -> dg.AssetsDefinition:
    """The store -> ``results.duckdb``, published whole; of it, what concerns this model."""
    spec, home = wiring.spec, wiring.home

    @dg.multi_asset(name=f"{wiring.model}_publish", specs=mart_specs(wiring), **wiring.step)
    def run(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        from mlobs_pipelines.orchestration import steps

        nights = nights_of(context)
        with recorded(wiring, nights, context):
            steps.publish(home, [spec])
        for key in sorted(context.selected_asset_keys):
            rows, shown = evidence.mart(home, spec.model, key.path[-1])
            yield dg.MaterializeResult(
                asset_key=key,
                metadata={
                    "dagster/row_count": rows,
                    "first rows": dg.MetadataValue.md(shown),
                    "file": dg.MetadataValue.path(home.results),
                },
            )

    return run


def mart_specs(wiring: Wiring) -> list[dg.AssetSpec]:
    """The stored marts of dbt's project as assets of this model; what they read of other things is left out."""
    manifest = validate_manifest(project.manifest(wiring.home))
    translator = ModelTranslator(wiring.model, wiring.partitions)
    known = {wiring.key(name) for name in ("metrics", "runs")}
    found = {
        node_id: translator.get_asset_spec(manifest, node_id, None)
        for node_id, node in sorted(manifest["nodes"].items())
        if node["resource_type"] == "model" and "marts" in node["fqn"] and node["config"]["materialized"] != "ephemeral"
    }
    known |= {spec.key for spec in found.values()}
    return [
        spec.replace_attributes(deps=[dep for dep in spec.deps if dep.asset_key in known], skippable=False)
        for spec in found.values()
    ]
