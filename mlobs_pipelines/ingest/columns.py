"""The columns of the lake's tables, and which columns of a delivered file they come from."""

from __future__ import annotations

from mlobs_pipelines.ingest.readers import Column, Opened, UnreadableError
from mlobs_pipelines.ingest.schema import Schema
from mlobs_pipelines.ingest.sources import IngestError, nearest
from mlobs_pipelines.spec.model import LabelsSpec, ModelSpec


def prediction_columns(spec: ModelSpec, schema: Schema | None) -> dict[str, str]:
    """Columns of the lake's predictions and their types, in order."""
    columns = {
        "prediction_id": "VARCHAR",
        "version": "VARCHAR",
        "role": "VARCHAR",
        "event_time": "TIMESTAMP",
        "event_date": "DATE",
        "arrived_at": "TIMESTAMP",
        "arrival_date": "DATE",
    }
    if spec.task == "binary":
        columns["score"] = "DOUBLE"
    columns |= {f"score_{i}": "DOUBLE" for i in range(len(spec.classes) if spec.task == "multiclass" else 0)}
    columns["prediction"] = "DOUBLE" if spec.task == "regression" else "VARCHAR"
    columns |= {
        "latency_ms": "DOUBLE",
        "status": "VARCHAR",
        "failed": "BOOLEAN",
        "subject": "VARCHAR",
        "invalid_fields": "VARCHAR",
    }
    for name, kind in (schema.fields if schema else {}).items():
        columns[f"f_{name}"] = {"numeric": "DOUBLE", "categorical": "VARCHAR", "embedding": "DOUBLE[]"}[kind]
        if kind == "embedding":
            columns[f"n_{name}"] = "DOUBLE"
    return columns


def label_columns(spec: ModelSpec) -> dict[str, str]:
    """Columns of the lake's labels and their types, in order."""
    value = "DOUBLE" if spec.task == "regression" else "VARCHAR"
    return {"prediction_id": "VARCHAR", "label": value, "available_at": "TIMESTAMP", "arrival_date": "DATE"}


def labels_of(spec: ModelSpec) -> LabelsSpec:
    """The spec's labels.

    Raises:
        IngestError: it has none.
    """
    if spec.labels is None:
        raise IngestError(f"model {spec.model} has no labels; add a labels section to its file")
    return spec.labels


def required_columns(spec: ModelSpec, source: str) -> dict[str, str]:
    """Columns without which no row of a file can be placed: {key of the spec: column}."""
    p = spec.predictions
    if source == "labels":
        labels = labels_of(spec)
        return {
            "labels.id": labels.id,
            "labels.value": labels.value,
            "labels.available_at": labels.available_at,
        }
    keys = {"predictions.id": p.id, "predictions.time": p.time}
    keys |= {
        f"predictions.{k}": v for k, v in (("arrived_at", p.arrived_at), ("version", p.version), ("role", p.role)) if v
    }
    keys |= {k: v for k, v in score_columns(spec) if v}
    return keys


def score_columns(spec: ModelSpec) -> list[tuple[str, str]]:
    """(key of the spec, column) of a model's outputs."""
    p = spec.predictions
    if spec.task == "binary":
        return [("predictions.score", p.score or "")]
    if spec.task == "multiclass":
        return [(f"predictions.scores.{k}", v) for k, v in (p.scores or {}).items()]
    return [("predictions.prediction", p.prediction or "")]


def check_columns(opened: Opened, required: dict[str, str]) -> None:
    """Raise UnreadableError, naming key, column and nearest spelling, where a needed column is missing."""
    names = [c.name for c in opened.columns]
    for key, column in required.items():
        if column not in names:
            raise UnreadableError(f"has no column {column!r}, which {key} names{nearest(column, names)}")


def column_of(opened: Opened, name: str) -> Column:
    """The column of exactly this name; raises UnreadableError, naming the nearest spelling, where there is none."""
    column = opened.column(name)
    if column is None:
        raise UnreadableError(f"has no column {name!r}{nearest(name, [c.name for c in opened.columns])}")
    return column
