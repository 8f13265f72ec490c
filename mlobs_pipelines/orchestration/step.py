# No `from __future__ import annotations` here: Dagster reads the types of a step's arguments, not their names.
"""One step of a model in Dagster: it does all of its work for a run's nights, and reports what the run selected."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from mlobs_pipelines.orchestration.bookkeeping import recorded
from mlobs_pipelines.orchestration.partitions import nights_of
from mlobs_pipelines.orchestration.wiring import RETRIES, Wiring

Result = dg.MaterializeResult[Any] | dg.AssetCheckResult
Work = Callable[[dg.AssetExecutionContext, list[dt.date]], Iterable[Result]]


def step(
    wiring: Wiring, name: str, specs: Sequence[dg.AssetSpec], work: Work, checks: Sequence[dg.AssetCheckSpec] = ()
) -> dg.AssetsDefinition:
    """The assets that one step writes, for a night or many, in the model's pool and under its lock.

    It can be subset, for else Dagster refuses backfills whose selection reaches the assets by different paths.
    """

    @dg.multi_asset(
        name=f"{wiring.model}_{name}",
        specs=specs,
        check_specs=checks,
        partitions_def=wiring.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=RETRIES,
        pool=wiring.pool,
        required_resource_keys={wiring.lock},
        can_subset=True,
    )
    def run(context: dg.AssetExecutionContext) -> Iterator[Result]:
        nights = nights_of(context)
        with recorded(wiring, nights, context):
            yield from _selected(context, work(context, nights))

    return run


def describe(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    rows: Mapping[dt.date, int],
    latest: Mapping[str, Any] | None = None,
) -> None:
    """Say how many rows each night's partition of an asset holds, and more of the last, which its page shows.

    Only of the last, because Dagster stores metadata once a partition.
    """
    if key not in context.selected_asset_keys:
        return
    for night, count in rows.items():
        more = latest if latest and night == max(rows) else {}
        context.add_asset_metadata({"dagster/partition_row_count": count, **more}, key, night.isoformat())


def _selected(context: dg.AssetExecutionContext, results: Iterable[Result]) -> Iterator[Result]:
    assets, checks = context.selected_asset_keys, context.selected_asset_check_keys
    for result in results:
        if isinstance(result, dg.AssetCheckResult):
            if result.asset_key and dg.AssetCheckKey(result.asset_key, str(result.check_name)) in checks:
                yield result
        elif result.asset_key in assets:
            yield result
