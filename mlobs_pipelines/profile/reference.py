"""The reference's rows, counted like a night's: what every later night is held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest.schema import Schema
from mlobs_pipelines.ingest.segments import value_text
from mlobs_pipelines.profile.embedded import count_reference
from mlobs_pipelines.profile.plan import Plan
from mlobs_pipelines.profile.rows import KEYS, label_type, stored_columns
from mlobs_pipelines.profile.tables import counted, write
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

_DATES = ("arrival_date", "event_date")

COUNTED_ROWS = 20_480
"""Rows that a worker counts at once."""


def write_reference(
    engine: DuckDBEngine, home: Home, spec: ModelSpec, schema: Schema, bins: Mapping[str, Any], relation: str
) -> None:
    """Write the profile tables of a reference: each row arrives with its label, where it has one; all segments are known.

    Args:
        relation: rows with the lake's columns of outputs and fields, and ``label``; what is absent is null.
    """
    query = _as_predictions(engine, spec, schema, relation)

    def rows() -> Iterator[pa.Table]:
        return (pa.Table.from_batches([batch]) for batch in engine.batches(query, COUNTED_ROWS))

    plan = Plan(spec, schema, bins, _values(engine, spec, schema, f"({query})"))
    for table, found in counted(plan, count_reference(plan, rows)).items():
        if table != "traffic_profile":
            undated = dict.fromkeys(_DATES, pa.nulls(found.num_rows, pa.date32()))
            columns = {name: undated.get(name, found[name]) for name in found.column_names}
            write(pa.table(columns), home.reference_file(spec.model, table))


def _values(engine: DuckDBEngine, spec: ModelSpec, schema: Schema, relation: str) -> dict[str, list[str]]:
    """The values of each segment field that rows of predictions have, by the name the spec gives it."""
    found = {}
    for name in dict.fromkeys(name for cut in spec.segment_fields for name in cut):
        field = schema.field(name)
        text = value_text(field, schema.fields[field])
        query = f"select distinct {text} as value from {relation} where {text} is not null order by 1"
        found[name] = [value for (value,) in engine.rows(query)]
    return found


def _as_predictions(engine: DuckDBEngine, spec: ModelSpec, schema: Schema, relation: str) -> str:
    """SQL for the reference's rows as the lake keeps predictions, with their labels."""
    present = set(engine.table(f"select * from {relation} limit 0").column_names)
    label = label_type(spec)

    def kind(column: str) -> str:
        if column == "prediction":
            return label
        return "string" if column[:2] == "f_" and schema.fields.get(column[2:]) == "categorical" else "double"

    stored = {column: kind(column) for column in stored_columns(spec, schema)} | {"invalid_fields": "string"}
    columns = [
        sql.name(column) if column in present else f"cast(null as {of}) as {sql.name(column)}"
        for column, of in stored.items()
    ]
    keys = dict.fromkeys(_DATES, "date '1970-01-01'") | dict.fromkeys(KEYS[2:], "''") | {"role": "'reference'"}
    columns += [f"{value} as {key}" for key, value in keys.items()]
    columns += ["false as failed", "cast(null as double) as latency_ms"]
    columns.append(f"cast({'label' if 'label' in present else 'null'} as {label}) as label")
    return f"select {', '.join(columns)} from {relation}"
