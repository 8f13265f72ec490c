"""Specs against their data: what `mlobs validate` says before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.load import load_all
from mlobs_pipelines.spec.schema import to_yaml
from mlobs_pipelines.store.layout import Home


@dataclass(frozen=True)
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
        UserError: a named model has no file.
    """
    from mlobs_pipelines.ingest.checks import check_sources

    specs, broken = load_all(home.models)
    unknown = sorted(set(models or ()) - {*specs, *broken})
    if unknown:
        known = ", ".join(sorted({*specs, *broken})) or "none"
        raise UserError(f"no model {unknown[0]!r} in {home.models}; known: {known}")
    reports = []
    for name in sorted(models or {*specs, *broken}):
        if name in broken:
            reports.append(ModelReport(name, problems=[str(p) for p in broken[name].problems]))
            continue
        found = check_sources(home, specs[name])
        reports.append(ModelReport(name, found.problems, found.notes, to_yaml(found.resolved, show_defaults=True)))
    return reports
