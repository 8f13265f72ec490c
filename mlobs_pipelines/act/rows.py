"""The lake -> rows with labels that are final: what a model is trained on, and two versions are compared on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mlobs_pipelines.engine import sql
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.ingest.segments import conditions
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.engine import rows_engine
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.nights import patiently
from mlobs_pipelines.store.people import newest
from mlobs_pipelines.store.tables import INCIDENTS

RESERVED = ("prediction_id", "event_date", "label")
"""Columns of the rows beside the logged fields, which keep their owner's names."""

MOST_ROWS = 2_000_000
"""Of more rows than this a sample is taken, the same every time: by a hash of the prediction's id."""


class RowsError(UserError):
    """There are no rows to train on or to compare with."""


@dataclass(frozen=True)
class Poisoned:
    """Days on which a broken input was recorded: of all rows, or of one segment's."""

    first: dt.date
    last: dt.date
    segment: str
    incident_id: str


def poisoned(incidents: pl.DataFrame) -> list[Poisoned]:
    """What a model must not learn from: the days of every data fault above ``info``.

    Args:
        incidents: schema ``INCIDENTS``, of any nights; of each incident the newest row counts.
    """
    faults = newest(incidents).filter((pl.col("kind") == "data_fault") & (pl.col("severity") != "info"))
    found = [
        Poisoned(row["since"], row["until"] or row["as_of"], row["segment"] or "", row["incident_id"])
        for row in faults.iter_rows(named=True)
        if row["since"] is not None
    ]
    return sorted(found, key=lambda p: (p.first, p.last, p.segment, p.incident_id))


def known_incidents(home: Home, model: str, as_of: dt.date) -> pl.DataFrame:
    """Each incident as the newest night up to ``as_of`` knows it; schema ``INCIDENTS``."""
    stored = home.store_nights("incidents", model)

    def read() -> pl.DataFrame:
        frames = stored.frames(stored.between(dt.date.min, as_of), schema=INCIDENTS, extra_columns="ignore")
        return pl.concat([pl.LazyFrame(schema=INCIDENTS), *frames]).collect()

    return newest(patiently(read))


def newest_night(home: Home, model: str) -> dt.date | None:
    """The newest night of a model that was measured."""
    measured = home.store_nights("metrics", model).all()
    return measured[-1] if measured else None


def matured_days(home: Home, spec: ModelSpec, as_of: dt.date) -> list[dt.date]:
    """Event dates with production rows whose labels are final at the end of ``as_of``, ascending."""
    files = files_of(home, spec.model, "predictions", as_of)
    if not files:
        return []
    last = as_of - dt.timedelta(days=spec.maturity_days)
    with rows_engine(home, spec, _spill(home, spec)) as engine:
        found = engine.rows(
            f"select distinct event_date from {engine.scan(files)} where role = 'production' and not failed "
            f"and event_date <= {sql.date(last)} order by 1"
        )
    return [day for (day,) in found]


def matured_rows(
    home: Home,
    spec: ModelSpec,
    first: dt.date,
    last: dt.date,
    as_of: dt.date,
    without: Sequence[Poisoned] = (),
) -> pl.DataFrame:
    """Production's rows of some event dates, with the label that was believed at the end of ``as_of``.

    Each prediction once; failed requests, days whose labels are not final, rows that have no label by then, and
    ``without`` are left out. Where silence means negative, it has spoken by then.

    Returns:
        ``prediction_id``, ``event_date``, ``label`` (binary: Int8, 1 is the positive class; multiclass: the class;
        regression: Float64), and every logged field under its owner's name: features, segments, attributes. By date
        and id.

    Raises:
        RowsError: nothing was taken in yet, the model has no labels, or a field has the name of one of these columns.
    """
    schema = read_schema(home, spec.model)
    predictions = files_of(home, spec.model, "predictions", as_of)
    facts = files_of(home, spec.model, "label_facts", as_of)
    if spec.labels is None:
        raise RowsError(f"{spec.model} has no labels in its spec, so there is nothing to learn from")
    if schema is None or not predictions or not facts:
        raise RowsError(f"{spec.model} has no labelled rows yet; run it first: mlobs run {spec.model}")
    taken = sorted({name for name in schema.fields if name.lower() in RESERVED})
    if taken:
        raise RowsError(
            f"{spec.model} logs a field named {', '.join(taken)}, which training needs for itself; rename it"
        )
    last = min(last, as_of - dt.timedelta(days=spec.maturity_days))
    label = {
        "binary": f"cast(label = {sql.text(spec.positive_class)} as tinyint)",
        "multiclass": "label",
        "regression": "cast(label as double)",
    }[spec.task]
    fields = ", ".join(f"{sql.name(f'f_{name}')} as {sql.name(name)}" for name in schema.fields)
    bad = [
        f"(event_date between {sql.date(p.first)} and {sql.date(p.last)}"
        + "".join(f" and coalesce({condition}, false)" for condition in conditions(p.segment, schema.fields))
        + ")"
        for p in without
    ]
    kept = " and ".join(f"not {condition}" for condition in bad) or "true"
    span = f"event_date between {sql.date(first)} and {sql.date(last)}"
    with rows_engine(home, spec, _spill(home, spec)) as engine:
        query = f"""
            with ranked as (
                select *, row_number() over (partition by prediction_id order by arrival_date desc, version desc) as place
                from {engine.scan(predictions)} where role = 'production' and not failed and {span} and {kept}
            ),
            believed as (
                select prediction_id, version, label from {engine.scan(facts)} where role = 'production' and {span}
                group by prediction_id, version, label having sum(sign) > 0
            )
            select prediction_id, event_date, {label} as label, {fields}
            from ranked inner join believed using (prediction_id, version) where place = 1
            order by md5(prediction_id), prediction_id limit {MOST_ROWS}
        """
        found = pl.DataFrame(engine.table(query))
    return found.sort("event_date", "prediction_id")


def files_of(home: Home, model: str, table: str, as_of: dt.date) -> list[Path]:
    """A lake table's files of the nights up to ``as_of`` whose rows were not let go of."""
    stored = home.lake_nights(model, table)
    return [stored.own(night) for night in stored.kept(stored.between(dt.date.min, as_of))]


def _spill(home: Home, spec: ModelSpec) -> Path:
    return home.root / "tmp" / f"{spec.model}.rows"
