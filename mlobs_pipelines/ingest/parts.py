"""What the nights must look at of a source's files: those that are written alike are read as one.

A statement over many columns takes the engine tens of milliseconds to plan, more than it takes to read a small file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from mlobs_pipelines.engine import sql
from mlobs_pipelines.ingest.readers import Column, Opened

MOST_FILES = 32
"""Files that are read as one at most: the engine carries the conditions on each to all of them."""


@dataclass(frozen=True)
class Asked:
    """A delivered file's rows of some dates, and with ``unknown`` those of unknown date too; files have ``number``s."""

    number: int
    opened: Opened
    dates: Collection[date]
    unknown: bool

    @property
    def wanted(self) -> str:
        """SQL for whether a row, whose date is ``own_date``, is asked for."""
        found = [own_date_among(self.dates)] if self.dates else []
        return " or ".join([*found, "own_date is null"] if self.unknown else found)


@dataclass(frozen=True)
class Part:
    """Rows of files with the same columns: those for which the SQL ``wanted`` holds.

    ``opened`` has a column ``file`` besides, the number of the file that a row is of; ``malformed`` are relations of
    the lines that are no rows, by the number of their file. ``late``: some rows are of other nights than those running.
    """

    files: tuple[int, ...]
    opened: Opened
    wanted: str
    late: bool
    malformed: tuple[tuple[int, str], ...]


def parts(asked: Iterable[Asked], nights: Collection[date], *, one_by_one: bool) -> list[Part]:
    """The files as parts, those that have the same columns together, or each alone."""
    alike: dict[tuple[Column, ...], list[Asked]] = {}
    for file in asked:
        alike.setdefault(file.opened.columns, []).append(file)
    most = 1 if one_by_one else MOST_FILES
    return [_part(files[i : i + most], nights) for files in alike.values() for i in range(0, len(files), most)]


def whole(opened: Opened) -> Part:
    """All rows of one file."""
    return replace(_part([Asked(0, opened, (), unknown=True)], ()), wanted="true")


def _part(files: Sequence[Asked], nights: Collection[date]) -> Part:
    rows = " union all ".join(f"select {f.number} as file, * from {f.opened.relation}" for f in files)
    wanted = [f"file = {f.number} and ({f.wanted})" for f in files]
    return Part(
        tuple(f.number for f in files),
        replace(
            files[0].opened,
            relation=f"({rows})",
            malformed=None,
            parquet=files[0].opened.parquet if len(files) == 1 else None,
        ),
        f"({' or '.join(wanted)})",
        any(not set(f.dates) <= set(nights) for f in files),
        tuple((f.number, f.opened.malformed) for f in files if f.unknown and f.opened.malformed),
    )


def own_date_among(dates: Collection[date]) -> str:
    """SQL for whether a row is of one of some dates."""
    return f"own_date in ({sql.dates(dates)})"
