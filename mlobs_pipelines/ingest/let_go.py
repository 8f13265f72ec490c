"""Predictions whose time is up: what the model saw and said is let go of. That a row came, and when, stays.

By that later nights know a row that is delivered once more, and the join says of every label what it would have said.
What was counted of the rows is in the profiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.nights import let_go_metadata

KEPT = ("prediction_id", "version", "role", "event_date", "arrival_date", "failed")
"""Columns of the lake's predictions that stay: those by which rows are told apart, and that the join reads."""


def let_go(home: Home, model: str, nights: Sequence[date], newest: date) -> None:
    """Let go of all but what tells some nights' predictions apart.

    Args:
        home: the installation.
        model: the model.
        nights: nights whose predictions and labels were all counted.
        newest: the model's newest night: what nights up to it counted of the rows can't be counted again.
    """
    for night in nights:
        _empty(home.lake_file(model, "predictions", night), newest)


def content_bytes(home: Home, model: str, night: date) -> int:
    """Bytes of a night's predictions that can be let go of."""
    metadata = pq.read_metadata(home.lake_file(model, "predictions", night))
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    columns = (group.column(i) for group in groups for i in range(group.num_columns))
    return sum(column.total_compressed_size for column in columns if column.path_in_schema not in KEPT)


def _empty(path: Path, newest: date) -> None:
    with pq.ParquetFile(path) as file, published(path) as draft:
        schema = pa.schema([field.with_nullable(field.name not in KEPT) for field in file.schema_arrow])
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            for group in range(file.num_row_groups):
                kept = file.read_row_group(group, columns=[name for name in schema.names if name in KEPT])
                columns = [
                    kept[field.name] if field.name in KEPT else pa.nulls(kept.num_rows, field.type) for field in schema
                ]
                writer.write_table(pa.table(columns, schema=schema), row_group_size=max(kept.num_rows, 1))
            writer.add_key_value_metadata(let_go_metadata(newest))
