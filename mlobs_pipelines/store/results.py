"""The store's Parquet files -> ``results.duckdb``: one file for BI tools and SQL, replaced whole after each run.

There are two such files, which take turns: one is shown, the other is brought up to date with what the store has that it
has not, and then they change places. Whoever has the old one open keeps it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlobs_pipelines.engine import dbt, sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error, disk_full
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.changes import Look, changes
from mlobs_pipelines.store.double_buffer import DoubleBuffer
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.load import COLUMNS, create, load
from mlobs_pipelines.store.lock import exclusive
from mlobs_pipelines.store.marts import Marts, definitions

BEHIND = 3
"""Nights that the back may lack; where it lacks more, after a backfill, a copy of the front is sooner up to date."""

MEMORY = "1GB"
"""What the engine takes where ``MLOBS_MEMORY`` does not say: of a file that it writes it keeps as much as it may, to no use."""


class PublishError(UserError):
    """The snapshot could not be made; the store itself is untouched."""


def publish(home: Home, specs: Sequence[ModelSpec] = ()) -> None:
    """Bring ``results.duckdb`` up to date with all of the store, and remember ``specs`` for the marts.

    Runs that end together wait for each other here; the first takes in what all of them wrote. Where specs are given,
    the files of their models are looked at one by one, those of others where a file came or went; else all are.

    Raises:
        PublishError: dbt or the disk refused.
    """
    for spec in specs:
        _remember(home, spec)
    files = DoubleBuffer(home.results)
    with at_rest(home):
        try:
            files.tidy()
            look = Look(home, [spec.model for spec in specs])
            if not _is_current(look, files.front):
                _bring_up_to_date(look, files)
                files.swap()
        except (Error, OSError, dbt.DbtError) as error:
            raise PublishError(f"cannot publish {home.results}: {' '.join(str(error).split())[:500]}") from error


@contextlib.contextmanager
def at_rest(home: Home) -> Iterator[None]:
    """As long as the block lasts, nobody takes in what the store holds."""
    with exclusive(_working(home) / "publish.lock"):
        yield


def _remember(home: Home, spec: ModelSpec) -> None:
    """Keep what the marts say of a model itself; it outlives the model's file."""
    card = {"model": spec.model, "task": spec.task, "owner": spec.owner, "timezone": spec.timezone}
    path = home.root / "store" / "models" / f"{spec.model}.json"
    text = json.dumps(card, ensure_ascii=False) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _is_current(look: Look, file: Path) -> bool:
    """Whether a file has all that the store has."""
    try:
        with _attached(look.home, file, read_only=True) as engine:
            return _sealed(engine, file) and not changes(engine, look, "warehouse")
    except (Error, FileNotFoundError):
        return False


def _bring_up_to_date(look: Look, files: DoubleBuffer) -> None:
    """Make the back hold what the store holds: the cheapest way that does it."""
    shown = files.front.exists()
    if files.free() and _updated(look, files.back, BEHIND if shown else None):
        return
    if shown:
        files.copy()
        if _updated(look, files.back):
            return
    files.discard()
    _create(look.home, files.back)
    _update(look, files.back)


def _updated(look: Look, file: Path, behind: int | None = None) -> bool:
    """Bring a file up to date, if it is as it was left here; one that is not, or is broken, is easily made again.

    One that lacks more than ``behind`` nights is left as it is, too.
    """
    try:
        return _update(look, file, behind)
    except Error as error:
        if disk_full(error):
            raise
        return False


def _update(look: Look, file: Path, behind: int | None = None) -> bool:
    with _attached(look.home, file) as engine:
        if not _sealed(engine, file):
            return False
        found = changes(engine, look, "warehouse")
        if not found:
            return True
        if behind is not None and max(map(len, found.new.values()), default=0) > behind:
            return False
        # Statement by statement: DuckDB 2.0 may crash on reading what the same transaction has taken out and put in.
        # A file that was left half done is not sealed.
        load(engine, look.home, found)
        stamp = _stamp(engine)
    _seal(file, stamp)
    return True


def _create(home: Home, file: Path) -> None:
    """An empty database with all tables and marts."""
    (_working(home) / "work.duckdb").unlink(missing_ok=True)  # an earlier version's, which copied it
    with _attached(home, file) as engine:
        create(engine)
    found = definitions(home, file, _working(home))
    with _attached(home, file) as engine:
        Marts.create(engine, found)
        engine.run("create table warehouse.publishing.seal (layout varchar, stamp bigint)")
        stamp = _stamp(engine)
    _seal(file, stamp)


def _layout() -> str:
    """What tells a file that was made by another version of the marts or of the tables."""
    return hashlib.sha256(f"{dbt.project_version()} {COLUMNS}".encode()).hexdigest()


def _stamp(engine: DuckDBEngine) -> int:
    stamp = time.time_ns()
    engine.run(
        "delete from warehouse.publishing.seal; "
        f"insert into warehouse.publishing.seal values ({sql.text(_layout())}, {stamp})"
    )
    return stamp


def _seal(file: Path, stamp: int) -> None:
    """Give a finished file the time that it says of itself.

    A file that was written to by other hands, or by a process that was killed, has another one, and is not relied on.
    """
    os.utime(file, ns=(stamp, stamp))
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _sealed(engine: DuckDBEngine, file: Path) -> bool:
    seals = engine.rows("select layout, stamp from warehouse.publishing.seal")
    return seals == [(_layout(), file.stat().st_mtime_ns)]


@contextlib.contextmanager
def _attached(home: Home, file: Path, *, read_only: bool = False) -> Iterator[DuckDBEngine]:
    """An engine with a database file attached under the name that dbt's models call it by."""
    with DuckDBEngine(_working(home) / "spill", memory=os.environ.get("MLOBS_MEMORY", MEMORY)) as engine:
        engine.run(f"attach {sql.text(str(file))} as warehouse{' (read_only)' if read_only else ''}")
        yield engine
        engine.run("checkpoint warehouse; detach warehouse" if not read_only else "detach warehouse")


def _working(home: Home) -> Path:
    """A folder that no model's files can be mistaken for."""
    return home.warehouse / "results"
