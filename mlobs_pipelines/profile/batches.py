"""The facts of some nights as batches of columns: a row group of a file of predictions each, for one worker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.profile.cells import Coded, Names
from mlobs_pipelines.profile.kernels import Ints, Places
from mlobs_pipelines.store.layout import Home

BATCH_ROWS = 100_000
"""Row groups of several files are read as one batch up to about so many rows."""
MOST_FACTS = 4_000_000
"""Label facts that are found in the files of predictions at once, unless one night's predictions alone have more."""
_EPOCH = dt.date(1970, 1, 1)


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
            with pq.ParquetFile(part.path, metadata=part.footer, read_dictionary=list(categories)) as file:
                table = file.read_row_group(part.group, columns=list(columns), use_threads=False)
            # Whether a column may be null is each file's own.
            tables.append(pa.Table.from_arrays(table.columns, names=table.column_names))
        if len(tables) == 1:
            return tables[0]
        return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


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
    let_go = home.lake_nights(model, "predictions").let_go(night for night, _ in about)
    chunk: list[dt.date] = []
    facts = 0
    for night, count in about:
        if night in let_go:
            continue
        if chunk and facts + count > MOST_FACTS:
            yield from _found(engine, home, model, files, chunk, facts)
            chunk, facts = [], 0
        chunk.append(night)
        facts += count
    if chunk:
        yield from _found(engine, home, model, files, chunk, facts)


def of_file(path: Path) -> Iterator[Batch]:
    """The rows of one file, as predictions that arrive."""
    yield from (Batch((part,)) for part in _parts(path))


def labelled_of_file(path: Path) -> Iterator[Batch]:
    """The rows of one file that have a label in its column ``label``."""
    with pq.ParquetFile(path) as file:
        for part in _parts(path):
            label = file.read_row_group(part.group, columns=["label"]).column(0).combine_chunks()
            rows = np.flatnonzero(label.is_valid().to_numpy(zero_copy_only=False))
            if len(rows):
                arrival, sign = np.zeros(len(rows), np.int32), np.ones(len(rows), np.int8)
                yield Batch((part,), Labels(rows, arrival, sign, label.drop_null()))


def _found(
    engine: DuckDBEngine, home: Home, model: str, files: Sequence[Path], nights: Sequence[dt.date], wanted: int
) -> Iterator[Batch]:
    """Label facts about the predictions of some nights, so many as are ``wanted``, each with the row it is about.

    Rows are found by 64-bit digests of their keys, which are far cheaper to compare than text. Every fact is about one
    row, so if two keys should share a digest there are more pairs than facts, and the keys themselves are compared.
    """
    paths = [home.lake_file(model, "predictions", night) for night in nights]
    dates = ", ".join(f"date '{night}'" for night in nights)
    keys = "prediction_id, version, role"
    facts = (
        f"select hash({keys}) as digest, {keys}, prediction_arrival_date, arrival_date, sign, label "
        f"from {scan(list(files))} where prediction_arrival_date in ({dates})"
    )
    predictions = (
        f"select hash({keys}) as digest, {keys}, arrival_date, file_row_number "
        f"from read_parquet([{', '.join(_text(path) for path in paths)}], union_by_name = true, file_row_number = true)"
    )
    exact = " and ".join(f"l.{key} = p.{key}" for key in keys.split(", "))
    for condition in ("l.digest = p.digest", exact):
        found = engine.table(
            "select l.prediction_arrival_date as night, cast(p.file_row_number as bigint) as row, l.arrival_date, l.sign, l.label "
            f"from ({facts}) l join ({predictions}) p on {condition} and p.arrival_date = l.prediction_arrival_date"
        )
        if found.num_rows == wanted:
            break
    yield from _by_row_group(paths, nights, found)


def _by_row_group(paths: Sequence[Path], nights: Sequence[dt.date], found: pa.Table) -> Iterator[Batch]:
    files = [_parts(path) for path in paths]
    stored = [part for file in files for part in file]
    end = np.cumsum([part.rows for part in stored], dtype=np.int64)
    row = found.column("row").to_numpy()
    if len(nights) > 1:  # rows are numbered file by file: count on over all of them
        first = np.cumsum([0, *(sum(part.rows for part in file) for file in files)])
        days = np.array([(night - _EPOCH).days for night in nights])
        row = row + first[np.searchsorted(days, _days(found.column("night")))]
    order = _order(row, int(end[-1]))
    row = row[order]
    bounds = np.searchsorted(row, [0, *end])
    label = found.column("label").combine_chunks()
    arrival, sign = _days(found.column("arrival_date")), found.column("sign").to_numpy()

    def batch(parts: Sequence[Part], rows: Sequence[Places], at: Sequence[Places]) -> Batch:
        facts = np.concatenate(at)
        labels = Labels(np.concatenate(rows), arrival[facts], sign[facts], label.take(pa.array(facts)))
        return Batch(tuple(parts), labels)

    parts: list[Part] = []
    rows: list[Places] = []
    facts: list[Places] = []
    held = 0
    for part, after, of, to in zip(stored, end, bounds, bounds[1:], strict=False):
        if of == to:
            continue
        if parts and held + part.rows > BATCH_ROWS:
            yield batch(parts, rows, facts)
            parts, rows, facts, held = [], [], [], 0
        parts.append(part)
        rows.append((row[of:to] - (after - part.rows) + held).astype(np.intp))
        facts.append(order[of:to])
        held += part.rows
    if parts:
        yield batch(parts, rows, facts)


def _order(row: Ints, rows: int) -> Places:
    """The order of facts by the row they are about, of so many. Nearly always a row has one fact: that needs no sorting."""
    if rows <= 4 * len(row):
        fact = np.full(rows, -1, np.intp)
        fact[row] = np.arange(len(row))
        order = fact[fact >= 0]
        if len(order) == len(row):
            return order
    return np.argsort(row, kind="stable")


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


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
