"""What the store holds and a database has not taken in yet. Looking costs what changed, not what is stored."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.store.journal import decisions
from mlobs_pipelines.store.layout import STORE_TABLES, WATCH_TABLE, Home, night_of

Folder = tuple[str, str]
"""Table and model."""

Card = tuple[str, str, str | None, str]
"""Model, task, owner, timezone."""

SETTLED_NS = 2_000_000_000
"""After so long nothing more can come into a folder without its time telling: clocks of file systems are coarse."""


@dataclass(frozen=True)
class Changes:
    """``new``: what tells of each file that came or changed that it is still the same; ``gone``: nights whose rows are
    no longer right, of those files and of the ones that were removed. ``looked``: the folders that were looked into, and
    ``folders``: the times of those that are there. ``kept``: entries of the log that the database has and that are still
    right."""

    new: dict[Folder, dict[dt.date, str]]
    gone: dict[Folder, set[dt.date]]
    looked: list[Folder]
    folders: dict[Folder, int | None]
    cards: list[Card]
    other_cards: set[str]
    log: pl.DataFrame
    kept: int | None

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.other_cards or self.kept != self.log.height)

    @property
    def files(self) -> list[Folder]:
        return sorted(self.new.keys() | self.gone.keys())


def changes(engine: DuckDBEngine, home: Home, database: str) -> Changes:
    """Compare the store with what ``database``, which ``engine`` has attached, says that it took in."""
    known = {(name, model): at for name, model, at in engine.rows(f"from {database}.publishing.folders")}
    here = _folders(home)
    moved = sorted(
        folder for folder in known.keys() | here.keys() if (at := here.get(folder)) is None or known.get(folder) != at
    )
    new, gone = {}, {}
    loaded = _loaded(engine, database, moved)
    for folder in moved:
        had, has = loaded.get(folder, {}), _files(home, *folder)
        if came := {night: state for night, state in has.items() if had.get(night) != state}:
            new[folder] = came
        if went := {night for night, state in had.items() if has.get(night) != state}:
            gone[folder] = went
    cards = _cards(home)
    before = set(engine.rows(f"select model, task, owner, timezone from {database}.models"))
    log = decisions(home)
    return Changes(
        new,
        gone,
        moved,
        {folder: here[folder] for folder in moved if folder in here},
        cards,
        {card[0] for card in before ^ set(cards)},
        log,
        _kept(engine, database, log),
    )


def _folders(home: Home) -> dict[Folder, int | None]:
    """When a file last came into or left each folder; None where that was just now: more may come at the same time."""
    found: dict[Folder, int | None] = {}
    for name in (*STORE_TABLES, WATCH_TABLE):
        for model, stat in _stats(home.root / "store" / name):
            changed = stat.st_mtime_ns
            found[name, model] = changed if time.time_ns() - changed > SETTLED_NS else None
    return found


def _files(home: Home, name: str, model: str) -> dict[dt.date, str]:
    """What tells of each night's file that it is still the same."""
    stats = ((night_of(file), stat) for file, stat in _stats(home.store_folder(name, model)))
    return {night: f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}" for night, stat in stats if night}


def _stats(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """What lies in a folder, if there is one."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                yield entry.name, entry.stat()


def _loaded(engine: DuckDBEngine, database: str, folders: Collection[Folder]) -> dict[Folder, dict[dt.date, str]]:
    wanted = pl.DataFrame(list(folders), schema={"name": pl.String(), "model": pl.String()}, orient="row")
    engine.register("looked_into", wanted.to_arrow())
    found: dict[Folder, dict[dt.date, str]] = {}
    for name, model, night, state in engine.rows(
        f"select name, model, night, file from {database}.publishing.loaded semi join looked_into using (name, model)"
    ):
        found.setdefault((name, model), {})[night] = state
    return found


def _cards(home: Home) -> list[Card]:
    found = [json.loads(p.read_text(encoding="utf-8")) for p in sorted((home.root / "store" / "models").glob("*.json"))]
    return [(card["model"], card["task"], card["owner"], card["timezone"]) for card in found]


def _kept(engine: DuckDBEngine, database: str, log: pl.DataFrame) -> int | None:
    """How many entries the database has; None where they are not the log's first ones: it was begun anew."""
    ((entries, last),) = engine.rows(f"select count(*), arg_max(hash, seq) from {database}.decisions")
    if entries and (entries > log.height or log["hash"][entries - 1] != last):
        return None
    return int(entries)
