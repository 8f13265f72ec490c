"""Which nights a table holds, and where their rows are: in a file of the night's own, or in the file of its month.

A night is written to a file of its own, ``2026-01-31.parquet``. Of a month that is long over ``store.compaction`` makes one
file, ``2026-01.parquet``: row groups night by night, and in its metadata the nights that it holds, for a night may have no
rows. A night's own file goes before its month's; so a night is written again like any other, and what is cut off between
the month's file and the removal of the nights' leaves nothing twice and nothing out.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import polars as pl

KEY = b"mlobs.nights"
"""Under which a month's file says which nights it holds."""

LET_GO_KEY = b"mlobs.let_go"
"""Under which a night's own file says that its rows were let go of, and which night was the newest then."""

_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")

Read = TypeVar("Read")


LET_GO = "let go"
"""State of a night whose rows were let go of: it is known that there was such a night, and no more."""


class Held(NamedTuple):
    """What a month's file says of a night: how many rows, and what told the night's own file from any other."""

    rows: int
    state: str


class Part(NamedTuple):
    """A file with rows that are wanted: those of some ``nights`` of a month, or all of them where it is a night's own.

    Nights are named even where they are all that a month's file holds: it may hold more by the time that it is read.
    """

    path: Path
    nights: tuple[dt.date, ...] = ()


_NOTHING: Mapping[dt.date, Held] = MappingProxyType({})


@dataclass(frozen=True)
class Nights:
    """The nights of one table of one model. ``column`` tells, of a row in a month's file, whose night's it is."""

    folder: Path
    column: str = "arrival_date"

    def all(self) -> list[dt.date]:
        """Every night that the table holds, ascending; files that are no night's and no month's are passed over."""
        own = {night for path in self.folder.glob("*.parquet") if (night := night_of(path.name))}
        return sorted(own.union(*self._months()))

    def between(self, first: dt.date, last: dt.date) -> list[dt.date]:
        """The nights from ``first`` to ``last``, both included."""
        return [night for night in self.all() if first <= night <= last]

    def __contains__(self, night: dt.date) -> bool:
        return self.own(night).exists() or night in self.month(night)

    def own(self, night: dt.date) -> Path:
        """The file that a night is written to."""
        return self.folder / f"{night.isoformat()}.parquet"

    def month_file(self, night: dt.date) -> Path:
        """The file of a night's month."""
        return self.folder / f"{night.isoformat()[:7]}.parquet"

    def month(self, night: dt.date) -> Mapping[dt.date, Held]:
        """What the file of a night's month holds, if there is one."""
        path = self.month_file(night)
        try:
            stat = path.stat()
        except FileNotFoundError:
            return _NOTHING
        return _held(str(path), told(stat))

    def files(self, wanted: Iterable[dt.date]) -> list[Part]:
        """Where the rows of some nights are, in the order of the nights; nights that the table lacks are left out."""
        found: list[Part] = []
        for night in sorted(set(wanted)):
            own = self.own(night)
            if own.exists():
                found.append(Part(own))
            elif night in self.month(night):
                path = self.month_file(night)
                before = found.pop().nights if found and found[-1].path == path else ()
                found.append(Part(path, (*before, night)))
        return found

    def relation(self, wanted: Iterable[dt.date]) -> str | None:
        """SQL, for the embedded engine, for the rows of some nights, columns matched by name; None: it has none of them."""
        from mlobs_pipelines.engine import sql
        from mlobs_pipelines.engine.duckdb import scan

        files = self.files(wanted)
        own = [part.path for part in files if not part.nights]
        months = list(dict.fromkeys(part.path for part in files if part.nights))
        parts = [scan(own)] if own else []
        if months:
            dates = sql.dates(night for part in files for night in part.nights)
            parts.append(f"(select * from {scan(months)} where {self.column} in ({dates}))")
        return f"(from {' union all by name from '.join(parts)})" if len(parts) > 1 else parts[0] if parts else None

    def frames(self, wanted: Iterable[dt.date], **options: Any) -> list[pl.LazyFrame]:
        """The rows of some nights, a frame for each file in turn; ``options`` are those of Polars' scan."""
        import polars as pl

        def frame(part: Part) -> pl.LazyFrame:
            rows = pl.scan_parquet(part.path, **options)
            if not part.nights:
                return rows
            night = pl.col(self.column)
            return rows.filter(night.is_between(part.nights[0], part.nights[-1]) & night.is_in(part.nights))

        return [frame(part) for part in self.files(wanted)]

    def rows(self, wanted: Iterable[dt.date]) -> dict[dt.date, int]:
        """How many rows nights have, from the files' footers; nights that the table lacks are left out."""
        import pyarrow.parquet as pq

        found = {}
        for night in wanted:
            if self.own(night).exists():
                found[night] = pq.read_metadata(self.own(night)).num_rows
            elif held := self.month(night).get(night):
                found[night] = held.rows
        return found

    def let_go(self, wanted: Iterable[dt.date]) -> dict[dt.date, dt.date]:
        """Those of some nights whose rows were let go of in their own files, and which night was the newest then."""
        found = {}
        for night in wanted:
            with contextlib.suppress(FileNotFoundError):
                path = self.own(night)
                if newest := _let_go(str(path), told(path.stat())):
                    found[night] = newest
        return found

    def kept(self, wanted: Iterable[dt.date]) -> list[dt.date]:
        """Some nights without those whose rows were let go of, in their order."""
        nights = list(wanted)
        gone = self.let_go(nights)
        return [night for night in nights if night not in gone]

    def states(self) -> dict[dt.date, str]:
        """What tells of each night that its rows are still the same: folded into its month's file they are."""
        own: dict[dt.date, str] = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if night := night_of(entry.name):
                        own[night] = told(entry.stat())
        return {night: held.state for month in self._months() for night, held in month.items()} | own

    def _months(self) -> list[Mapping[dt.date, Held]]:
        """What each month's file holds. Look for nights' own files before: what is gone of them is in one of these."""
        found = (month_of(path.name) for path in self.folder.glob("????-??.parquet"))
        return [self.month(month) for month in found if month]


def patiently(read: Callable[[], Read], *gone: type[Exception]) -> Read:
    """What ``read`` gives. It is asked again where a file that it had found was gone before it was read, folded into its
    month's: then it raises ``FileNotFoundError``, or what its engine says, ``gone``."""
    for _ in range(3):
        with contextlib.suppress(FileNotFoundError, *gone):
            return read()
    return read()


def night_of(file: str) -> dt.date | None:
    """The night whose file has this name, if it is one's."""
    name, _, suffix = file.rpartition(".")
    if suffix != "parquet":
        return None
    try:
        return dt.date.fromisoformat(name)
    except ValueError:
        return None


def month_of(file: str) -> dt.date | None:
    """The first day of the month whose file has this name, if it is one's."""
    name, _, suffix = file.rpartition(".")
    return night_of(f"{name}-01.parquet") if suffix == "parquet" and _MONTH.fullmatch(name) else None


def told(stat: os.stat_result) -> str:
    """What tells a file from any other that had, or will have, its name."""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"


def metadata_of(nights: Mapping[dt.date, Held]) -> dict[bytes, bytes]:
    """What the metadata of a month's file say."""
    return {KEY: json.dumps({night.isoformat(): held for night, held in sorted(nights.items())}).encode()}


def let_go_metadata(newest: dt.date) -> dict[bytes, bytes]:
    """What the metadata of a night's own file say where its rows were let go of."""
    return {LET_GO_KEY: newest.isoformat().encode()}


@functools.lru_cache(maxsize=4096)
def _let_go(path: str, _told: str) -> dt.date | None:
    import pyarrow.parquet as pq

    found = (pq.read_metadata(path).metadata or {}).get(LET_GO_KEY)
    return dt.date.fromisoformat(found.decode()) if found else None


@functools.lru_cache(maxsize=4096)
def _held(path: str, _told: str) -> Mapping[dt.date, Held]:
    import pyarrow.parquet as pq

    found = json.loads((pq.read_metadata(path).metadata or {})[KEY])
    return MappingProxyType({dt.date.fromisoformat(night): Held(*held) for night, held in found.items()})
