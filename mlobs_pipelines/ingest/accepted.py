"""A night's accepted rows, from where they wait to the lake, and all that is said of them beside."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import FOR_IDS, DuckDBEngine, scan
from mlobs_pipelines.ingest import quarantine
from mlobs_pipelines.ingest.columns import label_columns, prediction_columns
from mlobs_pipelines.ingest.schema import Schema
from mlobs_pipelines.ingest.segments import SegmentValues
from mlobs_pipelines.ingest.values import LONGEST_TEXT
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home

COMPRESSION = "lz4_raw"
"""Of accepted predictions: a quarter faster to write than zstd and faster to read, for a sixth more bytes."""


def _compression(source: str) -> str:
    return FOR_IDS if source == "labels" else COMPRESSION


def stage(engine: DuckDBEngine, source: str, rows: str, folder: Path, nights: Sequence[date]) -> None:
    """Write a source's accepted rows below ``folder``: SQL with the columns of a lake file and, after them, ``night``."""
    folder = folder / source
    if len(nights) > 1:
        folder.mkdir(parents=True)
        engine.copy(rows, folder, compression=_compression(source), by="night")
    else:
        file = folder / f"night={nights[0]}" / "data_0.parquet"
        file.parent.mkdir(parents=True)
        engine.copy(f"select * exclude (night) from ({rows})", file, compression=_compression(source))


def _staged(engine: DuckDBEngine, source: str, folder: Path, night: date, columns: dict[str, str]) -> Path:
    """A night's accepted rows as one file, also where there are none."""
    place = folder / source / f"night={night}"
    found = sorted(place.glob("*.parquet"))
    if len(found) == 1:
        return found[0]
    place.mkdir(parents=True, exist_ok=True)
    whole = place / "whole.parquet"
    nothing = ", ".join(f"cast(null as {t}) as {sql.name(n)}" for n, t in columns.items())
    rows = f"select * from {scan(found)}" if found else f"select {nothing} where false"
    engine.copy(rows, whole, compression=_compression(source))
    return whole


def publish(
    engine: DuckDBEngine, home: Home, spec: ModelSpec, schema: Schema | None, nights: Sequence[date], folder: Path
) -> None:
    """Publish each night's files from what is staged in ``folder`` for each source, refused and repeated.

    That of predictions is the last of a night, for it says that the night was taken in.
    """
    predictions, labels = {}, {}
    for night in nights:
        fields = schema if schema and night >= schema.decided_on else None
        predictions[night] = _staged(engine, "predictions", folder, night, prediction_columns(spec, fields))
        labels[night] = _staged(engine, "labels", folder, night, label_columns(spec))
    values = SegmentValues(home, spec, engine, schema, predictions)
    for night in nights:
        that = sql.date(night)
        accepted = {"predictions": predictions[night]} | ({"labels": labels[night]} if spec.labels else {})
        tally = " union all ".join(_tally(source, that, file) for source, file in accepted.items())
        engine.run(f"create or replace temp table tally as {tally}")
        listed = ", ".join(
            f"cast({that if n == 'arrival_date' else n} as {t}) as {n}" for n, t in quarantine.COLUMNS.items()
        )
        refused = " union all ".join(
            f"select {sql.text(s)} as source, * from refused_{s} where night = {that}" for s in accepted
        )
        engine.write(
            f"select {listed} from ({refused}) order by source, file, line, digest",
            home.quarantine_file(spec.model, night),
        )
        _move(labels[night], home.lake_file(spec.model, "labels", night))
        engine.write(
            "select * from tally order by source desc, event_date, version, role",
            home.lake_file(spec.model, "intake", night),
        )
        values.write(night, home.lake_file(spec.model, "segment_values", night))
        _move(predictions[night], home.lake_file(spec.model, "predictions", night))


def _tally(source: str, night: str, accepted: Path) -> str:
    """SQL for what became of the rows of a night."""
    known, latest = (
        ("event_date, version, role", "event_time")
        if source == "predictions"
        else (f"{night} as event_date, '' as version, '' as role", "available_at")
    )
    length = LONGEST_TEXT
    return (
        f"select {night} as arrival_date, coalesce(event_date, {night}) as event_date, {sql.text(source)} as source, "
        f"case when length(version) > {length} then '' else coalesce(version, '') end as version, "
        f"case when length(role) > {length} then '' else coalesce(role, '') end as role, "
        "cast(sum(accepted + duplicates + quarantined) as bigint) as delivered, cast(sum(accepted) as bigint) as accepted, "
        "cast(sum(duplicates) as bigint) as duplicates, cast(sum(quarantined) as bigint) as quarantined, max(latest) as latest_event_time from ("
        f"select {known}, count(*) as accepted, 0 as duplicates, 0 as quarantined, max({latest}) as latest from {scan([accepted])} group by 1, 2, 3 "
        f"union all select event_date, version, role, 0, 1, 0, null from repeated_{source} where night = {night} "
        f"union all select event_date, version, role, 0, 0, 1, null from refused_{source} where night = {night}"
        ") group by 1, 2, 3, 4, 5"
    )


def _move(file: Path, target: Path) -> None:
    """Publish a finished file."""
    with published(target) as draft:
        shutil.move(file, draft)
