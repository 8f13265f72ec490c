"""What the store holds and a database has not taken in yet. Looking costs what changed, not what is stored."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.store.journal import decisions
from mlobs_pipelines.store.layout import STORE_TABLES, WATCH_TABLE, Home

Folder = tuple[str, str]
"""Table and model."""

Card = tuple[str, str, str | None, str]
"""Model, task, owner, timezone."""

SETTLED_NS = 2_000_000_000
"""After so long nothing more can come into a folder without its time telling: clocks of file systems are coarse."""


@dataclass(frozen=True)
class Changes:
    """``new``: what tells of each night that came or changed that it is still the same; ``gone``: nights whose rows are
    no longer right, of those and of the ones that were removed. ``looked``: the folders that were looked into, and
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


class Look:
    """The store's files as they are during one publish; each folder is looked into once, and only if it has to be.

    A file is renamed into its folder, which changes the folder's time. Only where files of some ``models`` were written
    to in place would that not tell: theirs are looked at one by one, as all are where no models are named.
    """

    def __init__(self, home: Home, models: Collection[str] = ()) -> None:
        self.home, self._models = home, frozenset(models)
        self.folders = _folders(home)
        self._files: dict[Folder, dict[dt.date, str]] = {}

    def into(self, known: Mapping[Folder, int | None]) -> list[Folder]:
        """Folders that may hold other files than when they had the times in ``known``."""
        return sorted(folder for folder in known.keys() | self.folders.keys() if self._may_differ(folder, known))

    def _may_differ(self, folder: Folder, known: Mapping[Folder, int | None]) -> bool:
        changed = self.folders.get(folder)
        return not self._models or folder[1] in self._models or changed is None or changed != known.get(folder)

    def files(self, folder: Folder) -> dict[dt.date, str]:
        """What tells of each night that its rows are still the same."""
        if folder not in self._files:
            self._files[folder] = self.home.store_nights(*folder).states()
        return self._files[folder]

    def betray(self, folder: Folder) -> None:
        """Let the time of a folder tell, too, that a file in it was written to in place: another database will ask."""
        os.utime(self.home.store_folder(*folder))
        self.folders[folder] = None


def changes(engine: DuckDBEngine, look: Look, database: str) -> Changes:
    """Compare the store with what ``database``, which ``engine`` has attached, says that it took in."""
    known = {(name, model): at for name, model, at in engine.rows(f"from {database}.publishing.folders")}
    moved = look.into(known)
    new, gone = {}, {}
    loaded = _loaded(engine, database, moved)
    for folder in moved:
        had, has = loaded.get(folder, {}), look.files(folder)
        if came := {night: state for night, state in has.items() if had.get(night) != state}:
            new[folder] = came
        if went := {night for night, state in had.items() if has.get(night) != state}:
            gone[folder] = went
            if (at := look.folders.get(folder)) is not None and at == known.get(folder):
                look.betray(folder)
    cards = _cards(look.home)
    before = set(engine.rows(f"select model, task, owner, timezone from {database}.models"))
    log = decisions(look.home)
    return Changes(
        new,
        gone,
        moved,
        {folder: look.folders[folder] for folder in moved if folder in look.folders},
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
