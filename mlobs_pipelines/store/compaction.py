"""The files of a table's nights -> one file for each month that is long over. The rows stay what they are, in their order;
those of nights that are to be let go of are left out, and the nights stay known.

Only tables of aggregates are folded: hundreds of small files cost more to find and open than their rows to read.
Predictions, labels and label facts are data, and tracked night by night by dbt, by Spark and by the key cache.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import STORE_TABLES, Home
from mlobs_pipelines.store.nights import LET_GO, Held, Nights, metadata_of, told

LAKE_TABLES = (
    "intake",
    "segment_values",
    "feature_profile",
    "output_profile",
    "quality_profile",
    "traffic_profile",
    "shap_profile",
)
"""Tables of the lake that are folded. Of the store all are that are written by nights."""


PAGE = 64 * 2**20
"""Bytes, and rows, of a page at most: a night's is one. Numbers that are told again and again are far apart; in pages of the
usual 20,000 rows metrics took twice the bytes."""


@dataclass(frozen=True)
class Fold:
    """What is to be done about a month of one table: ``month`` is its first day, ``own`` the nights whose own files are to
    become part of the month's, ``gone`` those whose rows are to be let go of, be they there or in files of their own."""

    nights: Nights
    month: dt.date
    own: tuple[dt.date, ...]
    gone: tuple[dt.date, ...] = ()


def tables(home: Home, model: str) -> dict[str, Nights]:
    """The tables that are folded, by name."""
    return {name: home.lake_nights(model, name) for name in LAKE_TABLES} | {
        name: home.store_nights(name, model) for name in STORE_TABLES
    }


def folds(nights: Nights, before: dt.date, leave: Collection[dt.date] = (), since: dt.date = dt.date.min) -> list[Fold]:
    """What is to be done about a table.

    Args:
        nights: the table.
        before: months that end before it are folded.
        leave: nights that stay in their own files, for they are being written.
        since: of nights before it the rows are let go of; their months have ended before ``before``.
    """
    own: dict[dt.date, list[dt.date]] = {}
    gone: dict[dt.date, list[dt.date]] = {}
    for night in nights.all():
        if night in leave or _end(night) >= before:
            continue
        path, month = nights.own(night), night.replace(day=1)
        if night < since and (path.exists() or nights.month(night)[night].state != LET_GO):
            gone.setdefault(month, []).append(night)
        elif path.exists() and _is_of(path, nights.column, night):
            own.setdefault(month, []).append(night)
    months = sorted(own.keys() | gone.keys())
    return [Fold(nights, month, tuple(own.get(month, ())), tuple(gone.get(month, ()))) for month in months]


def fold(wanted: Fold) -> bool:
    """Write the month's file, then remove the files of its nights that are in it now.

    A reader finds every row at every moment, and one who is killed here leaves a state like any other: the nights'
    own files go before their month's, and the next maintenance folds what is left of them.

    Returns:
        Whether the nights' own files became part of it: not if their columns don't agree. What is to be let go of is gone.
    """
    try:
        _write(wanted)
    except pa.ArrowException:
        if wanted.gone:
            _write(replace(wanted, own=()))
        return False
    return True


def rows_to_let_go(wanted: Fold) -> int:
    """Bytes of the rows that are to be let go of."""
    nights, held = wanted.nights, wanted.nights.month(wanted.month)
    own = {night for night in wanted.gone if nights.own(night).exists()}
    within = [night for night in wanted.gone if night not in own]
    found = sum(nights.own(night).stat().st_size for night in own)
    if within:
        with pq.ParquetFile(nights.month_file(wanted.month)) as file:
            for group in (group for night in within for group in _groups(file.metadata, held, night)):
                columns = file.metadata.row_group(group)
                found += sum(columns.column(i).total_compressed_size for i in range(columns.num_columns))
    return found


def _write(wanted: Fold) -> None:
    nights, held = wanted.nights, wanted.nights.month(wanted.month)
    month = nights.month_file(wanted.month)
    own = {night: nights.own(night) for night in (*wanted.own, *wanted.gone) if nights.own(night).exists()}
    states = {night: told(path.stat()) for night, path in own.items()}
    kept = {night: found for night, found in held.items() if night not in own and night not in wanted.gone}
    schema = _common([*(own[night] for night in wanted.own), *([month] if held else [])] or list(own.values())[:1])
    # Dictionaries of measured numbers are larger than the numbers.
    repeated = [field.name for field in schema if not pa.types.is_floating(field.type)]
    said = dict.fromkeys(wanted.gone, Held(0, LET_GO))
    with (
        published(month) as draft,
        pq.ParquetWriter(
            draft, schema, compression="zstd", use_dictionary=repeated, data_page_size=PAGE, max_rows_per_page=PAGE
        ) as writer,
    ):
        for night in sorted({*wanted.own, *kept}):
            rows = 0
            for part in _row_groups(own[night]) if night in own else _of_night(month, held, night):
                if part.num_rows:
                    writer.write_table(_as(part, schema), row_group_size=part.num_rows)
                    rows += part.num_rows
            said[night] = Held(rows, states[night] if night in own else kept[night].state)
        writer.add_key_value_metadata(metadata_of(said))
    _settle(nights.folder)
    for night, path in own.items():
        if told(path.stat()) == states[night]:
            path.unlink()


def _end(night: dt.date) -> dt.date:
    """The last day of a night's month."""
    return (night.replace(day=1) + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)


def _is_of(path: Path, column: str, night: dt.date) -> bool:
    """Whether a column tells, in each row of a file, that it is this night's: by the file's own statistics."""
    metadata = pq.read_metadata(path)
    names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    if column not in names:
        return False
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    found = (group.column(names.index(column)).statistics for group in groups if group.num_rows)
    return all(s is not None and s.has_min_max and not s.null_count and s.min == s.max == night for s in found)


def _common(paths: list[Path]) -> pa.Schema:
    """The columns of all of the files; of those that some lack their rows have nulls."""
    schemas = [pa.schema([field.with_nullable(True) for field in pq.read_schema(path)]) for path in paths]
    return pa.unify_schemas(schemas)


def _as(part: pa.Table, schema: pa.Schema) -> pa.Table:
    missing = [field for field in schema if field.name not in part.column_names]
    for field in missing:
        part = part.append_column(field, pa.nulls(part.num_rows, field.type))
    return part.select(schema.names).cast(schema)


def _row_groups(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def _of_night(month: Path, held: Mapping[dt.date, Held], night: dt.date) -> Iterator[pa.Table]:
    """The row groups of a night in its month's file."""
    with pq.ParquetFile(month) as file:
        for group in _groups(file.metadata, held, night):
            yield file.read_row_group(group)


def _groups(metadata: pq.FileMetaData, held: Mapping[dt.date, Held], night: dt.date) -> Iterator[int]:
    """Numbers of a night's row groups: those of earlier nights come first."""
    first = sum(found.rows for earlier, found in held.items() if earlier < night)
    at = 0
    for group in range(metadata.num_row_groups):
        if first <= at < first + held[night].rows:
            yield group
        at += metadata.row_group(group).num_rows


def _settle(folder: Path) -> None:
    """Let a rename outlive a power cut before what it replaces is removed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
