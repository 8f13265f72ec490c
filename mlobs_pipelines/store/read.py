"""The store for people: Polars frames straight from the Parquet files, SQL over the snapshot, digests."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import polars as pl

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error, ReadOnlyDuckDB, scan
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store.layout import LAKE_TABLES, STORE_TABLES, Home, default_home
from mlobs_pipelines.store.nights import Nights, patiently
from mlobs_pipelines.store.tables import TABLES

REFERENCE_TABLES = ("feature_profile", "output_profile", "quality_profile")
WALL_CLOCK = ("run_id", "started_at", "finished_at")
"""Columns that differ between two runs that did the same."""


class StoreError(UserError):
    """What was asked for is not in the store, or the question was not understood."""


def metrics(
    home: Home | Path | str | None = None,
    model: str | None = None,
    *,
    family: str | None = None,
    metric: str | None = None,
    subject: str | None = None,
    segment: str | None = None,
    version: str | None = None,
    role: str | None = None,
) -> pl.DataFrame:
    """Rows of the table ``metrics``, of all nights; each argument that is given keeps the rows that equal it.

    ``home`` is the installation's folder; default ``MLOBS_HOME``, else ``./mlobs_home``.
    """
    wanted = {
        "family": family,
        "metric": metric,
        "subject": subject,
        "segment": segment,
        "version": version,
        "role": role,
    }

    def read() -> pl.DataFrame:
        rows = pl.concat([_scan(_home(home), name, model) for name in ("metrics", "explanations")])
        for name, value in wanted.items():
            if value is not None:
                rows = rows.filter(pl.col(name) == value)
        return rows.collect()

    return patiently(read)


def runs(home: Home | Path | str | None = None, model: str | None = None) -> pl.DataFrame:
    """Rows of the table ``runs``: for every model and night, its last run."""
    return table(home, "runs", model)


def table(home: Home | Path | str | None, name: str, model: str | None = None) -> pl.DataFrame:
    """All rows of one of the store's tables.

    Raises:
        StoreError: there is no such table.
    """
    if name not in TABLES:
        raise StoreError(f"the store has no table {name!r}; it has: {', '.join(TABLES)}")
    return patiently(lambda: _scan(_home(home), name, model).collect())


def lake(home: Home | Path | str | None, model: str, name: str) -> pl.DataFrame:
    """All rows of one of a model's lake tables, every night's; a column that a night lacks is null there.

    Raises:
        StoreError: there is no such table, or it has no night yet.
    """
    if name not in LAKE_TABLES:
        raise StoreError(f"the lake has no table {name!r}; it has: {', '.join(LAKE_TABLES)}")
    stored = _home(home).lake_nights(model, name)
    if not stored.all():
        raise StoreError(f"the lake has no {name} of model {model!r} yet; run: mlobs run {model}")
    return patiently(lambda: pl.concat(stored.frames(stored.all()), how="diagonal_relaxed").collect())


def query(home: Home | Path | str | None, statement: str) -> pl.DataFrame:
    """The answer to read-only SQL over ``results.duckdb``.

    The statement can read the tables and marts of the snapshot and nothing else: no file, no setting, no extension.

    Raises:
        StoreError: there is no snapshot yet, or the statement is wrong or asks for more than reading.
    """
    file = _home(home).results
    if not file.exists():
        raise StoreError(f"no results in {file.parent} yet; run: mlobs run MODEL")
    try:
        with ReadOnlyDuckDB(file) as database:
            found = database.table(statement)
    except Error as error:
        raise StoreError(" ".join(str(error).split())[:500]) from None
    return _plain_integers(pl.DataFrame(found))


def _plain_integers(answer: pl.DataFrame) -> pl.DataFrame:
    """Sums of integers come as 128-bit decimals; where they fit they are integers again."""
    for name, kind in answer.schema.items():
        if isinstance(kind, pl.Decimal) and kind.scale == 0:
            with contextlib.suppress(pl.exceptions.InvalidOperationError):
                answer = answer.with_columns(pl.col(name).cast(pl.Int64))
    return answer


def digest(home: Home | Path | str | None, model: str) -> dict[str, str]:
    """SHA-256 of what each of a model's lake and store tables holds, without run ids and wall clock.

    It is taken over the sorted digests of the rows, so how they are split into files and ordered makes no difference.
    """
    place = _home(home)
    found: dict[str, str] = {}
    with DuckDBEngine(place.warehouse / f"{model}.digest") as engine:
        for name in LAKE_TABLES:
            if said := _digest_of(engine, place.lake_nights(model, name)):
                found[f"lake/{name}"] = said
        for name in REFERENCE_TABLES:
            if place.reference_file(model, name).exists():
                found[f"lake/reference/{name}"] = _digest(engine, scan([place.reference_file(model, name)]))
        for file in (place.schema_file(model), place.bins_file(model)):
            if file.exists():
                found[f"lake/{file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
        for name in STORE_TABLES:
            if said := _digest_of(engine, place.store_nights(name, model)):
                found[f"store/{name}"] = said
    with contextlib.suppress(OSError):
        (place.warehouse / f"{model}.digest").rmdir()
    return found


def _digest_of(engine: DuckDBEngine, nights: Nights) -> str | None:
    def read() -> str | None:
        rows = nights.relation(nights.all())
        return _digest(engine, rows) if rows else None

    return patiently(read, Error)


def _digest(engine: DuckDBEngine, relation: str) -> str:
    columns = {name: kind for name, kind, *_ in engine.rows(f"describe select * from {relation}")}
    kept = sorted(set(columns) - set(WALL_CLOCK))
    # each value with its length before it, so that no two rows read the same
    values = (f"cast({sql.name(name)} as varchar)" for name in kept)
    row = " || ".join(f"coalesce(strlen({v}) || ':' || {v}, '-')" for v in values)
    rows = engine.table(f"select unhex(sha256({row})) as h from {relation} order by h")
    whole = hashlib.sha256("".join(f"{name} {columns[name]}\n" for name in kept).encode())
    for chunk in rows.column("h").chunks:
        whole.update(b"".join(chunk.to_pylist()))
    return whole.hexdigest()


def _scan(home: Home, name: str, model: str | None) -> pl.LazyFrame:
    schema = TABLES[name]
    folder = home.root / "store" / name
    models = [model] if model is not None else sorted(p.name for p in folder.glob("*") if p.is_dir())
    found = [home.store_nights(name, model) for model in models]
    frames = [
        frame
        for nights in found
        for frame in nights.frames(nights.all(), schema=schema, extra_columns="ignore", missing_columns="insert")
    ]
    return pl.concat([pl.LazyFrame(schema=schema), *frames])


def _home(home: Home | Path | str | None) -> Home:
    if isinstance(home, Home):
        return home
    return Home(default_home() if home is None else Path(home).absolute())
