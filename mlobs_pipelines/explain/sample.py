"""The rows that are explained: a bounded, fixed part of each night's, and of the reference."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import polars as pl

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.ingest.reference import read_reference
from mlobs_pipelines.ingest.registered import with_registered_reference
from mlobs_pipelines.ingest.schema import Schema
from mlobs_pipelines.profile.rows import KEYS, admitted, segment_columns
from mlobs_pipelines.spec.model import ONBOARDING_NIGHTS, ModelSpec
from mlobs_pipelines.store.layout import Home

ROLE = "production"


def night_rows(
    engine: sql.Engine, home: Home, spec: ModelSpec, schema: Schema, wanted: Sequence[dt.date], most: int
) -> pl.DataFrame:
    """Of each night's answered production rows those ``most`` whose ids come first by their MD5, whatever the version.

    Columns: the profile's keys, ``invalid_fields``, the ``f_`` and ``n_`` fields, and ``segment_i`` for each of
    :func:`cuts`; sorted by night and place in the sample.
    """
    files = [home.lake_file(spec.model, "predictions", night) for night in wanted]
    known = admitted(home, spec, schema)
    order = "md5(prediction_id), prediction_id, version"
    # Night by night, for of an order with a limit the engine keeps no more rows than those.
    first = " union all ".join(
        f"(select arrival_date, prediction_id, version, row_number() over (order by {order}) as place from "
        f"(select arrival_date, prediction_id, version from {engine.scan([file])} where role = '{ROLE}' and not failed "
        f"order by {order} limit {most}))"
        for file in files
    )
    columns = ", ".join([*KEYS, "invalid_fields", *_fields(schema), *_segments(spec, schema, known)])
    found = engine.table(
        f"select {columns} from {engine.scan(files)} p join ({first}) using (arrival_date, prediction_id, version) "
        f"where role = '{ROLE}' and not failed order by arrival_date, place"
    )
    return pl.DataFrame(found)


def reference_rows(engine: DuckDBEngine, home: Home, spec: ModelSpec, schema: Schema, most: int) -> pl.DataFrame:
    """Rows of the training data, else of the first nights, those that come first by the MD5 of their content.

    Equal rows are told apart by number, so that each has the same chance. Columns as :func:`night_rows` gives.
    """
    relation = read_reference(home, with_registered_reference(home, spec), schema, engine)
    if relation is None:
        last = schema.decided_on + dt.timedelta(days=ONBOARDING_NIGHTS - 1)
        stored = home.lake_nights(spec.model, "predictions")
        first = stored.between(schema.decided_on, last)
        if stored.let_go(first):
            raise UserError("the first rows, which are the reference, were let go of")
        files = [stored.own(night) for night in first]
        relation = f"(select * from {scan(files)} where not failed and role = '{ROLE}')"
    present = {row[0] for row in engine.rows(f"describe select * from {relation}")}
    invalid = "invalid_fields" if "invalid_fields" in present else "cast(null as varchar) as invalid_fields"
    content = f"cast(row(invalid_fields, {', '.join(_fields(schema))}) as varchar)"
    numbered = (
        f"select *, {content} as content, row_number() over (partition by {content} order by {content}) as copy "
        f"from (select {invalid}, {', '.join(_fields(schema))} from {relation})"
    )
    engine.run(
        "create or replace temp table explained_reference as select * from "
        f"({numbered}) order by md5(content || '#' || copy), content, copy limit {most}"
    )
    keys = f"cast(null as date) as arrival_date, cast(null as date) as event_date, '' as version, '{ROLE}' as role"
    columns = ", ".join([keys, "invalid_fields", *_fields(schema), *_segments(spec, schema, None)])
    return pl.DataFrame(
        engine.table(f"select {columns} from explained_reference order by md5(content || '#' || copy), content, copy")
    )


def cuts(spec: ModelSpec) -> list[tuple[str, ...]]:
    """The segments that explanations are kept for: those of one column."""
    return [cut for cut in spec.segment_fields if len(cut) == 1]


def features_of(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The sampled rows' features under their own names, in the order of ``columns``."""
    return rows.select([pl.col(f"f_{name}").alias(name) for name in columns])


def _fields(schema: Schema) -> list[str]:
    embeddings = [name for name, kind in schema.features.items() if kind == "embedding"]
    return [sql.name(c) for c in [*(f"f_{name}" for name in schema.fields), *(f"n_{name}" for name in embeddings)]]


def _segments(spec: ModelSpec, schema: Schema, known: Mapping[str, Sequence[str]] | None) -> list[str]:
    whole = dict(zip(spec.segment_fields, segment_columns(spec, schema, known), strict=True))
    return [f"{whole[cut]} as segment_{i}" for i, cut in enumerate(cuts(spec))]
