"""One table of the facts of some nights: predictions that arrived, and labels that did, with the rows they are about."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from mlobs_pipelines.engine import sql
from mlobs_pipelines.ingest.schema import Schema
from mlobs_pipelines.ingest.segments import is_value, value_text
from mlobs_pipelines.profile.plan import Plan, output_columns
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

KEYS = ("arrival_date", "event_date", "version", "role")


def stored_columns(spec: ModelSpec, schema: Schema) -> list[str]:
    """Columns of the lake's predictions that a profile needs beside its keys."""
    outputs = output_columns(spec)
    fields = [f"f_{name}" for name, kind in schema.fields.items() if kind != "embedding"]
    norms = [f"n_{name}" for name, kind in schema.features.items() if kind == "embedding"]
    return [*outputs, *fields, *norms]


def segment_columns(spec: ModelSpec, schema: Schema, admitted: Mapping[str, Sequence[str]] | None) -> list[str]:
    """SQL for each cut's segment of a row, such as ``country=DE & device=ios``.

    A missing value is ``(missing)``; one beyond the ``admitted`` values (None: all are) is ``(other)``.
    """

    def value(name: str) -> str:
        field = schema.field(name)
        kind = schema.fields[field]
        if admitted is None:
            return f"coalesce({value_text(field, kind)}, '(missing)')"
        known = "".join(f" when {is_value(field, kind, v)} then {sql.text(v)}" for v in admitted.get(name, ()))
        return f"(case when {sql.name(f'f_{field}')} is null then '(missing)'{known} else '(other)' end)"

    return [
        " || ' & ' || ".join(f"{sql.text(name + '=')} || {value(name)}" for name in cut) for cut in spec.segment_fields
    ]


def admitted(home: Home, spec: ModelSpec, schema: Schema) -> dict[str, list[str]]:
    """The admitted values of each segment field, by the name the spec gives it."""
    stored = home.lake_nights(spec.model, "segment_values")
    found: set[tuple[str, str]] = set()
    values: dict[str, list[str]] = {}
    for rows in stored.frames(stored.all()):
        found.update(rows.select("field", "value").collect().iter_rows())
    for field, value in sorted(found):
        values.setdefault(field, []).append(value)
    return {name: values.get(schema.field(name), []) for cut in spec.segment_fields for name in cut}


def load_facts(engine: sql.Engine, home: Home, plan: Plan, nights: Sequence[dt.date]) -> None:
    """Make the table ``facts``: a row per prediction (``arrived`` = 1) and per label fact (``sign`` = +1 or -1) of the nights.

    A label fact repeats its prediction's columns, so that a sum over ``facts`` can use both.
    """
    spec, schema = plan.spec, plan.schema
    model = spec.model
    predictions = [home.lake_file(model, "predictions", night) for night in nights]
    label_files = [home.lake_file(model, "label_facts", night) for night in nights]
    engine.keep("label_facts", f"select * from {engine.scan(label_files)}")
    told = engine.rows("select distinct prediction_arrival_date from label_facts order by 1")
    about = home.lake_nights(model, "predictions").kept(night for (night,) in told)
    stored = [sql.name(column) for column in stored_columns(spec, schema)]
    columns = ", ".join(stored)
    segments = "".join(f", {of} as segment_{i}" for i, of in enumerate(segment_columns(spec, schema, plan.admitted)))
    label = label_type(spec)
    parts = [
        f"select 1 as arrived, 0 as sign, arrival_date, event_date, version, role, failed, latency_ms, invalid_fields, "
        f"cast(null as {label}) as label, {columns} from {engine.scan(predictions)}"
    ]
    if about:
        files = [home.lake_file(model, "predictions", night) for night in about]
        named = ", ".join(f"p.{column}" for column in stored)
        parts.append(
            f"select 0 as arrived, l.sign, l.arrival_date, p.event_date, p.version, p.role, p.failed, p.latency_ms, "
            f"p.invalid_fields, cast(l.label as {label}) as label, {named} "
            f"from label_facts l join {engine.scan(files)} p on p.prediction_id = l.prediction_id and p.version = l.version "
            f"and p.role = l.role and p.arrival_date = l.prediction_arrival_date"
        )
    facts = sql.staged(f"(select *{segments} from ({' union all '.join(parts)}))", plan.stages)
    engine.keep("facts", f"select * from {facts}")


def label_type(spec: ModelSpec) -> str:
    """SQL type of the model's labels."""
    return "double" if spec.task == "regression" else "string"
