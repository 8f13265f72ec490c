"""The last of a night: what the served version's predictions rest on. Its failure is a warning, never the night's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlobs_pipelines.orchestration import evidence
from mlobs_pipelines.orchestration.step import Result, describe, step
from mlobs_pipelines.orchestration.wiring import Progress, Wiring, one_line, say
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

if TYPE_CHECKING:
    from mlobs_pipelines.explain.night import Report

AFTER = "latest_metrics"
"""A mart: the night waits for nothing that MLflow may delay, so explaining begins when all else is published."""


def explain(
    home: Home, spec: ModelSpec, nights: Sequence[dt.date], run_id: str = "", progress: Progress | None = None
) -> Report:
    """Explain the nights with the models of the registry, and publish what came of it. Whatever goes wrong is a note.

    A model that is in no registry is not explained, and nothing is said of it.
    """
    from mlobs_pipelines.explain.night import Report, explain_nights
    from mlobs_pipelines.registry import Registry
    from mlobs_pipelines.store import results, storage

    registry = Registry.open(home, spec)
    if registry.uri is None:
        return Report()
    try:
        report = explain_nights(home, spec, sorted(nights), registry.load, run_id=run_id, progress=progress)
        if report.rows:
            results.publish(home, [spec])
            storage.commit(home, spec.model)
        return report
    except Exception as error:  # a model's own code and shap may raise anything
        report = Report()
        report.note(f"not explained: {one_line(error)}")
        return report


def explanations(wiring: Wiring) -> dg.AssetsDefinition:
    """Accepted rows and the registry's models -> sums of attributions, and the metrics that come of them."""
    home, spec = wiring.home, wiring.spec
    kinds = {"parquet", "mlflow"}
    profile = wiring.spec_of(
        "shap_profile",
        "Sums of SHAP values per feature and bin, of a bounded sample of each night.",
        ["predictions", "feature_profile", AFTER],
        kinds=kinds,
    )
    measured = wiring.spec_of(
        "explanations",
        "How much each feature matters to the predictions, beside the reference.",
        ["shap_profile"],
        kinds={"parquet", "python"},
    )

    def work(context: dg.AssetExecutionContext, nights: list[dt.date]) -> Iterator[Result]:
        report = explain(home, spec, nights, context.run.run_id, say(context))
        for note in report.notes:
            context.log.warning(note)
        counts = {night: report.rows.get(night, 0) for night in nights}  # none where nothing could be explained
        last = max(nights)
        profiled: dict[str, Any] = {
            "file": dg.MetadataValue.path(home.lake_file(spec.model, "shap_profile", last)),
            "sampled rows": counts[last],
            "notes": dg.MetadataValue.json(list(report.notes)),
        }
        stated: dict[str, Any] = {
            "file": dg.MetadataValue.path(home.store_file("explanations", spec.model, last)),
            "sampled rows": counts[last],
        }
        none = dict.fromkeys(nights, 0)
        describe(context, profile.key, none | evidence.row_counts(home, spec.model, "shap_profile", nights), profiled)
        yield dg.MaterializeResult(asset_key=profile.key)
        describe(context, measured.key, none | evidence.store_counts(home, spec.model, "explanations", nights), stated)
        yield dg.MaterializeResult(asset_key=measured.key)

    return step(wiring, "explain", [profile, measured], work)
