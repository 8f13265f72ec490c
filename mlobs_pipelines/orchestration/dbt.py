"""The one dbt project, once per monitored model: its lineage and its tests in Dagster."""

# No `from __future__ import annotations` here: Dagster reads the types of a step's arguments, not their names.

import contextlib
import importlib.metadata
import io
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliInvocation, DbtCliResource, dbt_assets
from packaging.version import Version

from mlobs_pipelines.engine import dbt as project
from mlobs_pipelines.join import night as label_join
from mlobs_pipelines.orchestration import behind, evidence
from mlobs_pipelines.orchestration.bookkeeping import recorded
from mlobs_pipelines.orchestration.partitions import nights_of
from mlobs_pipelines.orchestration.step import describe
from mlobs_pipelines.orchestration.wiring import RETRIES, Wiring, one_line, progress

BUILD = ("build", "--exclude-resource-type", "unit_test")
"""Arguments for dbt; what to build is added by the run's selection. Unit tests ask the SQL, not the data."""

_ENVIRONMENT = threading.Lock()


class ModelTranslator(DagsterDbtTranslator):  # type: ignore[misc]
    """Names the project's models, and the lake and store tables they read, under the monitored model."""

    def __init__(self, model: str, partitions: dg.PartitionsDefinition[str]) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_source_tests_as_checks=False))
        self.model = model
        self.partitions = partitions

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        return dg.AssetKey([self.model, dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        return self.model

    def get_partitions_def(self, dbt_resource_props: Mapping[str, Any]) -> dg.PartitionsDefinition[str] | None:
        return None if dbt_resource_props["resource_type"] == "source" else self.partitions


class WarehouseDbt(DbtCliResource):  # type: ignore[misc]
    """dbt in a process of its own, against the warehouse that an environment names.

    dbt's version is read from its package and no second adapter is made here: asking the command line and
    loading the adapter into this process would cost some five seconds a call, and hold the warehouse open.
    """

    @cached_property
    def _cli_version(self) -> Version:
        return Version(importlib.metadata.version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        del args

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], target: Path, context: dg.AssetExecutionContext
    ) -> DbtCliInvocation:
        """Start dbt with ``environment`` on top of this process's own, which is left as it was."""
        with _environment(environment):
            return self.cli(arguments, context=context, target_path=target)


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set variables while a subprocess is started: dbt's resource passes on this process's environment only."""
    with _ENVIRONMENT:
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def dbt_resource() -> WarehouseDbt:
    """What the resource ``<model>_dbt`` is."""
    folder = str(project.project_dir())
    beside = Path(sys.executable).with_name("dbt")  # an environment that is not activated has its dbt there
    executable = str(beside) if beside.exists() else "dbt"
    return WarehouseDbt(project_dir=folder, profiles_dir=folder, dbt_executable=executable)


def label_facts(wiring: Wiring) -> dg.AssetsDefinition:
    """Accepted predictions and labels -> the prediction index and the label facts."""
    spec, home = wiring.spec, wiring.home
    facts = wiring.key("label_facts")

    @dbt_assets(  # type: ignore[untyped-decorator]
        manifest=project.manifest(home),
        select="staging join",
        name=f"{wiring.model}_join",
        dagster_dbt_translator=ModelTranslator(wiring.model, wiring.partitions),
        partitions_def=wiring.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=RETRIES,
        pool=wiring.pool,
        required_resource_keys={wiring.lock, wiring.dbt},
    )
    def run(context: dg.AssetExecutionContext) -> Iterator[Any]:
        nights = nights_of(context)
        with recorded(wiring, nights, context):
            affected = behind.affected(home, spec.model, nights)
            environment = label_join.prepare(home, spec, affected)
            events, error = _build(context, wiring, environment)
            if error is None and facts in context.selected_asset_keys:
                label_join.export(home, spec, affected)
                describe(context, facts, evidence.row_counts(home, spec.model, "label_facts", nights))
            yield from events
            if error:
                raise error

    return cast("dg.AssetsDefinition", run)


def _build(
    context: dg.AssetExecutionContext, wiring: Wiring, environment: Mapping[str, str]
) -> tuple[list[Any], Exception | None]:
    """Build and test what the run selects; gives Dagster's events, and the error if dbt ended with one.

    dbt's own output goes to the run's log, and nowhere when the run is in a person's own process.
    """
    dbt: WarehouseDbt = getattr(context.resources, wiring.dbt)
    invocation = dbt.start(BUILD, environment, Path(environment["DBT_TARGET_PATH"]), context)
    events: list[Any] = []
    heard = contextlib.redirect_stdout(io.StringIO()) if progress.get() else contextlib.nullcontext()
    try:
        with heard:
            events.extend(invocation.stream())
    except dg.Failure as error:
        failed = [e.check_name for e in events if isinstance(e, dg.AssetCheckResult) and not e.passed]
        if failed:
            return events, dg.Failure(f"dbt's tests failed: {', '.join(map(str, failed))}", allow_retries=False)
        said = (error.description or "").split("Errors parsed from dbt logs:")[-1]
        return events, dg.Failure(f"dbt failed: {one_line(said)}; see {environment['DBT_TARGET_PATH']}/dbt.log")
    return events, None
