"""What identifies a row, as a 64-bit number; and the numbers of every night that the lake holds.

Whether a row came before is asked of every night there is. Eight bytes a row answer that for nearly all of them; the
few that seem to have come before are compared themselves. Kept beside the warehouse: a cache, made again from the lake.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.store.layout import Home

KEYS = {"predictions": ("prediction_id", "version", "role"), "labels": ("prediction_id", "available_at")}
"""What identifies a row of each source."""


def number(source: str) -> str:
    """SQL for the number of a row's key. Two keys may share one; a key has the same one as long as the engine does."""
    return f"hash({', '.join(KEYS[source])})"


def came_before(
    engine: DuckDBEngine, home: Home, model: str, source: str, nights: Sequence[date], numbers: str
) -> tuple[str, list[date]]:
    """(SQL for those of ``numbers``, a table with a column ``number``, that some of the nights hold; the nights that do)."""
    if not nights:
        return "select cast(null as ubigint) as number where false", []
    files = {str(_file(engine, home, model, source, night)): night for night in nights}
    _sweep(home, model, source, set(files))
    listed = ", ".join(sql.text(file) for file in files)
    engine.run(
        f"create or replace temp table came_before as select number, filename from read_parquet([{listed}], filename = true) "
        f"where number in (select number from {numbers})"
    )
    found = engine.rows("select distinct filename from came_before")
    return "select number from came_before", sorted(files[row[0]] for row in found)


def _file(engine: DuckDBEngine, home: Home, model: str, source: str, night: date) -> Path:
    """The numbers of a night; the name tells which engine made them of which state of the lake's file."""
    lake = home.lake_file(model, source, night)
    state = lake.stat()
    name = f"{night.isoformat()}-{state.st_size}-{state.st_mtime_ns}-{engine.version}.parquet"
    file = home.keys_folder(model) / source / name
    if not file.exists():
        engine.write(f"select {number(source)} as number from {scan([lake])}", file, compression="uncompressed")
    return file


def _sweep(home: Home, model: str, source: str, kept: set[str]) -> None:
    for file in (home.keys_folder(model) / source).iterdir():
        if str(file) not in kept:
            file.unlink(missing_ok=True)
