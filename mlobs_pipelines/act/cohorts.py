"""Segments and groups of rows at hand, named as the store names them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics.influence import Ints

MOST_SEGMENTS = 100
"""Segments of a cut that are compared, the largest; each one more widens the intervals of the others."""

MISSING = "(missing)"


def segments_of(rows: pl.DataFrame, spec: ModelSpec) -> Iterator[tuple[str, Ints]]:
    """Each segment of the spec's cuts with enough rows, and where these are; of each cut the largest."""
    for cut in spec.segment_fields:
        columns = [column_of(rows, name) for name in cut]
        if any(column is None for column in columns):
            continue
        parts = [pl.lit(f"{name}=") + _text(rows, column) for name, column in zip(cut, columns, strict=True) if column]
        named = rows.select(segment=pl.concat_str(parts, separator=" & ")).with_row_index("at")
        sizes = named.group_by("segment").agg(pl.col("at"), n=pl.len())
        enough = sizes.filter(pl.col("n") >= spec.monitors.min_rows).sort("n", "segment", descending=[True, False])
        for segment, at in enough.head(MOST_SEGMENTS).sort("segment").select("segment", "at").iter_rows():
            yield segment, np.sort(np.asarray(at, dtype=np.int64))


def rows_in(rows: pl.DataFrame, segment: str) -> pl.DataFrame:
    """The rows of one segment, such as ``country=DE & device=ios``; '' is all.

    Raises:
        UserError: the segment is not written so, or names a field that the rows lack.
    """
    for part in filter(None, segment.split(" & ")):
        name, equals, value = part.partition("=")
        column = column_of(rows, name)
        if not equals or column is None:
            known = ", ".join(sorted(rows.columns))
            raise UserError(f"segment {segment!r}: write field=value, joined by ' & ', with one of {known}")
        rows = rows.filter(_text(rows, column) == value)
    return rows


def groups_of(rows: pl.DataFrame, attribute: str, min_rows: int) -> Ints | None:
    """0, 1, … for each row's group; -1 where the value is missing or the group is too small. None: no such column."""
    column = column_of(rows, attribute)
    if column is None:
        return None
    value = rows.select(value=_text(rows, column))
    sizes = value.group_by("value").len().filter((pl.col("len") >= min_rows) & (pl.col("value") != MISSING))
    numbered = sizes.sort("value").with_row_index("group").with_columns(pl.col("group").cast(pl.Int64))
    joined = value.join(numbered, on="value", how="left", maintain_order="left")
    group: Ints = joined["group"].fill_null(-1).to_numpy()
    return group


def column_of(rows: pl.DataFrame, name: str) -> str | None:
    """The logged column that a name of the spec means, whatever its case."""
    if name in rows.columns:
        return name
    return next((c for c in rows.columns if c.lower() == name.lower()), None)


def _text(rows: pl.DataFrame, column: str) -> pl.Expr:
    """A column's values as segments name them: whole numbers without a point."""
    value = pl.col(column)
    text = value.cast(pl.String)
    if rows.schema[column].is_float():
        whole = (value.abs() < 1e15) & (value == value.round())
        text = pl.when(whole).then(value.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(text)
    return text.fill_null(MISSING)
