"""The store's Parquet files -> ``results.duckdb``: one file for BI tools and SQL, replaced whole after each run.

The working copy is kept up to date file by file; dbt defines the marts in it, as views, once per version of the project.
The snapshot is a copy of it with the marts filled in, renamed into place: whoever has the old one open keeps it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from mlobs_pipelines.engine import dbt, sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error, scan
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import published, write_text
from mlobs_pipelines.store.journal import decisions
from mlobs_pipelines.store.layout import STORE_TABLES, WATCH_TABLE, Home, nights
from mlobs_pipelines.store.lock import exclusive
from mlobs_pipelines.store.people import newest, with_people
from mlobs_pipelines.store.tables import CAUSES, DECISIONS, INCIDENTS, TABLES

_KINDS = {pl.Date: "date", pl.Int64: "bigint", pl.Float64: "double", pl.Boolean: "boolean", pl.Datetime: "timestamp"}


def _columns(schema: pl.Schema) -> str:
    return ", ".join(f"{name} {_KINDS.get(type(kind), 'varchar')}" for name, kind in schema.items())


MARTS = ("known_metrics", "latest_metrics", "model_health", "version_comparison")

NIGHT_TABLES = {name: f"{name[:-1]}_nights" if name in ("incidents", "causes") else name for name in TABLES} | {
    WATCH_TABLE: "monitoring_nights",
    "explanations": "metrics",
}
"""Table of the store -> table of the snapshot that its files' rows are in."""

OWN_ROWS = {"metrics": " and family <> 'explanation'", "explanations": " and family = 'explanation'"}
"""Which rows of a shared table are of which files."""

NIGHT_COLUMN = {name: "arrival_date" if name == "runs" else "as_of" for name in NIGHT_TABLES}

COLUMNS = {
    **{NIGHT_TABLES[name]: _columns(schema) for name, schema in TABLES.items()},
    NIGHT_TABLES[WATCH_TABLE]: _columns(INCIDENTS),
    "incidents": _columns(INCIDENTS),
    "causes": _columns(CAUSES),
    "decisions": _columns(DECISIONS),
    "models": "model varchar, task varchar, owner varchar, timezone varchar",
}
"""Tables of the snapshot, there from the first night on. ``incidents`` and ``causes`` have each incident once, as it is
known now and with what people said of it; ``incident_nights`` and ``cause_nights`` as it was known on every night."""

Files = dict[tuple[str, str, dt.date], str]
"""(table, model, night) of a file of the store -> what tells that it is still the same."""


class PublishError(UserError):
    """The snapshot could not be made; the store itself is untouched."""


def publish(home: Home, specs: Sequence[ModelSpec] = ()) -> None:
    """Bring ``results.duckdb`` up to date with all of the store, and remember ``specs`` for the marts.

    Runs that end together wait for each other here; the first takes in what all of them wrote.

    Raises:
        PublishError: dbt or the disk refused.
    """
    for spec in specs:
        _remember(home, spec)
    with exclusive(_working(home) / "publish.lock"):
        for litter in home.root.glob(f".{home.results.name}.*"):
            litter.unlink(missing_ok=True)
        try:
            changed = _bring_up_to_date(home)
            if changed or not home.results.exists():
                _snapshot(home)
        except (Error, OSError, dbt.DbtError) as error:
            raise PublishError(f"cannot publish {home.results}: {' '.join(str(error).split())[:500]}") from error


def _layout() -> str:
    """What tells a working copy that was made by another version of the marts or of the tables."""
    return hashlib.sha256(f"{dbt.project_version()} {COLUMNS}".encode()).hexdigest()


def _remember(home: Home, spec: ModelSpec) -> None:
    """Keep what the marts say of a model itself; it outlives the model's file."""
    card = {"model": spec.model, "task": spec.task, "owner": spec.owner, "timezone": spec.timezone}
    path = home.root / "store" / "models" / f"{spec.model}.json"
    text = json.dumps(card, ensure_ascii=False) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _bring_up_to_date(home: Home) -> bool:
    """Make the working copy hold what the store holds, from nothing if it is broken; tells whether that changed it."""
    file = _working(home) / "work.duckdb"
    try:
        with _attached(home, file) as engine:
            built_by = engine.rows("select project from warehouse.built_by")
            current = built_by == [(_layout(),)]
        if current:
            return _load(home, file)
    except Error:
        pass  # missing, broken or of another version: a copy of the store is easily made again
    for path in (file, file.with_name(f"{file.name}.wal")):
        path.unlink(missing_ok=True)
    with _attached(home, file) as engine:
        engine.run("create table warehouse.loaded (name varchar, model varchar, night date, file varchar)")
        engine.run("create table warehouse.log (entries bigint)")
        for name, columns in COLUMNS.items():
            engine.run(f"create table warehouse.{name} ({columns})")
    _load(home, file)
    dbt.run_dbt(("run", "--select", "marts"), dbt.environment(home, file, _working(home)))
    with _attached(home, file) as engine:
        engine.run(f"create table warehouse.built_by as select {sql.text(_layout())} as project")
    return True


def _load(home: Home, file: Path) -> bool:
    """Replace the rows of every file of the store that is new, changed or gone."""
    stored = _stored(home)
    cards = [json.loads(p.read_text(encoding="utf-8")) for p in sorted((home.root / "store" / "models").glob("*.json"))]
    with _attached(home, file) as engine:
        loaded: Files = {
            (name, model, night): state
            for name, model, night, state in engine.rows("select name, model, night, file from warehouse.loaded")
        }
        models = [(c["model"], c["task"], c["owner"], c["timezone"]) for c in cards]
        known = engine.rows("select model, task, owner, timezone from warehouse.models order by model")
        stale = sorted(key for key in stored.keys() | loaded.keys() if stored.get(key) != loaded.get(key))
        log = decisions(home)
        if (
            not stale
            and sorted(models) == known
            and engine.rows("select entries from warehouse.log") == [(log.height,)]
        ):
            return False
        engine.run("begin")
        engine.run("delete from warehouse.models")
        for card in models:
            values = ", ".join("null" if value is None else sql.text(value) for value in card)
            engine.run(f"insert into warehouse.models values ({values})")
        for name, model in sorted({(name, model) for name, model, _ in stale}):
            _replace(engine, home, name, model, [n for t, m, n in stale if (t, m) == (name, model)], stored)
        _conclude(engine, log)
        engine.run("commit")
    return True


def _conclude(engine: DuckDBEngine, log: pl.DataFrame) -> None:
    """Each incident once, as it is known now and with what people said of it; its newest causes; the log."""
    nights = pl.DataFrame(
        engine.table("select * from warehouse.incident_nights union all select * from warehouse.monitoring_nights")
    )
    _fill(engine, "incidents", with_people(newest(nights), log))
    latest = "select incident_id, max(as_of) as as_of from warehouse.cause_nights group by incident_id"
    engine.run(
        "delete from warehouse.causes; insert into warehouse.causes "
        f"select c.* from warehouse.cause_nights as c inner join ({latest}) as l using (incident_id, as_of)"
    )
    _fill(engine, "decisions", log)
    engine.run(f"delete from warehouse.log; insert into warehouse.log values ({log.height})")


def _fill(engine: DuckDBEngine, name: str, rows: pl.DataFrame) -> None:
    engine.register("filling", rows.to_arrow())
    engine.run(f"delete from warehouse.{name}; insert into warehouse.{name} select * from filling")


def _replace(engine: DuckDBEngine, home: Home, name: str, model: str, days: list[dt.date], stored: Files) -> None:
    """Replace the rows that came of some nights' files of one table and model."""
    listed = ", ".join(f"date '{day}'" for day in days)
    engine.run(
        f"delete from warehouse.{NIGHT_TABLES[name]} where model = {sql.text(model)} and {NIGHT_COLUMN[name]} in ({listed})"
        f"{OWN_ROWS.get(name, '')}; delete from warehouse.loaded where name = '{name}' and model = {sql.text(model)} and night in ({listed})"
    )
    present = [day for day in days if (name, model, day) in stored]
    if not present:
        return
    files = [home.store_file(name, model, day) for day in present]
    names = ", ".join(TABLES["incidents" if name == WATCH_TABLE else name])
    states = ", ".join(
        f"('{name}', {sql.text(model)}, date '{day}', {sql.text(stored[name, model, day])})" for day in present
    )
    engine.run(
        f"insert into warehouse.{NIGHT_TABLES[name]} select {names} from {scan(files)} where model = {sql.text(model)}; "
        f"insert into warehouse.loaded values {states}"
    )


def _stored(home: Home) -> Files:
    found: Files = {}
    for name in (*STORE_TABLES, WATCH_TABLE):
        for folder in sorted((home.root / "store" / name).glob("*")):
            for night in nights(folder):
                with contextlib.suppress(FileNotFoundError):
                    stat = home.store_file(name, folder.name, night).stat()
                    found[name, folder.name, night] = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
    return found


def _snapshot(home: Home) -> None:
    """Copy the working database, turn its marts into tables, and rename the copy into place."""
    with published(home.results) as draft:
        shutil.copyfile(_working(home) / "work.duckdb", draft)
        with _attached(home, draft) as engine:
            for mart in MARTS:  # the later ones read the earlier ones' tables
                engine.run(
                    f"create table warehouse.filled as select * from warehouse.{mart}; "
                    f"drop view warehouse.{mart}; alter table warehouse.filled rename to {mart}"
                )
            engine.run(
                "drop table warehouse.loaded; drop table warehouse.built_by; "
                "drop table warehouse.log; checkpoint warehouse"
            )


@contextlib.contextmanager
def _attached(home: Home, file: Path) -> Iterator[DuckDBEngine]:
    """An engine with a database file attached under the name that dbt's views call it by."""
    with DuckDBEngine(_working(home) / "spill") as engine:
        engine.attach(file, "warehouse")
        yield engine
        engine.run("checkpoint warehouse; detach warehouse")


def _working(home: Home) -> Path:
    """A folder that no model's files can be mistaken for."""
    return home.warehouse / "results"
