"""The rows of a cohort, out of the lake, for a notebook or a spreadsheet."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.ingest.segments import conditions as conditions_of
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home

FORMATS = {
    ".parquet": "format parquet, compression zstd",
    ".csv": "format csv, header true",
    ".jsonl": "format json, array false",
}

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a cell that begins so; CSV text cells get a quote in front (OWASP, CSV injection)."""


def export_cohort(
    home: Home, spec: ModelSpec, segment: str, out: Path, first: dt.date | None = None, last: dt.date | None = None
) -> int:
    """Write the accepted rows of a segment, with the label believed now; gives their number.

    Raises:
        UserError: an unknown field in the segment, another ending than .parquet, .csv or .jsonl, nothing ingested yet.
    """
    if out.suffix not in FORMATS:
        raise UserError(f"{out} ends in {out.suffix or 'nothing'}; use one of {', '.join(FORMATS)}")
    schema = read_schema(home, spec.model)
    stored, told = (home.lake_nights(spec.model, table) for table in ("predictions", "label_facts"))
    done = stored.kept(stored.all())
    if schema is None or not done:
        raise UserError(f"{spec.model} has no rows yet; run it first: mlobs run {spec.model}")
    conditions = ["true", *conditions_of(segment, schema.fields)]
    if first:
        conditions.append(f"p.event_date >= {sql.date(first)}")
    if last:
        conditions.append(f"p.event_date <= {sql.date(last)}")
    facts = [told.own(night) for night in told.all()]
    rows = scan([stored.own(night) for night in done])
    believed = "select null as prediction_id, null as version, null as role, null as label where false"
    if facts:
        believed = (
            f"select prediction_id, version, role, label from {scan(facts)} "
            "group by prediction_id, version, role, label having sum(sign) > 0"
        )
    with DuckDBEngine(home.root / "tmp" / f"{spec.model}.export") as engine:
        columns = engine.rows(f"describe select * from {rows}")
        named = [_named(column, kind, out.suffix == ".csv") for column, kind, *_ in columns]
        query = (
            f"select {', '.join(named)}, l.label from {rows} p left join ({believed}) l on p.prediction_id = l.prediction_id "
            f"and p.version = l.version and p.role = l.role where {' and '.join(conditions)} "
            "order by p.event_time, p.prediction_id, p.version, p.role"
        )
        ((count,),) = engine.rows(f"select count(*) from ({query})")
        with published(out) as draft:
            engine.run(f"copy ({query}) to {sql.text(str(draft))} ({FORMATS[out.suffix]})")
    return int(count)


def _named(column: str, kind: str, spreadsheet: bool) -> str:
    """A lake column under the name that its owner knows."""
    value = f"p.{sql.name(column)}"
    if spreadsheet and kind == "VARCHAR":
        starts = " or ".join(f"starts_with({value}, {_character(c)})" for c in FORMULA)
        value = f"case when {starts} then '''' || {value} else {value} end"
    owner = column[2:] if column.startswith("f_") else column
    return f"{value} as {sql.name(owner)}"


def _character(c: str) -> str:
    return sql.text(c) if c.isprintable() else f"chr({ord(c)})"
