"""The last of a model's assets: the marts that people query, which dbt defines over the evaluation store."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from mlobs_pipelines.engine import dbt as project
from mlobs_pipelines.orchestration import evidence
from mlobs_pipelines.orchestration.alerts import tell
from mlobs_pipelines.orchestration.dbt import model_specs
from mlobs_pipelines.orchestration.step import Result, step
from mlobs_pipelines.orchestration.wiring import Wiring
from mlobs_pipelines.store.journal import JournalError


def marts(wiring: Wiring) -> dg.AssetsDefinition:
    """The store -> decisions, ``results.duckdb``, published whole, and messages; of the marts, what concerns this model."""
    spec, home = wiring.spec, wiring.home

    def work(context: dg.AssetExecutionContext, nights: list[dt.date]) -> Iterator[Result]:
        from mlobs_pipelines.orchestration import steps

        try:
            for line in steps.decide(home, spec, nights):
                context.log.info(line)
        except JournalError as error:  # a log that was tampered with is no reason not to say how the model is
            context.log.error(str(error))
        steps.publish(home, [spec])
        for line in tell(home, spec, nights[-1], now=dt.datetime.now(dt.UTC)):
            context.log.warning(line)
        for key in sorted(context.selected_asset_keys):
            rows, shown = evidence.mart(home, spec.model, key.path[-1])
            latest = {
                "dagster/row_count": rows,
                "first rows": dg.MetadataValue.md(shown),
                "file": dg.MetadataValue.path(home.results),
            }
            context.add_asset_metadata(latest, key, nights[-1].isoformat())
            yield dg.MaterializeResult(asset_key=key)

    return step(wiring, "publish", mart_specs(wiring), work)


def mart_specs(wiring: Wiring) -> list[dg.AssetSpec]:
    """The stored marts of dbt's project as assets of this model; what they read of other things is left out."""
    manifest = project.read_manifest(project.manifest(wiring.home))
    return model_specs(wiring, manifest, ("marts",), known=("metrics", "runs", "incidents"))
