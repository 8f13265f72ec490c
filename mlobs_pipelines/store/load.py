"""The store's Parquet files -> tables of a database: the rows of a night are replaced whole."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

import polars as pl

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.store.changes import Changes, Folder
from mlobs_pipelines.store.layout import WATCH_TABLE, Home
from mlobs_pipelines.store.marts import Marts, of
from mlobs_pipelines.store.people import ABOUT_INCIDENTS, newest, with_people
from mlobs_pipelines.store.tables import CAUSES, DECISIONS, INCIDENTS, TABLES

_KINDS = {pl.Date: "date", pl.Int64: "bigint", pl.Float64: "double", pl.Boolean: "boolean", pl.Datetime: "timestamp"}


def _columns(schema: pl.Schema) -> str:
    return ", ".join(f"{name} {_KINDS.get(type(kind), 'varchar')}" for name, kind in schema.items())


NIGHT_TABLES = {name: f"{name[:-1]}_nights" if name in ("incidents", "causes") else name for name in TABLES} | {
    WATCH_TABLE: "monitoring_nights",
    "explanations": "metrics",
}
"""Table of the store -> table of the snapshot that its files' rows are in."""

OWN_ROWS = {"metrics": "family <> 'explanation'", "explanations": "family = 'explanation'"}
"""Which rows of a shared table are of which files."""

MODELS = pl.Schema(dict.fromkeys(("model", "task", "owner", "timezone"), pl.String()))

COLUMNS = {
    **{NIGHT_TABLES[name]: _columns(schema) for name, schema in TABLES.items()},
    NIGHT_TABLES[WATCH_TABLE]: _columns(INCIDENTS),
    "incidents": _columns(INCIDENTS),
    "causes": _columns(CAUSES),
    "decisions": _columns(DECISIONS),
    "models": _columns(MODELS),
}
"""Tables of the snapshot, there from the first night on. ``incidents`` and ``causes`` have each incident once, as it is
known now and with what people said of it; ``incident_nights`` and ``cause_nights`` as it was known on every night."""


def create(engine: DuckDBEngine) -> None:
    """Make the tables in the database that ``engine`` has attached as ``warehouse``; what it took in is noted aside."""
    engine.run(
        "create schema warehouse.publishing; "
        "create table warehouse.publishing.loaded (name varchar, model varchar, night date, file varchar); "
        "create table warehouse.publishing.folders (name varchar, model varchar, changed bigint)"
    )
    for name, columns in COLUMNS.items():
        engine.run(f"create table warehouse.{name} ({columns})")


def load(engine: DuckDBEngine, home: Home, found: Changes) -> None:
    """Take in what changed, table by table and mart by mart, and note that it was."""
    marts = Marts(engine)
    empty = not engine.rows("select 1 from warehouse.publishing.loaded limit 1")
    if empty:
        for folder in found.files:
            _replace(engine, home, folder, (), found.new[folder])
    else:
        for model in sorted({model for _, model in found.files}):
            _load_model(engine, home, marts, model, found)
    _note_folders(engine, found)
    if found.other_cards:
        _fill(engine, "models", pl.DataFrame(found.cards, schema=MODELS, orient="row"))
    said = _load_log(engine, found)
    of_incidents = {model for name, model in found.files if name in ("incidents", WATCH_TABLE)}
    _conclude(engine, of_incidents | set(said.filter(pl.col("action").is_in(ABOUT_INCIDENTS))["model"]), found.log)
    _conclude_causes(engine, {model for name, model in found.files if name == "causes"})
    if empty:
        marts.fill()
    else:
        models = {model for _, model in found.files} | found.other_cards | set(said["model"])
        marts.bring_health_up_to_date(models)


def _load_model(engine: DuckDBEngine, home: Home, marts: Marts, model: str, found: Changes) -> None:
    of_numbers = [folder for folder in found.files if folder[1] == model and NIGHT_TABLES[folder[0]] == "metrics"]
    gone = {night for folder in of_numbers for night in found.gone.get(folder, ())}
    came = {night for folder in of_numbers for night in found.new.get(folder, {})}
    if gone:
        marts.note_changed(model, gone)
    for folder in found.files:
        if folder[1] == model:
            _replace(engine, home, folder, found.gone.get(folder, set()), found.new.get(folder, {}))
    if came:
        marts.note_changed(model, came)
    if of_numbers:
        marts.bring_numbers_up_to_date(model, came, taken_back=bool(gone))


def _replace(
    engine: DuckDBEngine, home: Home, folder: Folder, gone: Collection[dt.date], new: dict[dt.date, str]
) -> None:
    """Remove the rows that came of some nights' files of one table and model, and add those that come of others."""
    name, model = folder
    stored = home.store_nights(name, model)
    table, mine = f"warehouse.{NIGHT_TABLES[name]}", of([model])
    if gone:
        own = f" and {OWN_ROWS[name]}" if name in OWN_ROWS else ""
        engine.run(
            f"delete from {table} where {mine} and {stored.column} in ({sql.dates(gone)}){own}; "
            f"delete from warehouse.publishing.loaded where name = '{name}' and {mine} and night in ({sql.dates(gone)})"
        )
    if new:
        names = ", ".join(TABLES["incidents" if name == WATCH_TABLE else name])
        states = ", ".join(
            f"('{name}', {sql.text(model)}, {sql.date(night)}, {sql.text(state)})"
            for night, state in sorted(new.items())
        )
        engine.run(
            f"insert into {table} select {names} from {stored.relation(new)} where {mine}; "
            f"insert into warehouse.publishing.loaded values {states}"
        )


def _note_folders(engine: DuckDBEngine, found: Changes) -> None:
    rows = [(*folder, found.folders.get(folder), folder in found.folders) for folder in found.looked]
    schema = {"name": pl.String(), "model": pl.String(), "changed": pl.Int64(), "there": pl.Boolean()}
    engine.register("looked", pl.DataFrame(rows, schema=schema, orient="row").to_arrow())
    engine.run(
        "delete from warehouse.publishing.folders where (name, model) in (select (name, model) from looked); "
        "insert into warehouse.publishing.folders select name, model, changed from looked where there"
    )


def _load_log(engine: DuckDBEngine, found: Changes) -> pl.DataFrame:
    """Add the entries of the log that are new, or all where it was begun anew; gives those it added."""
    if found.kept is None:
        engine.run("delete from warehouse.decisions")
    added = found.log.slice(found.kept or 0)
    engine.register("filling", added.to_arrow())
    engine.run("insert into warehouse.decisions select * from filling")
    return added


def _conclude(engine: DuckDBEngine, models: Collection[str], log: pl.DataFrame) -> None:
    """Each incident of some models once, as it is known now and with what people said of it."""
    if models:
        nights = "from warehouse.incident_nights union all from warehouse.monitoring_nights"
        known = pl.DataFrame(
            engine.table(
                f"select * from ({nights}) where {of(models)} "
                "qualify as_of = max(as_of) over (partition by incident_id)"
            )
        )
        _fill(engine, "incidents", with_people(newest(known), log), models)


def _conclude_causes(engine: DuckDBEngine, models: Collection[str]) -> None:
    """The causes of each incident of some models, as they were found last."""
    if models:
        engine.run(
            f"delete from warehouse.causes where {of(models)}; "
            f"insert into warehouse.causes select * from warehouse.cause_nights where {of(models)} "
            "qualify as_of = max(as_of) over (partition by incident_id)"
        )


def _fill(engine: DuckDBEngine, name: str, rows: pl.DataFrame, models: Collection[str] | None = None) -> None:
    where = "" if models is None else f" where {of(models)}"
    engine.register("filling", rows.to_arrow())
    engine.run(f"delete from warehouse.{name}{where}; insert into warehouse.{name} select * from filling")
