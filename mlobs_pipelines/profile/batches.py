"""The facts of some nights as batches of columns: a row group of a file of predictions each, for one worker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.profile.cells import Coded, Names
from mlobs_pipelines.profile.kernels import Places
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.tables import day_number

BATCH_ROWS = 100_000
"""Row groups of several files are read as one batch up to about so many rows."""
MOST_FACTS = 4_000_000
"""Label facts that are found in the files of predictions at once, unless one night's predictions alone have more."""

Numbers = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Part:
    """A row group of a file of predictions. The file's footer is read once for all of them: it may be long."""

    path: Path
    group: int
    footer: pq.FileMetaData

    @property
    def rows(self) -> int:
        return int(self.footer.row_group(self.group).num_rows)


@dataclass(frozen=True)
class Labels:
    """Label facts about the rows of a batch: the row each is about, by night, with its sign."""

    rows: Places
    arrival: npt.NDArray[np.int32]
    sign: npt.NDArray[np.int8]
    label: pa.Array


@dataclass(frozen=True)
class Batch:
    """The predictions of some row groups as facts (``labels`` is None: they arrive), or label facts about some of them."""

    parts: tuple[Part, ...]
    labels: Labels | None = None

    def read(self, columns: Sequence[str], categories: Sequence[str]) -> pa.Table:
        """The columns of all rows; categories as numbers and a dictionary."""
        tables = []
        for part in self.parts:
            # Mapped: nobody writes into a file of the lake; another takes its place.
            with pq.ParquetFile(
                part.path, metadata=part.footer, read_dictionary=list(categories), memory_map=True
            ) as file:
                table = file.read_row_group(part.group, columns=list(columns), use_threads=False)
            # Whether a column may be null is each file's own.
            tables.append(pa.Table.from_arrays(table.columns, names=table.column_names))
        if len(tables) == 1:
            return tables[0]
        return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


@dataclass(frozen=True)
class Loaded:
    """A batch that is in memory."""

    table: pa.Table
    labels: Labels | None = None

    def read(self, columns: Sequence[str], categories: Sequence[str]) -> pa.Table:
        """The columns of all rows; categories as numbers and a dictionary."""
        known = {name: self.table.column(name) for name in columns}
        return pa.table({n: of.dictionary_encode() if n in categories else of for n, of in known.items()})


Facts = Batch | Loaded
"""What a worker counts at once, wherever its rows are."""


def labelled_rows(rows: Iterable[pa.Table]) -> Iterator[Loaded]:
    """Those of some rows that have a label in their column ``label``."""
    for table in rows:
        label = table.column("label").combine_chunks()
        told = np.flatnonzero(label.is_valid().to_numpy(zero_copy_only=False))
        if len(told):
            arrival, sign = np.zeros(len(told), np.int32), np.ones(len(told), np.int8)
            yield Loaded(table, Labels(told, arrival, sign, label.drop_null()))


def arrived(home: Home, model: str, nights: Sequence[dt.date]) -> Iterator[Batch]:
    """The predictions that arrived on the nights."""
    parts: list[Part] = []
    held = 0
    for night in nights:
        path = home.lake_file(model, "predictions", night)
        for part in _parts(path):
            if parts and held + part.rows > BATCH_ROWS:
                yield Batch(tuple(parts))
                parts, held = [], 0
            if part.rows:
                parts.append(part)
                held += part.rows
    if parts:
        yield Batch(tuple(parts))


def _parts(path: Path) -> list[Part]:
    """The row groups of a file."""
    footer = pq.read_metadata(path)
    return [Part(path, group, footer) for group in range(footer.num_row_groups)]


def labelled(engine: DuckDBEngine, home: Home, model: str, nights: Sequence[dt.date]) -> Iterator[Batch]:
    """The label facts of the nights, by the row groups of the predictions they are about."""
    files = [home.lake_file(model, "label_facts", night) for night in nights]
    about = engine.rows(f"select prediction_arrival_date, count(*) from {scan(files)} group by 1 order by 1")
    count_of = dict(about)
    chunk: list[dt.date] = []
    facts = 0
    for night in home.lake_nights(model, "predictions").kept(count_of):
        count = count_of[night]
        if chunk and facts + count > MOST_FACTS:
            yield from _found(engine, home, model, nights, chunk, facts)
            chunk, facts = [], 0
        chunk.append(night)
        facts += count
    if chunk:
        yield from _found(engine, home, model, nights, chunk, facts)


def _found(
    engine: DuckDBEngine, home: Home, model: str, told: Sequence[dt.date], nights: Sequence[dt.date], wanted: int
) -> Iterator[Batch]:
    """Label facts that were ``told`` on some nights about the predictions of others, so many as are ``wanted``, each with
    the row it is about.

    Rows are found by 64-bit digests of their keys, which are far cheaper to compare than text. Every fact is about one
    row, so if two keys should share a digest there are more pairs than facts, and the keys themselves are compared.
    """
    paths = [home.lake_file(model, "predictions", night) for night in nights]
    files = [home.lake_file(model, "label_facts", night) for night in told]
    # Of ten million facts each column that is read, compared or carried along takes some hundredths of a second.
    keys = ("prediction_id", "version", "role", *(["night"] if len(nights) > 1 else []))
    digest = f"select hash({', '.join(keys)}) as digest, *"
    all_of_them = wanted == sum(pq.read_metadata(file).num_rows for file in files)
    chosen = "" if all_of_them else f" where prediction_arrival_date in ({sql.dates(nights)})"
    facts = f"{digest} from (select *, prediction_arrival_date as night from {scan(files)}{chosen})"
    listed = ", ".join(sql.text(str(path)) for path in paths)
    numbered = f"read_parquet([{listed}], union_by_name = true, file_row_number = true)"
    predictions = f"{digest} from (select *, arrival_date as night from {numbered})"
    dates = "".join(f"l.{name}, " for name, of in (("night", nights), ("arrival_date", told)) if len(of) > 1)
    for equal in (("digest",), keys):
        found = engine.table(
            f"select {dates}cast(p.file_row_number as uinteger) as row, l.sign, l.label "
            f"from ({facts}) l join ({predictions}) p on {' and '.join(f'l.{key} = p.{key}' for key in equal)}"
        )
        if found.num_rows == wanted:
            break
    yield from _by_row_group(paths, told, nights, found)


def _by_row_group(
    paths: Sequence[Path], told: Sequence[dt.date], nights: Sequence[dt.date], found: pa.Table
) -> Iterator[Batch]:
    files = [_parts(path) for path in paths]
    stored = [part for file in files for part in file]
    about = _about(_rows(files, nights, found), sum(part.rows for part in stored))
    label = found.column("label").combine_chunks()
    sign = found.column("sign").to_numpy()
    only = np.broadcast_to(np.int32(day_number(told[0])), len(sign))
    arrival = _days(found.column("arrival_date")) if len(told) > 1 else only

    def batch(parts: Sequence[Part], rows: Sequence[Places], at: Sequence[Numbers]) -> Batch:
        facts = np.concatenate(at)
        labels = Labels(np.concatenate(rows), arrival[facts], sign[facts], label.take(pa.array(facts)))
        return Batch(tuple(parts), labels)

    parts: list[Part] = []
    rows: list[Places] = []
    facts: list[Numbers] = []
    first = held = 0
    for part in stored:
        of, at = about(first, first + part.rows)
        first += part.rows
        if not len(of):
            continue
        if parts and held + part.rows > BATCH_ROWS:
            yield batch(parts, rows, facts)
            parts, rows, facts, held = [], [], [], 0
        parts.append(part)
        rows.append(of + held)
        facts.append(at)
        held += part.rows
    if parts:
        yield batch(parts, rows, facts)


def _rows(files: Sequence[Sequence[Part]], nights: Sequence[dt.date], found: pa.Table) -> list[Numbers]:
    """The row that each fact is about, piece by piece as facts were found; counted on over the files of all nights."""
    first = np.cumsum([0, *(sum(part.rows for part in file) for file in files)])
    days = np.array([day_number(night) for night in nights])
    if len(nights) == 1:
        return [piece.to_numpy() for piece in found.column("row").chunks]
    pieces = found.select(["night", "row"]).to_batches()
    return [piece["row"].to_numpy() + first[np.searchsorted(days, _days(piece["night"]))] for piece in pieces]


def _about(pieces: Sequence[Numbers], rows: int) -> Callable[[int, int], tuple[Places, Numbers]]:
    """What gives, for a range of rows, those of it that facts are about, ascending from 0, and the fact about each.

    Nearly always a row has one fact: that needs no sorting. A range is looked at when it is asked for: others work meanwhile.
    """
    count = sum(map(len, pieces))
    if rows <= min(4 * count, 2**31):
        fact = np.full(rows, -1, np.int32)
        known = 0
        for row in pieces:
            fact[row] = np.arange(known, known + len(row), dtype=np.int32)
            known += len(row)
        if np.count_nonzero(fact >= 0) == count:

            def alone(first: int, after: int) -> tuple[Places, Numbers]:
                told = np.flatnonzero(fact[first:after] >= 0)
                return told, fact[first:after][told]

            return alone
    every = np.concatenate([np.zeros(0, np.int64), *pieces])
    order = np.argsort(every, kind="stable")
    ascending = every[order]

    def several(first: int, after: int) -> tuple[Places, Numbers]:
        of, to = np.searchsorted(ascending, [first, after])
        return ascending[of:to] - first, order[of:to]

    return several


def coded_dates(column: pa.Array) -> Coded:
    """A column of dates, as days since 1970-01-01."""
    return Coded.of(_days(column))


def coded_names(column: pa.Array, names: Names) -> Coded:
    """A column of text, or of categories, without nulls, as numbers of names."""
    column = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
    return Coded(column.indices.to_numpy(), names(column.dictionary.to_pylist()))


def _days(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int32]:
    days: npt.NDArray[np.int32] = column.cast(pa.int32()).to_numpy()
    return days
