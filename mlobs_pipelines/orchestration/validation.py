"""Specs against their data: what `mlobs validate` says before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlobs_pipelines.act.alerts.channels import channels
from mlobs_pipelines.act.retrain import entrypoint
from mlobs_pipelines.engine import spark
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.ingest.reference import describe_source, infer_schema
from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.spec.load import load_all
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.spec.schema import to_yaml
from mlobs_pipelines.spec.settings import HomeSettings, load_settings
from mlobs_pipelines.store.layout import Home


@dataclass
class ModelReport:
    """What is wrong with a model's file, and what was found out about its data."""

    model: str
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    spec_text: str | None = None

    def as_dict(self, with_spec: bool) -> dict[str, Any]:
        """For programs."""
        document = asdict(self)
        if not with_spec:
            document.pop("spec_text")
        return document


def validate_home(home: Home, models: Sequence[str] | None = None) -> list[ModelReport]:
    """Check every model's file, or those named, against the data it points to.

    Raises:
        UserError: a named model has no file, or the home's settings are wrong.
    """
    settings = load_settings(home.root)
    specs, broken = load_all(home.models)
    unknown = sorted(set(models or ()) - {*specs, *broken})
    if unknown:
        known = ", ".join(sorted({*specs, *broken})) or "none"
        raise UserError(f"no model {unknown[0]!r} in {home.models}; known: {known}")
    reports = []
    for name in sorted(models or {*specs, *broken}):
        if name in broken:
            reports.append(ModelReport(name, problems=[str(problem) for problem in broken[name].problems]))
        else:
            reports.append(_checked(home, specs[name], settings))
    return reports


def _checked(home: Home, spec: ModelSpec, settings: HomeSettings) -> ModelReport:
    report = ModelReport(spec.model)
    for source in ("predictions", "labels", "reference"):
        if getattr(spec, source) is None:
            continue
        try:
            found = describe_source(home, spec, source)
        except UserError as error:
            report.problems.append(str(error))
            continue
        report.problems += found.problems
        files = f"{len(found.files)} file{'s' if len(found.files) != 1 else ''}"
        report.notes.append(f"{source}: {files}, columns {', '.join(found.columns)}")
    report.problems += channels(spec)[1]
    try:
        settings.retention_of(spec)
    except UserError as error:
        report.problems.append(str(error))
    if settings.engine_of(spec) == "spark":
        try:
            spark.check()
        except UserError as error:
            report.problems.append(str(error))
    report.problems += _policy_problems(spec)
    resolved = spec
    try:
        schema = read_schema(home, spec.model) or infer_schema(home, spec)
        by_kind = {
            kind: [name for name, of in schema.features.items() if of == kind] for kind in ("numeric", "categorical")
        }
        resolved = spec.model_copy(update={"features": spec.features.model_copy(update=by_kind)})
        if schema.left_out and spec.features.inferred:
            left = "; ".join(f"{name} ({why})" for name, why in schema.left_out.items())
            report.notes.append(f"left out of the features: {left}")
    except UserError as error:
        if not report.problems:
            report.problems.append(str(error))
    report.spec_text = to_yaml(resolved, show_defaults=True)
    return report


def _policy_problems(spec: ModelSpec) -> list[str]:
    """What the policy names and cannot be used: the function that trains."""
    if spec.policy.retrain.entrypoint is None or spec.policy.retrain.mode == "off":
        return []
    try:
        entrypoint(spec)
    except UserError as error:
        return [f"policy.retrain.entrypoint: {error}"]
    return []
