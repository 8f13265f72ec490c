"""The files of a table's nights -> one file for each month that is long over. The rows stay what they are, in their order.

Only tables of aggregates are folded: hundreds of small files cost more to find and open than their rows to read.
Predictions, labels and label facts are data, and tracked night by night by dbt, by Spark and by the key cache.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import STORE_TABLES, Home
from mlobs_pipelines.store.nights import Held, Nights, metadata_of, night_of, told

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


@dataclass(frozen=True)
class Fold:
    """What is to be done about a month of one table: ``month`` is its first day, ``own`` the nights whose own files are to
    become part of the month's."""

    nights: Nights
    month: dt.date
    own: tuple[dt.date, ...]


def tables(home: Home, model: str) -> dict[str, Nights]:
    """The tables that are folded, by name."""
    return {name: home.lake_nights(model, name) for name in LAKE_TABLES} | {
        name: home.store_nights(name, model) for name in STORE_TABLES
    }


def folds(nights: Nights, before: dt.date, leave: Collection[dt.date] = ()) -> list[Fold]:
    """What is to be done about a table.

    Args:
        nights: the table.
        before: months that end before it are folded.
        leave: nights that stay in their own files, for they are being written.
    """
    months: dict[dt.date, list[dt.date]] = {}
    for path in nights.folder.glob("*.parquet"):
        night = night_of(path.name)
        if night and night not in leave and _end(night) < before and _is_of(path, nights.column, night):
            months.setdefault(night.replace(day=1), []).append(night)
    return [Fold(nights, month, tuple(sorted(own))) for month, own in sorted(months.items())]


def fold(wanted: Fold) -> bool:
    """Write the month's file, then remove the files of its nights that are in it now; false where columns don't agree.

    A reader finds every row at every moment, and one who is killed here leaves a state like any other: the nights'
    own files go before their month's, and the next maintenance folds what is left of them.
    """
    nights, held = wanted.nights, wanted.nights.month(wanted.month)
    month = nights.month_file(wanted.month)
    own = {night: nights.own(night) for night in wanted.own}
    states = {night: told(path.stat()) for night, path in own.items()}
    try:
        schema = _common([*own.values(), *([month] if held else [])])
    except pa.ArrowException:
        return False
    kept = {night: found for night, found in held.items() if night not in own}
    with published(month) as draft:
        rows = dict.fromkeys([*own, *kept], 0)
        # Dictionaries of measured numbers are larger than the numbers.
        repeated = [field.name for field in schema if not pa.types.is_floating(field.type)]
        with pq.ParquetWriter(draft, schema, compression="zstd", use_dictionary=repeated) as writer:
            for night in sorted(rows):
                for part in _row_groups(own[night]) if night in own else _of_night(month, held, night):
                    writer.write_table(_as(part, schema), row_group_size=max(part.num_rows, 1))
                    rows[night] += part.num_rows
            writer.add_key_value_metadata(
                metadata_of(
                    {night: Held(count, states.get(night) or kept[night].state) for night, count in rows.items()}
                )
            )
    _settle(nights.folder)
    for night, path in own.items():
        if told(path.stat()) == states[night]:
            path.unlink()
    return True


def _end(night: dt.date) -> dt.date:
    """The last day of a night's month."""
    return (night.replace(day=1) + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)


def _is_of(path: Path, column: str, night: dt.date) -> bool:
    """Whether a column tells, in each row of a file, that it is this night's: by the file's own statistics."""
    metadata = pq.read_metadata(path)
    names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    if column not in names:
        return False
    found = (metadata.row_group(i).column(names.index(column)).statistics for i in range(metadata.num_row_groups))
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
    """The row groups of a night in its month's file, where those of earlier nights come first."""
    first = sum(found.rows for earlier, found in held.items() if earlier < night)
    with pq.ParquetFile(month) as file:
        at = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if first <= at < first + held[night].rows:
                yield file.read_row_group(group)
            at += size


def _settle(folder: Path) -> None:
    """Let a rename outlive a power cut before what it replaces is removed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
