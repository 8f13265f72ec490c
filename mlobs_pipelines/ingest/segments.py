"""Values of segment columns that are admitted as segments: the most frequent of the night they first came, 100 at most."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.ingest.schema import Schema
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

MOST_VALUES = 100
"""Values per field over all nights; rows of other values are counted under '(other)'."""


def value_text(field: str, kind: str) -> str:
    """SQL for a field's value as a segment names it."""
    column = sql.name(f"f_{field}")
    if kind != "numeric":
        return f"cast({column} as string)"
    whole = f"abs({column}) < 1e15 and {column} = floor({column})"
    return f"case when {whole} then cast(cast({column} as bigint) as string) else cast({column} as string) end"


def conditions(segment: str, fields: Mapping[str, str]) -> list[str]:
    """SQL that is true for the rows of a segment, a condition for each of its fields; none for '', which is all rows.

    Raises:
        UserError: the segment names a field that is not stored.
    """
    found = []
    for part in filter(None, segment.split(" & ")):
        field, equals, value = part.partition("=")
        if not equals or field not in fields:
            known = ", ".join(sorted(fields))
            raise UserError(
                f"segment {segment!r}: {field!r} is not a stored field; write field=value with one of {known}"
            )
        column = sql.name(f"f_{field}")
        found.append(f"{column} is null" if value == "(missing)" else is_value(field, fields[field], value))
    return found


def is_value(field: str, kind: str, value: str) -> str:
    """SQL for whether a field has the value that a segment names; null where it has none.

    Numbers are compared as such: engines do not write all of them alike.
    """
    if kind != "numeric":
        return f"{value_text(field, kind)} = {sql.text(value)}"
    try:
        return f"{sql.name(f'f_{field}')} = {sql.number(float(value))}"
    except ValueError:
        return "false"


class SegmentValues:
    """Admits values night by night, from each running night's file of accepted predictions."""

    def __init__(
        self, home: Home, spec: ModelSpec, engine: DuckDBEngine, schema: Schema | None, running: Mapping[date, Path]
    ) -> None:
        self._engine = engine
        self._admitted: dict[str, set[str]] = {}
        self._new: dict[date, list[tuple[str, str]]] = {n: [] for n in running}
        if schema is None:
            return
        folded = {f.lower(): f for f in schema.fields}
        named = [name for cut in spec.segment_fields for name in cut]
        fields = list(
            dict.fromkeys(
                name if name in schema.fields else folded[name.lower()] for name in named if name.lower() in folded
            )
        )
        stored = home.lake_nights(spec.model, "segment_values")
        if others := stored.relation(night for night in stored.all() if night not in running):
            for field, value in engine.rows(f"select field, value from {others}"):
                self._admitted.setdefault(field, set()).add(value)
        # A night before the schema was decided has no fields.
        files = [file for night, file in running.items() if night >= schema.decided_on]
        for field in fields if files else ():
            self._admit(field, schema.fields[field], scan(files))

    def _admit(self, field: str, kind: str, accepted: str) -> None:
        admitted = self._admitted.setdefault(field, set())
        counted = self._engine.rows(
            "select night, value from (select *, row_number() over (partition by night order by n desc, value) as place from ("
            f"select arrival_date as night, {value_text(field, kind)} as value, count(*) as n from {accepted} group by 1, 2"
            f") where value is not null) where place <= {2 * MOST_VALUES} order by night, place"
        )
        for night, value in counted:
            if value not in admitted and len(admitted) < MOST_VALUES:
                admitted.add(value)
                self._new[night].append((field, value))

    def write(self, night: date, path: Path) -> None:
        """Publish the values that a night admits."""
        rows = [(field, value, night) for field, value in self._new[night]]
        # Polars, because PyArrow imports pandas to make an array of Python values
        values = pl.DataFrame(rows, {"field": pl.String, "value": pl.String, "arrival_date": pl.Date}, orient="row")
        self._engine.register("segment_values_of_the_night", values)
        self._engine.write("select * from segment_values_of_the_night", path)
