"""Accepted rows, of which the columns that need no conversion go from a delivered Parquet file to the lake as arrays.

Most columns of a wide log are numbers and text that the lake stores as they are. To read, check and write them as arrays
takes half of what SQL takes for it, and text stays the dictionary that it was; SQL says the rest of each row, and
whether it is accepted. Where some value has to be noted beside its row, SQL writes all of it: ``UnfitError`` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.engine.threads import ahead
from mlobs_pipelines.ingest.columns import prediction_columns
from mlobs_pipelines.ingest.conform import conform_predictions
from mlobs_pipelines.ingest.parts import Part
from mlobs_pipelines.ingest.readers import Opened
from mlobs_pipelines.ingest.schema import Schema
from mlobs_pipelines.ingest.values import LONGEST_TEXT, type_class
from mlobs_pipelines.spec.model import ModelSpec

ROWS = 122_880
"""Rows that are read at once, and of a row group at least."""
LEAST = 30_000
"""Rows of a file on average, where there are several: many small ones are read as one by SQL."""
_READ_AHEAD = 2**20
"""Bytes of a column that are read from the file at once."""
_TEXT = pa.dictionary(pa.int32(), pa.string())
_UNLIKE = ("prediction_id", "subject", "invalid_fields")
"""Columns of text that hardly repeats: a dictionary of it would be as long. It is packed tighter than the rest, for it can be."""


class UnfitError(Exception):
    """Rows that SQL has to write: no column, or some value of one, is as it would be stored."""


@dataclass(frozen=True)
class Rows:
    """All rows of a delivered Parquet file, some of whose columns, ``unconverted``, are fields as they would be stored.

    ``others`` is SQL for the other columns of the lake, ``ordinal`` and whether the row is ``accepted``, in the file's
    order; rows of the ``excluded`` ordinals are not, either.
    """

    parquet: Path
    unconverted: Sequence[str]
    others: str
    excluded: pa.ChunkedArray


def rows_of(engine: DuckDBEngine, spec: ModelSpec, schema: Schema, part: Part, night: date, excluded: str) -> Rows:
    """The rows of a part for one night.

    ``excluded`` is a table of the rows, by file and ordinal, that are not accepted whatever they hold.

    Raises:
        UnfitError: it is not one Parquet file with columns that need no conversion.
    """
    opened = part.opened
    unconverted = _unconverted(opened, schema) if opened.parquet else []
    if opened.parquet is None or not unconverted:
        raise UnfitError("no column can be stored as it is")
    left = replace(schema, fields={name: kind for name, kind in schema.fields.items() if name not in set(unconverted)})
    columns = {name: sql.name(name) for name in prediction_columns(spec, left)} | {"arrival_date": sql.date(night)}
    listed = ", ".join(f"{said} as {sql.name(name)}" for name, said in columns.items())
    others = (
        f"select {listed}, ordinal, coalesce(reason is null and {part.wanted}, false) as accepted "
        f"from ({conform_predictions(spec, left, opened)})"
    )
    (file,) = part.files
    ordinals = engine.table(f"select ordinal from {excluded} where file = {file}").column(0)
    return Rows(opened.parquet, unconverted, others, ordinals)


def _unconverted(opened: Opened, schema: Schema) -> list[str]:
    delivered = {field.name: field.type for field in pq.read_schema(opened.parquet)}
    found = []
    for name, kind in schema.fields.items():
        column = opened.column(name)
        if column is None or column.hidden or name not in delivered or "." in name:  # a dot names a part of a column
            continue
        if kind == "numeric":
            as_is = type_class(column.type) in ("integer", "float") and _is_number(delivered[name])
        else:
            as_is = kind == "categorical" and column.type == "VARCHAR" and _is_text(delivered[name])
        if as_is:
            found.append(name)
    return found


def write(engine: DuckDBEngine, wanted: Mapping[Path, Sequence[Rows]], columns: Sequence[str]) -> None:
    """Write the accepted rows of some files to each target, with the lake's ``columns``; none where there are no rows.

    Raises:
        UnfitError: a value has to be noted: infinite, or longer than text may be.
        ArrowException, OSError: a file is damaged, or there is no room.
    """
    groups = (
        (target, group)
        for target, files in wanted.items()
        for group in _row_groups(table for file in files for table in _accepted(engine, file, columns))
    )
    writing: Path | None = None
    with ExitStack() as writers:
        for target, group in ahead(groups):
            if target != writing:
                writers.close()
                target.parent.mkdir(parents=True)
                writer = writers.enter_context(_writer(target, group.schema))
                writing = target
            writer.write_table(group)


def _writer(target: Path, schema: pa.Schema) -> pq.ParquetWriter:
    texts = [field.name for field in schema if field.type == _TEXT]
    return pq.ParquetWriter(
        target,
        schema,
        compression={name: "zstd" if name in _UNLIKE else "lz4" for name in schema.names},
        compression_level=dict.fromkeys(_UNLIKE, 1),
        use_dictionary=texts,
        write_statistics=[name for name in schema.names if name not in texts],
        store_schema=False,
    )


def _accepted(engine: DuckDBEngine, file: Rows, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The accepted rows of a file, some at a time."""
    names = list(file.unconverted)
    parquet = pq.ParquetFile(file.parquet, read_dictionary=names, buffer_size=_READ_AHEAD)
    at = 0
    with closing(engine.batches(file.others, ROWS)) as batches:
        others = _Others(batches)
        for batch in parquet.iter_batches(ROWS, columns=names, use_threads=False):
            rows = others.take(batch.num_rows)
            ordinals = rows.column("ordinal").chunk(0)
            if not np.array_equal(ordinals.to_numpy(), np.arange(at, at + batch.num_rows)):
                raise UnfitError("the engine gave the rows in another order")
            at += batch.num_rows
            kept = rows.column("accepted")
            if len(file.excluded):
                kept = pc.and_(kept, pc.invert(pc.is_in(rows.column("ordinal"), value_set=file.excluded)))
            arrays = {f"f_{name}": _stored(batch.column(name)) for name in names}
            arrays |= {name: _coded(name, rows.column(name)) for name in columns if name not in arrays}
            table = pa.table({name: arrays[name] for name in columns})
            yield table if pc.all(kept).as_py() else table.filter(kept)
        if others.left():
            raise UnfitError("the engine found more rows")


class _Others:
    """What SQL says of the rows, taken as many at a time as are wanted."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = iter(batches)
        self._left: list[pa.RecordBatch] = []

    def left(self) -> int:
        """Rows that were not taken."""
        return sum(batch.num_rows for batch in (*self._left, *self._batches))

    def take(self, rows: int) -> pa.Table:
        while sum(batch.num_rows for batch in self._left) < rows:
            if (batch := next(self._batches, None)) is None:
                raise UnfitError("the engine found fewer rows")
            self._left.append(batch)
        table = pa.Table.from_batches(self._left)
        self._left = table.slice(rows).to_batches()
        return table.slice(0, rows).combine_chunks()


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of ``ROWS`` rows and more, each with one dictionary a column."""
    parts: list[pa.Table] = []
    for table in tables:
        parts.append(table)
        if sum(part.num_rows for part in parts) >= ROWS:
            yield _together(parts)
            parts = []
    if sum(part.num_rows for part in parts):
        yield _together(parts)


def _together(parts: Sequence[pa.Table]) -> pa.Table:
    return parts[0] if len(parts) == 1 else pa.concat_tables(parts).unify_dictionaries().combine_chunks()


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or kind in (pa.float32(), pa.float64())


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return value in (pa.string(), pa.large_string())


def _stored(column: pa.Array) -> pa.Array:
    """A delivered column as ``values.as_number`` and ``values.as_category`` have it."""
    return _text(column.cast(_TEXT)) if pa.types.is_dictionary(column.type) else _numbers(column)


def _text(column: pa.DictionaryArray) -> pa.Array:
    column.dictionary.validate(full=True)  # is it UTF-8? The reader takes any bytes
    if (pc.max(pc.utf8_length(column.dictionary)).as_py() or 0) > LONGEST_TEXT:
        raise UnfitError("text is too long")
    return column


def _numbers(column: pa.Array) -> pa.Array:
    """Finite doubles, -0.0 as 0.0; NaN is null."""
    column = column.cast(pa.float64(), safe=False)
    valid, data = column.buffers()
    positive = np.frombuffer(data, np.float64, column.offset + len(column)) + 0.0
    stored = pa.Array.from_buffers(
        pa.float64(), len(column), [valid, pa.py_buffer(positive)], column.null_count, column.offset
    )
    finite = pc.is_finite(column)
    if pc.all(finite).as_py() is not False:
        return stored
    if pc.any(pc.is_inf(column)).as_py():
        raise UnfitError("a number is infinite")
    return pc.if_else(finite, stored, pa.nulls(len(column), pa.float64()))


def _coded(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column that SQL gave, text that repeats as a dictionary."""
    return column.dictionary_encode() if column.type == pa.string() and name not in _UNLIKE else column
