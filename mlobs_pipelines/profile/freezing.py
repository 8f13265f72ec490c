"""Freezing what later nights are held against: a model's bins, and its reference counted with them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.ingest.reference import read_reference
from mlobs_pipelines.ingest.registered import with_registered_reference
from mlobs_pipelines.ingest.schema import Schema, read_schema
from mlobs_pipelines.profile.bins import column_values, feature_bins, numeric_bins, read_bins, score_edges, write_bins
from mlobs_pipelines.profile.reference import write_reference
from mlobs_pipelines.spec.model import ONBOARDING_NIGHTS, ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.tasks import task_of


def freeze_given(home: Home, spec: ModelSpec) -> None:
    """Freeze the bins of a model whose reference is given, and count that: once, for it needs no night's facts.

    Nothing is done where they are frozen, where neither the spec nor MLflow has a reference, and before the model has a row.

    Raises:
        IngestError: the reference can't be read.
    """
    schema, bins = read_schema(home, spec.model), read_bins(home.bins_file(spec.model))
    if schema is None or (bins is not None and bins["frozen_on"] is not None):
        return
    with DuckDBEngine(home.root / "tmp" / f"{spec.model}.profile") as engine:
        if given := read_reference(home, with_registered_reference(home, spec), schema, engine):
            bins = _frozen(engine, spec, schema, given)
            write_reference(engine, home, spec, schema, bins, given)
            write_bins(home.bins_file(spec.model), bins)


def frozen_after(
    engine: DuckDBEngine,
    home: Home,
    spec: ModelSpec,
    schema: Schema,
    bins: dict[str, Any] | None,
    wanted: Sequence[dt.date],
) -> tuple[dict[str, Any] | None, list[dt.date]]:
    """The bins after the wanted nights, and earlier nights whose features can only now be profiled.

    Where no reference was given, the first nights are it. The caller writes the bins once it has counted those nights.
    """
    if bins is not None and bins["frozen_on"] is not None:
        return bins, []
    if bins is None:
        bins = _outputs_only(engine, home, spec, wanted)
    first = schema.decided_on
    complete = first + dt.timedelta(days=ONBOARDING_NIGHTS - 1)
    if bins is None or wanted[-1] < complete:
        return bins, []
    stored = home.lake_nights(spec.model, "predictions")
    onboarding = stored.between(first, complete)
    if stored.let_go(onboarding):
        raise UserError(
            f"{spec.model}: the first rows, which are its reference, were let go of; put {home.bins_file(spec.model)} back"
        )
    files = [stored.own(night) for night in onboarding]
    rows = f"(select * from {scan(files)} where not failed)"
    bins = {
        **bins,
        "features": feature_bins(engine, rows, schema.features),
        "frozen_on": next(night for night in wanted if night >= complete).isoformat(),
        "reference": "onboarding",
    }
    write_reference(engine, home, spec, schema, bins, _with_labels(home, spec, onboarding, rows))
    return bins, stored.between(dt.date.min, wanted[-1])


def _with_labels(home: Home, spec: ModelSpec, onboarding: Sequence[dt.date], rows: str) -> str:
    """The onboarding rows with the labels believed at their end."""
    files = [home.lake_file(spec.model, "label_facts", night) for night in onboarding]
    believed = (
        f"select prediction_id, version, role, label from {scan(files)} "
        "group by prediction_id, version, role, label having sum(sign) > 0"
    )
    return (
        f"(select p.*, l.label from {rows} p left join ({believed}) l on p.prediction_id = l.prediction_id "
        "and p.version = l.version and p.role = l.role)"
    )


def _outputs_only(
    engine: DuckDBEngine, home: Home, spec: ModelSpec, wanted: Sequence[dt.date]
) -> dict[str, Any] | None:
    """Bins of the outputs alone, so that performance is measured before the reference is complete."""
    outputs = task_of(spec).output_bins()
    if outputs is None:
        for night in wanted:
            rows = (
                f"(select prediction from {scan([home.lake_file(spec.model, 'predictions', night)])} where not failed)"
            )
            values = column_values(engine, rows, "prediction")
            if len(values):
                outputs = _regression_bins(numeric_bins(values), None)
                break
        else:
            return None
    return {"frozen_on": None, "reference": "", "features": {}, "outputs": outputs}


def _regression_bins(prediction: dict[str, Any], label: dict[str, Any] | None) -> dict[str, Any]:
    label = label or prediction
    return {"prediction": prediction, "label": label, "error": {"unit": label["unit"]}}


def _frozen(engine: DuckDBEngine, spec: ModelSpec, schema: Schema, relation: str) -> dict[str, Any]:
    """The bins of a reference that was given: they hold from the first night on."""
    outputs = task_of(spec).output_bins()
    present = {row[0] for row in engine.rows(f"describe select * from {relation}")}
    if outputs is None:
        found = {c: numeric_bins(column_values(engine, relation, c)) for c in ("prediction", "label") if c in present}
        label = found.get("label")
        prediction = found.get("prediction") or label
        if prediction is None:
            raise ValueError(f"{spec.model}: the reference has neither the prediction nor the label of a regression")
        outputs = _regression_bins(prediction, label)
    else:
        for i, frozen in enumerate(outputs.values()):
            column = "score" if spec.task == "binary" else f"score_{i}"
            if column in present:
                frozen["edges"] = score_edges(frozen["edges"], column_values(engine, relation, column))
    features = feature_bins(engine, relation, schema.features)
    first = schema.decided_on.isoformat()
    return {"frozen_on": first, "reference": "training", "features": features, "outputs": outputs}
