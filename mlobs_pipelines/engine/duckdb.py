"""DuckDB in memory: SQL in, Arrow out. No shared database file, nothing downloaded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

from mlobs_pipelines.engine import sql
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store.files import published

Error = duckdb.Error

_LARGEST_DICTIONARY = 8192
"""Values of a dictionary in a row group of Parquet at most; columns with more are written plain."""

FOR_IDS = "zstd, compression_level 1"
"""How to compress files that are ids for the most part: two thirds of lz4's time to write, and half the bytes."""

_CHUNK_ROWS = 16_384
"""Of results: a chunk grows as it is filled, and each time is moved; ten times as many rows took four times as long."""

_DISK_FULL = ("no space left", "failed to offload", "max_temp_directory_size", "disk quota", "could not write")


def disk_full(error: Error) -> bool:
    """Whether there was no room to write or to spill: no fault of the data that were read."""
    return any(word in str(error).lower() for word in _DISK_FULL)


def out_of_memory(error: Error) -> bool:
    """Whether a query needed more memory than it may have, even with spilling."""
    return isinstance(error, duckdb.OutOfMemoryException)


def misspoken(error: Error) -> bool:
    """Whether the SQL itself was wrong: no fault of the data either."""
    return isinstance(error, duckdb.BinderException | duckdb.ParserException | duckdb.CatalogException)


class OpenElsewhereError(UserError):
    """Another process keeps a database file open."""


class DuckDBEngine:
    """An in-memory DuckDB with bounded memory that spills to ``spill`` and loads no extension.

    ``MLOBS_MEMORY`` (default 2GB) and ``MLOBS_THREADS`` (default: every core) bound it. ``ordered``: rows keep their order.
    """

    def __init__(
        self,
        spill: Path | None = None,
        *,
        threads: int | None = None,
        memory: str | None = None,
        ordered: bool = False,
    ) -> None:
        config: dict[str, Any] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": memory or os.environ.get("MLOBS_MEMORY", "2GB"),
            "preserve_insertion_order": ordered,
        }
        threads = threads or int(os.environ.get("MLOBS_THREADS", "0"))
        if threads:
            config["threads"] = threads
        if spill is not None:
            spill.mkdir(parents=True, exist_ok=True)
            config["temp_directory"] = str(spill)
        self._ordered = ordered
        self._connection = duckdb.connect(":memory:", config=config)
        self._connection.execute("set timezone = 'UTC'")
        self._planned: list[_Source] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def run(self, statement: str) -> None:
        """Execute a statement whose result nobody reads."""
        self._connection.execute(statement).fetchall()

    def table(self, query: str) -> pa.Table:
        """The result of a query, as Arrow."""
        return self._connection.sql(query).to_arrow_table(_CHUNK_ROWS)

    def planned(self, query: Callable[[str], str], schema: pa.Schema) -> Callable[[pa.Table], pa.Table]:
        """A query that is planned once and asked of one Arrow table after another: planning may take longer than the rest.

        Args:
            query: gives SQL for the name under which it can read the table.
            schema: of every table that it will be asked of.
        """
        source = _Source(schema.empty_table())
        name = f"planned_{len(self._planned)}"
        self._planned.append(source)
        self._connection.register(f"{name}_of", source)
        self.run(f"prepare {name} as {query(f'{name}_of')}")

        def ask(table: pa.Table) -> pa.Table:
            source.table = table
            return self.table(f"execute {name}")

        return ask

    def batches(self, query: str, rows: int) -> Generator[pa.RecordBatch]:
        """The result of a query so many rows at a time, in the order of what it reads; nothing else may be asked meanwhile."""
        self.run("set preserve_insertion_order = true")
        try:
            yield from self._connection.sql(query).to_arrow_reader(rows)
        finally:
            self.run(f"set preserve_insertion_order = {self._ordered}")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The result of a small query, as Python values."""
        relation = self._connection.sql(query)
        return relation.fetchall() if relation is not None else []

    def keep(self, name: str, query: str) -> None:
        """Make the result of a query a table of this session, in place of one of the same name."""
        self.run(f"create or replace temp table {name} as {query}")

    def scan(self, paths: Sequence[Path]) -> str:
        """SQL for the rows of Parquet files, columns matched by name."""
        return scan(list(paths))

    def register(self, view: str, data: Any) -> None:
        """Make an Arrow table or a Polars frame readable under the name ``view``."""
        self._connection.register(view, data)

    def register_filesystem(self, filesystem: Any) -> None:
        """Let the engine read URLs of an fsspec file system."""
        self._connection.register_filesystem(filesystem)

    def attach(self, file: Path, name: str, *, patience: float = 120.0) -> None:
        """Open a database file under ``name``, made if it is missing; wait while another process has it open.

        A dbt that outlived a killed run ends by itself within seconds.

        Raises:
            OpenElsewhereError: it stayed open for longer than ``patience`` seconds.
            Error: it is no database of this version.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                self.run(f"attach {sql.text(str(file))} as {sql.name(name)}")
                return
            except duckdb.IOException as error:
                if "lock" not in str(error).lower():
                    raise
                if time.monotonic() > deadline:
                    raise OpenElsewhereError(f"{file} is open in another process; end it and run again") from None
                time.sleep(0.2)

    @staticmethod
    def has_key(document: str, key: str) -> str:
        """SQL for whether a JSON object (text, may be null) has a key."""
        return f"({document} is not null and list_contains(json_keys({document}), {sql.text(key)}))"

    @staticmethod
    def bin_number(expression: str, edges: Sequence[float]) -> str:
        """SQL for the count of ``edges`` (ascending) that are <= ``expression``; null stays null."""
        return sql.bin_number(expression, edges)

    @property
    def version(self) -> str:
        """The library's version: what it hashes to is its own affair."""
        return duckdb.__version__

    def write(self, query: str, path: Path, *, compression: str = "zstd") -> None:
        """Publish the result of a query as one Parquet file, whole or not at all."""
        with published(path) as draft:
            self.copy(query, draft, compression=compression)

    def copy(self, query: str, path: Path, *, compression: str = "zstd", by: str | None = None) -> None:
        """Write the result of a query as one Parquet file; with ``by``, as a folder that has a folder ``by=value`` of
        files for each value of that column."""
        # Numbers hardly repeat: to give up on a dictionary of them early saves a tenth of the time.
        options = f"format parquet, compression {compression}, dictionary_size_limit {_LARGEST_DICTIONARY}"
        self.run(f"copy ({query}) to {sql.text(str(path))} ({options}{f', partition_by ({by})' if by else ''})")


@dataclass
class _Source:
    """One Arrow table after another for the same view: it is asked for its rows each time that they are read."""

    table: pa.Table

    def __arrow_c_schema__(self) -> object:
        return self.table.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def scan(paths: list[Path] | list[str]) -> str:
    """SQL for the rows of Parquet files, columns matched by name."""
    listed = ", ".join(sql.text(str(p)) for p in paths)
    return f"read_parquet([{listed}], union_by_name = true)"


def _identity(file: Path) -> tuple[int, ...]:
    """What tells a file from the one that takes its place; an inode's number alone may be given out again."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return ()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _opened(file: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        str(file),
        read_only=True,
        config={
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "memory_limit": os.environ.get("MLOBS_MEMORY", "2GB"),
            "lock_configuration": True,
        },
    )


class ReadOnlyDuckDB:
    """One database file that can be asked but not changed; no other file, extension or setting is within reach.

    DuckDB opens a path three times before it has read the catalog. Of a file that is replaced meanwhile it would take
    one part from the old and one from the new, so it is opened again until it was the same file throughout.
    """

    def __init__(self, file: Path) -> None:
        while True:
            before = _identity(file)
            try:
                self._connection = _opened(file)
            except Error:
                if _identity(file) == before:
                    raise
                continue
            if _identity(file) == before:
                return
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def table(self, query: str) -> pa.Table:
        """The result of a query, as Arrow; of a statement without a result, a table without columns."""
        relation = self._connection.sql(query)
        return relation.to_arrow_table() if relation is not None else pa.table({})
